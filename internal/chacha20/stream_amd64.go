//go:build !purego

package chacha20

//go:generate go run -C _asm . -out ../kernels_amd64.s -stubs ../kernels_amd64.go -pkg chacha20

func stream(dst []byte, key *[KeySize]byte, nonce *[nonceSize]byte, counter uint32, xor bool) {
	if len(dst) > 0 {
		block(&dst[0], len(dst)/BlockSize, key, nonce, counter, xor)
	}
}
