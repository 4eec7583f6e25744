//go:build !amd64 || purego

package chacha20

import "golang.org/x/crypto/chacha20"

// stream is x/crypto's, which has assembly of its own for arm64, ppc64le and s390x.
func stream(dst []byte, key *[KeySize]byte, nonce *[nonceSize]byte, counter uint32, xor bool) {
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

// kernelFor says what makes the blocks.
func kernelFor(int) string { return "x/crypto" }
