package qrand

import (
	"crypto/sha512"
	"crypto/subtle"

	"example.com/qrand/internal/chacha20"
)

const (
	keySize   = chacha20.KeySize
	chunkSize = 4096 // keystream of one key: the next key, then the output
	shortSize = 1024 // a chunk of expand up to which it is faster by way of the buffer
)

// A generator is ChaCha20 with fast key erasure (Bernstein, "Fast-key-erasure
// random-number generators", 2017): each key makes one chunk, whose first 32
// bytes replace the key before any other byte leaves. What was handed out
// cannot be computed from what is left.
//
// It does no I/O, knows no clock, and has no lock of its own.
type generator struct {
	key   [keySize]byte
	chunk [chunkSize]byte // chunk[at:end] is output not yet handed out; the rest is zero
	at    int
	end   int

	keystream func(dst []byte, key *[keySize]byte, counter uint32) // chacha20.Blocks
}

// xor XORs the next len(p) bytes of the stream over p.
func (g *generator) xor(p []byte) {
	for len(p) > 0 {
		if g.empty() {
			g.fill(chunkSize)
		}
		p = p[g.take(p):]
	}
}

// expand fills p with one chunk as long as it takes: of the keystream of the key
// the first 32 bytes are the next key, and what follows is p. It keeps nothing,
// and drops what was buffered: for a caller who rekeys before any further output.
func (g *generator) expand(p []byte) {
	g.drop()
	if len(p) <= shortSize-keySize {
		g.fill((keySize + len(p) + chacha20.BlockSize - 1) / chacha20.BlockSize * chacha20.BlockSize)
		g.give(p)
		g.drop()
		return
	}
	first, last := g.chunk[:chacha20.BlockSize], g.chunk[chacha20.BlockSize:2*chacha20.BlockSize]
	g.keystream(first, &g.key, 0)
	p = p[copy(p, first[keySize:]):]
	blocks := len(p) / chacha20.BlockSize
	bulk, rest := p[:blocks*chacha20.BlockSize], p[blocks*chacha20.BlockSize:]
	g.keystream(bulk, &g.key, 1) // straight to where it is wanted
	g.keystream(last, &g.key, uint32(1+blocks))
	copy(rest, last)
	copy(g.key[:], first)
	clear(g.chunk[:2*chacha20.BlockSize])
}

// rekey XORs x into the key and drops what the old key made, so that the very
// next byte depends on x. XOR with anything leaves a secret key secret, and
// makes any key secret if x is.
func (g *generator) rekey(x *[keySize]byte) {
	subtle.XORBytes(g.key[:], g.key[:], x[:])
	g.drop()
}

func (g *generator) empty() bool { return g.at == g.end }

// fill makes the first size bytes of the key's chunk, and spends the key.
func (g *generator) fill(size int) {
	g.keystream(g.chunk[:size], &g.key, 0)
	copy(g.key[:], g.chunk[:keySize])
	clear(g.chunk[:keySize])
	g.at, g.end = keySize, size
}

// take XORs buffered output over p and erases it, as much as there is.
func (g *generator) take(p []byte) int {
	out := g.chunk[g.at:g.end]
	n := subtle.XORBytes(p, p[:min(len(p), len(out))], out)
	clear(out[:n])
	g.at += n
	return n
}

// give is take for a p that may hold anything, and is overwritten.
func (g *generator) give(p []byte) int {
	n := copy(p, g.chunk[g.at:g.end])
	clear(g.chunk[g.at : g.at+n])
	g.at += n
	return n
}

func (g *generator) drop() {
	clear(g.chunk[g.at:g.end])
	g.at, g.end = 0, 0
}

func (g *generator) wipe() {
	clear(g.key[:])
	g.drop()
}

// seedLabel separates this use of HMAC from any other (it names the
// construction, so that another one would have another label).
const seedLabel = "qrand seed v1"

// hmacExtract is what a reseed XORs into the key of one shard:
//
//	HMAC-SHA-512(key = os, msg = "qrand seed v1" || shard || block)[:32]
//
// Whoever knows the block does not know the result, for os is secret (a PRF);
// whoever knows os does not, for the block has 8,192 bits (an extractor, whose
// salt os was not known when the block was chosen). RFC 2104, FIPS 180-4.
//
// It is not crypto/hmac's, which leaves os in memory, XORed with its pads, and 128
// bytes of the block, and gives no means to wipe them.
func hmacExtract(os *[keySize]byte, shard byte, block []byte) (x [keySize]byte) {
	h := sha512.New()
	var pad [sha512.BlockSize]byte // RFC 2104 section 2: K XOR ipad, then K XOR opad
	copy(pad[:], os[:])
	for i := range pad {
		pad[i] ^= 0x36
	}
	h.Write(pad[:])
	h.Write([]byte(seedLabel))
	h.Write([]byte{shard})
	h.Write(block)
	var sum [sha512.Size]byte
	h.Sum(sum[:0])

	for i := range pad {
		pad[i] ^= 0x36 ^ 0x5c
	}
	h.Reset()
	h.Write(pad[:])
	h.Write(sum[:])
	h.Sum(sum[:0])
	copy(x[:], sum[:])

	// On the stack it would be erased's to do, but the compiler puts it where it likes.
	clear(sum[:])
	clear(pad[:])
	h.Reset()
	h.Write(pad[:1]) // with a block after it, zeros over all that h has buffered
	h.Write(pad[:])
	h.Reset()
	return x
}
