package qrand

import (
	"bytes"
	"fmt"
	mathrand "math/rand/v2"
	"reflect"
	"testing"

	"example.com/qrand/internal/chacha20"
)

func newTestGenerator(key byte) *generator {
	return &generator{key: testKey(key), keystream: chacha20.Blocks}
}

// holdsOnly reports whether a generator has this key and nothing else.
func holdsOnly(g generator, key [32]byte) bool {
	g.keystream = nil
	return reflect.DeepEqual(g, generator{key: key})
}

// TestStream: the stream equals that of the model, however it is read.
func TestStream(t *testing.T) {
	want := (&modelGenerator{key: testKey(1)}).stream(10000)
	for _, size := range []int{1, 7, 32, 64, 992, 1024, 4063, 4064, 4065, 4096, 9999} {
		g := newTestGenerator(1)
		var got []byte
		for len(got) < len(want) {
			p := make([]byte, min(size, len(want)-len(got)))
			g.xor(p)
			got = append(got, p...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("read %d bytes at a time, the stream differs from the model's", size)
		}
	}
}

// TestExpand: expand fills p of any length and content from one chunk, makes no more
// keystream than needed, and keeps nothing.
func TestExpand(t *testing.T) {
	made := 0
	for _, tc := range []struct{ size, made int }{
		{0, 64}, {1, 64}, {32, 64}, {33, 128}, {96, 128}, {97, 192}, {992, 1024}, {993, 1024 + 64}, {1024, 1024 + 64}, {1056, 1088 + 64}, {2000, 2048}, {pieceSize, pieceSize + 64},
	} {
		g, model := newTestGenerator(2), &modelGenerator{key: testKey(2)}
		g.keystream = func(dst []byte, key *[32]byte, counter uint32) {
			made += len(dst)
			chacha20.Blocks(dst, key, counter)
		}
		for _, dirt := range []byte{0, 0xa5} {
			g.xor(make([]byte, 10)) // what is buffered is dropped
			model.stream(10)
			model.left = nil
			p := bytes.Repeat([]byte{dirt}, tc.size)
			made = 0
			g.expand(p)
			if made != tc.made {
				t.Errorf("%d bytes took %d of keystream, want %d", tc.size, made, tc.made)
			}
			if want := model.expand(tc.size); !bytes.Equal(p, want) {
				t.Errorf("%d bytes differ from the model's", tc.size)
			}
			if !holdsOnly(*g, model.key) {
				t.Errorf("after %d bytes the key is not the model's, or output is left in the buffer", tc.size)
			}
		}
	}
}

// TestXorKeepsWhatIsThere: output is XORed over p, not written.
func TestXorKeepsWhatIsThere(t *testing.T) {
	want := (&modelGenerator{key: testKey(3)}).stream(2000)
	p := bytes.Repeat([]byte{0xa5}, len(want))
	newTestGenerator(3).xor(p)
	for i := range p {
		if p[i] != want[i]^0xa5 {
			t.Fatalf("byte %d is not the stream XOR what was there", i)
		}
	}
}

// TestErasure: a generator holds neither a key it has used nor a byte that it
// has handed out.
func TestErasure(t *testing.T) {
	g, model := newTestGenerator(4), &modelGenerator{key: testKey(4)}
	for _, size := range []int{1, 31, 500, 992, 3000, 4064, 64} {
		used := g.key
		fresh := g.empty()
		p := make([]byte, size)
		g.xor(p)
		if want := model.stream(size); !bytes.Equal(p, want) {
			t.Fatal("the stream differs from the model's")
		}
		if g.key != model.key || fresh && g.key == used {
			t.Errorf("after %d bytes the key is not the next one", size)
		}
		if !bytes.Equal(g.chunk[g.at:g.end], model.left) {
			t.Errorf("after %d bytes the buffer is not what is still to come", size)
		}
		if rest := append(bytes.Clone(g.chunk[:g.at]), g.chunk[g.end:]...); !allZero(rest) {
			t.Errorf("after %d bytes the buffer holds more than what is still to come", size)
		}
	}
	g.wipe()
	if !holdsOnly(*g, [32]byte{}) {
		t.Error("wipe leaves something")
	}
}

// TestRekey: the next byte comes from the old key XOR x, whatever was buffered.
func TestRekey(t *testing.T) {
	for _, before := range []int{0, 1, 500, 4064, 4500} {
		g, model := newTestGenerator(5), &modelGenerator{key: testKey(5)}
		g.xor(make([]byte, before))
		model.stream(before)
		x := testKey(6)
		g.rekey(&x)
		model.rekey(x[:])
		p := make([]byte, 100)
		g.xor(p)
		if want := model.stream(100); !bytes.Equal(p, want) {
			t.Errorf("after %d bytes and a rekey the stream differs from the model's", before)
		}
	}
}

// TestSeed: the seed equals that of the model, and each bit that goes in changes it.
func TestSeed(t *testing.T) {
	os, block := testKey(7), make([]byte, 1024)
	mathrand.NewChaCha8([32]byte{8}).Read(block)
	seen := map[[32]byte]string{}
	check := func(what string, shard byte) {
		t.Helper()
		got := hmacExtract(&os, shard, block)
		if want := modelSeed(os[:], shard, block); !bytes.Equal(got[:], want) {
			t.Errorf("%s: seed is %x, the model's %x", what, got, want)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%s gives the same seed as %s", what, other)
		}
		seen[got] = what
	}
	for shard := range maxShards {
		check(fmt.Sprintf("shard %d", shard), byte(shard))
	}
	flip := func(p []byte, what string) {
		for bit := range 8 * len(p) {
			p[bit/8] ^= 1 << (bit % 8)
			check(fmt.Sprintf("bit %d of %s", bit, what), 0)
			p[bit/8] ^= 1 << (bit % 8)
		}
	}
	flip(os[:], "crypto/rand's bytes")
	flip(block, "the block")
}
