package qrand

import (
	"crypto/sha512"
	"crypto/subtle"

	"example.com/qrand/internal/chacha20"
)

const (
	keySize   = chacha20.KeySize
	chunkSize = 4096 // keystream of one key: the next key, then the output
	shortSize = 1024 // up to this size of a chunk, expand is faster through the buffer
)

// A generator is ChaCha20 with fast key erasure (Bernstein, "Fast-key-erasure
// random-number generators", 2017). Each key makes one chunk. The first 32 bytes of the
// chunk replace the key before any other byte is handed out. So what was handed out
// cannot be computed from what is left.
//
// It does no I/O, and has neither a clock nor a lock.
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
		p = p[g.xorBuffered(p):]
	}
}

// expand fills p from one chunk that is as long as needed: the first 32 bytes of the
// keystream are the next key, and those that follow are p. It drops what was buffered and
// buffers nothing, for a caller that rekeys before each call.
func (g *generator) expand(p []byte) {
	g.drop()
	if len(p) <= shortSize-keySize {
		g.fill((keySize + len(p) + chacha20.BlockSize - 1) / chacha20.BlockSize * chacha20.BlockSize)
		g.copyBuffered(p)
		g.drop()
		return
	}
	first, last := g.chunk[:chacha20.BlockSize], g.chunk[chacha20.BlockSize:2*chacha20.BlockSize]
	g.keystream(first, &g.key, 0)
	p = p[copy(p, first[keySize:]):]
	blocks := len(p) / chacha20.BlockSize
	bulk, rest := p[:blocks*chacha20.BlockSize], p[blocks*chacha20.BlockSize:]
	g.keystream(bulk, &g.key, 1) // straight into p
	g.keystream(last, &g.key, uint32(1+blocks))
	copy(rest, last)
	copy(g.key[:], first)
	clear(g.chunk[:2*chacha20.BlockSize])
}

// rekey XORs x into the key and drops what the old key made, so that the next byte
// depends on x. If either the key or x is secret, the result is.
func (g *generator) rekey(x *[keySize]byte) {
	subtle.XORBytes(g.key[:], g.key[:], x[:])
	g.drop()
}

func (g *generator) empty() bool { return g.at == g.end }

// fill buffers a chunk of size bytes, and replaces the key that made it.
func (g *generator) fill(size int) {
	g.keystream(g.chunk[:size], &g.key, 0)
	copy(g.key[:], g.chunk[:keySize])
	clear(g.chunk[:keySize])
	g.at, g.end = keySize, size
}

// xorBuffered XORs buffered output over p, as much as there is, and erases it.
func (g *generator) xorBuffered(p []byte) int {
	out := g.chunk[g.at:g.end]
	n := subtle.XORBytes(p, p[:min(len(p), len(out))], out)
	clear(out[:n])
	g.at += n
	return n
}

// copyBuffered copies buffered output to p, as much as there is, and erases it.
func (g *generator) copyBuffered(p []byte) int {
	n := copy(p, g.chunk[g.at:g.end])
	clear(g.chunk[g.at : g.at+n])
	g.at += n
	return n
}

// drop erases what is buffered.
func (g *generator) drop() {
	clear(g.chunk[g.at:g.end])
	g.at, g.end = 0, 0
}

func (g *generator) wipe() {
	clear(g.key[:])
	g.drop()
}

// seedLabel separates this use of HMAC from any other. Another construction would have
// another label.
const seedLabel = "qrand seed v1"

// hmacExtract is what a reseed XORs into the key of one shard:
//
//	HMAC-SHA-512(key = os, msg = "qrand seed v1" || shard || block)[:32]
//
// To know the block is not enough to know the result, because os is secret (HMAC is a
// PRF). To know os is not enough either, because the block has 8,192 bits (HMAC is an
// extractor, and its salt os was not known when the block was chosen). RFC 2104,
// FIPS 180-4.
//
// This is not crypto/hmac, which leaves os, XORed with its pads, and 128 bytes of the
// block in memory, and offers no way to wipe them.
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

	// On the stack, erased would wipe these. But the compiler may put them on the heap.
	clear(sum[:])
	clear(pad[:])
	h.Reset()
	h.Write(pad[:1]) // this and the block after it overwrite with zeros all that h has buffered
	h.Write(pad[:])
	h.Reset()
	return x
}
