//go:build !purego

package chacha20

var kernels = []kernel{
	{"AVX512", hasAVX512, streamAVX512},
	{"AVX2", hasAVX2, streamAVX2},
	{"block", true, alone(block)},
	{"rows2AVX2", hasAVX2, alone(rows2AVX2)},
	{"rows4AVX2", hasAVX2, alone(rows4AVX2)},
	{"words8AVX2", hasAVX2, alone(words8AVX2)},
	{"rows4AVX512", hasAVX512, alone(rows4AVX512)},
	{"rows8AVX512", hasAVX512, alone(rows8AVX512)},
	{"words16AVX512", hasAVX512, alone(words16AVX512)},
	{"words32AVX512", hasAVX512, alone(words32AVX512)},
}

// alone is a stream by one assembly function.
func alone(f func(dst *byte, blocks int, key *[32]byte, nonce *[12]byte, counter uint32, xor bool)) streamFunc {
	return func(dst []byte, key *[32]byte, nonce *[12]byte, counter uint32, xor bool) {
		if len(dst) > 0 {
			f(&dst[0], len(dst)/BlockSize, key, nonce, counter, xor)
		}
	}
}
