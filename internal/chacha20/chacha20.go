// Package chacha20 writes the keystream of ChaCha20 as the generator needs it: in whole
// blocks, from any block on, and with a zero nonce, because a key is used once.
//
// On amd64 it has kernels of its own, for AVX-512, for AVX2 and for single blocks. They
// leave nothing of the key, the state or the keystream in registers or on the stack.
// Elsewhere, and with the purego tag, it is golang.org/x/crypto/chacha20.
package chacha20

const (
	KeySize   = 32 // RFC 8439 section 2.3
	BlockSize = 64 // the same: the state is 16 words of 4 bytes
	nonceSize = 12
)

// Blocks fills dst with the keystream of key: ChaCha20 with 20 rounds and a zero nonce,
// from the block of that counter on (RFC 8439 section 2.4). dst has whole blocks, and does
// not overlap key. What it held before does not matter.
//
// It panics if dst does not have whole blocks, or if the counter, which has 32 bits, would
// wrap. Both are mistakes in the caller's code: no input can lead there.
func Blocks(dst []byte, key *[KeySize]byte, counter uint32) {
	check(dst, counter)
	stream(dst, key, &zeroNonce, counter, false)
}

// XORBlocks XORs onto dst what Blocks would write.
func XORBlocks(dst []byte, key *[KeySize]byte, counter uint32) {
	check(dst, counter)
	stream(dst, key, &zeroNonce, counter, true)
}

var zeroNonce [nonceSize]byte

func check(dst []byte, counter uint32) {
	if len(dst)%BlockSize != 0 {
		panic("chacha20: dst is not whole blocks")
	}
	if uint64(counter)+uint64(len(dst)/BlockSize) > 1<<32 {
		panic("chacha20: the counter would wrap")
	}
}
