//go:build !amd64 || purego

package chacha20

import (
	"golang.org/x/crypto/chacha20"

	"example.com/qrand/internal/scrub"
)

// stream calls x/crypto, which has assembly of its own for arm64, ppc64le and s390x. That
// leaves the key and more on the stack, which is overwritten.
func stream(dst []byte, key *[KeySize]byte, nonce *[nonceSize]byte, counter uint32, xor bool) {
	scrub.Stack()
	xcrypto(dst, key, nonce, counter, xor)
	scrub.Stack()
}

//go:noinline
func xcrypto(dst []byte, key *[KeySize]byte, nonce *[nonceSize]byte, counter uint32, xor bool) {
	c, err := chacha20.NewUnauthenticatedCipher(key[:], nonce[:])
	if err != nil {
		panic(err) // only for other lengths of key and nonce
	}
	c.SetCounter(counter)
	if !xor {
		clear(dst)
	}
	c.XORKeyStream(dst, dst)
}

// kernelFor names what makes the blocks.
func kernelFor(int) string { return "x/crypto" }
