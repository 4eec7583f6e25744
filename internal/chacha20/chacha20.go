// Package chacha20 writes the keystream of ChaCha20 as the generator needs it.
package chacha20

import "golang.org/x/crypto/chacha20"

const (
	KeySize   = chacha20.KeySize // 32 bytes
	BlockSize = 64               // RFC 8439 section 2.3: the state is 16 words of 4 bytes
)

var zeroNonce [chacha20.NonceSize]byte

// KeyStream fills dst with the keystream of key: ChaCha20 with 20 rounds, zero
// nonce, counter from 0 (RFC 8439 section 2.4). dst is whole blocks, and may
// hold anything before.
func KeyStream(dst []byte, key *[KeySize]byte) {
	c, err := chacha20.NewUnauthenticatedCipher(key[:], zeroNonce[:])
	if err != nil {
		panic(err) // only for other lengths of key and nonce
	}
	clear(dst)
	c.XORKeyStream(dst, dst)
}
