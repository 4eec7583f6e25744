package qrand

import (
	"bufio"
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"os"
	"strconv"
	"strings"
	"testing"

	"example.com/qrand/internal/chacha20"
)

// This file is a second implementation of the stream and of the seed: slow,
// obvious, written from RFC 8439, RFC 2104 and the description in SECURITY.md.
// It calls nothing of the package.

// modelBlock is the ChaCha20 block function, RFC 8439 section 2.3.
func modelBlock(key [32]byte, nonce [12]byte, counter uint32) (out [64]byte) {
	var initial [16]uint32
	copy(initial[:4], []uint32{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}) // section 2.3: "expand 32-byte k"
	for i := range 8 {
		initial[4+i] = binary.LittleEndian.Uint32(key[4*i:])
	}
	initial[12] = counter
	for i := range 3 {
		initial[13+i] = binary.LittleEndian.Uint32(nonce[4*i:])
	}
	x := initial
	quarter := func(a, b, c, d int) { // section 2.1
		x[a] += x[b]
		x[d] = bits.RotateLeft32(x[d]^x[a], 16)
		x[c] += x[d]
		x[b] = bits.RotateLeft32(x[b]^x[c], 12)
		x[a] += x[b]
		x[d] = bits.RotateLeft32(x[d]^x[a], 8)
		x[c] += x[d]
		x[b] = bits.RotateLeft32(x[b]^x[c], 7)
	}
	for range 10 {
		for i := range 4 {
			quarter(i, 4+i, 8+i, 12+i) // a column
		}
		for i := range 4 {
			quarter(i, 4+(i+1)%4, 8+(i+2)%4, 12+(i+3)%4) // a diagonal
		}
	}
	for i := range x {
		binary.LittleEndian.PutUint32(out[4*i:], x[i]+initial[i])
	}
	return out
}

// modelHMAC is HMAC-SHA-512, RFC 2104, for keys of at most a block.
func modelHMAC(key, message []byte) []byte {
	inner, outer := make([]byte, 128), make([]byte, 128)
	copy(inner, key)
	copy(outer, key)
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	first := sha512.Sum512(append(inner, message...))
	second := sha512.Sum512(append(outer, first[:]...))
	return second[:]
}

// A modelGenerator is one shard: the key, and what its last chunk has left.
type modelGenerator struct {
	key  [32]byte
	left []byte
}

// stream returns the next n bytes.
func (g *modelGenerator) stream(n int) []byte {
	var out []byte
	for len(out) < n {
		if len(g.left) == 0 {
			g.chunk()
		}
		out = append(out, g.left[0])
		g.left = g.left[1:]
	}
	return out
}

func (g *modelGenerator) chunk() {
	var chunk []byte
	for counter := range uint32(64) {
		block := modelBlock(g.key, [12]byte{}, counter)
		chunk = append(chunk, block[:]...)
	}
	copy(g.key[:], chunk[:32])
	g.left = chunk[32:]
}

// expand makes one chunk of n bytes and the next key.
func (g *modelGenerator) expand(n int) []byte {
	var chunk []byte
	for counter := uint32(0); len(chunk) < 32+n; counter++ {
		block := modelBlock(g.key, [12]byte{}, counter)
		chunk = append(chunk, block[:]...)
	}
	copy(g.key[:], chunk[:32])
	g.left = nil
	return chunk[32 : 32+n]
}

// rekey XORs x into the key; what was left is dropped.
func (g *modelGenerator) rekey(x []byte) {
	for i := range g.key {
		g.key[i] ^= x[i]
	}
	g.left = nil
}

// modelSeed is what a reseed with a block XORs into the key of a shard.
func modelSeed(os []byte, shard byte, block []byte) []byte {
	message := append([]byte("qrand seed v1"), shard)
	return modelHMAC(os, append(message, block...))[:32]
}

// TestRFC8439 compares the model with the vectors of the RFC. Where the nonce is zero it
// compares chacha20.Blocks, too.
func TestRFC8439(t *testing.T) {
	f, err := os.Open("testdata/rfc8439.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tested := 0
	for scan := bufio.NewScanner(f); scan.Scan(); {
		fields := strings.Fields(scan.Text())
		if len(fields) != 5 || fields[0] == "#" {
			continue
		}
		key, nonce, want := [32]byte(unhex(t, fields[1])), [12]byte(unhex(t, fields[2])), unhex(t, fields[4])
		counter, err := strconv.Atoi(fields[3])
		if err != nil {
			t.Fatal(err)
		}
		if got := modelBlock(key, nonce, uint32(counter)); !bytes.Equal(got[:], want) {
			t.Errorf("%s: the model has %x, the RFC %x", fields[0], got, want)
		}
		if nonce == [12]byte{} {
			stream := make([]byte, (counter+1)*64)
			chacha20.Blocks(stream, &key, 0)
			if got := stream[counter*64:]; !bytes.Equal(got, want) {
				t.Errorf("%s: keystream has %x, the RFC %x", fields[0], got, want)
			}
			tested++
		}
	}
	if tested != 4 {
		t.Errorf("%d vectors with a zero nonce, want 4", tested)
	}
}

// TestRFC4231 compares the HMAC of the model with test cases 1 and 2.
func TestRFC4231(t *testing.T) {
	for _, tc := range []struct{ key, data, want string }{
		{strings.Repeat("0b", 20), hex.EncodeToString([]byte("Hi There")),
			"87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"},
		{hex.EncodeToString([]byte("Jefe")), hex.EncodeToString([]byte("what do ya want for nothing?")),
			"164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"},
	} {
		if got := modelHMAC(unhex(t, tc.key), unhex(t, tc.data)); !bytes.Equal(got, unhex(t, tc.want)) {
			t.Errorf("HMAC-SHA-512 of %s: %x, want %s", tc.data, got, tc.want)
		}
	}
}
