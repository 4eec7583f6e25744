//go:build !purego

package chacha20

var kernels = []kernel{
	{"block", true, alone(block)},
}

// alone is a stream by one assembly function.
func alone(f func(dst *byte, blocks int, key *[32]byte, nonce *[12]byte, counter uint32, xor bool)) streamFunc {
	return func(dst []byte, key *[32]byte, nonce *[12]byte, counter uint32, xor bool) {
		if len(dst) > 0 {
			f(&dst[0], len(dst)/BlockSize, key, nonce, counter, xor)
		}
	}
}
