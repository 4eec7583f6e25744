//go:build !purego

package chacha20

import "golang.org/x/sys/cpu"

//go:generate go run -C _asm . -out ../kernels_amd64.s -stubs ../kernels_amd64.go -pkg chacha20

// x/sys/cpu says no where the operating system does not save the wide registers.
var (
	hasAVX2   = cpu.X86.HasAVX2
	hasAVX512 = cpu.X86.HasAVX512F && cpu.X86.HasAVX2
)

func stream(dst []byte, key *[KeySize]byte, nonce *[nonceSize]byte, counter uint32, xor bool) {
	switch {
	case hasAVX512:
		streamAVX512(dst, key, nonce, counter, xor)
	case hasAVX2:
		streamAVX2(dst, key, nonce, counter, xor)
	case len(dst) > 0:
		block(&dst[0], len(dst)/BlockSize, key, nonce, counter, xor)
	}
}

// kernelFor names the kernel that makes so many blocks.
func kernelFor(blocks int) string {
	switch {
	case blocks == 1 || !hasAVX2:
		return "single blocks"
	case hasAVX512:
		return "AVX-512"
	}
	return "AVX2"
}

// streamAVX512 and streamAVX2 use the smallest kernel that makes all remaining blocks in
// one pass. If there is none, they make as many full passes of the largest as fit.

func streamAVX512(dst []byte, key *[KeySize]byte, nonce *[nonceSize]byte, counter uint32, xor bool) {
	for n := len(dst) / BlockSize; n > 0; n = len(dst) / BlockSize {
		switch {
		case n == 1:
			block(&dst[0], n, key, nonce, counter, xor)
		case n <= 4:
			rows4AVX512(&dst[0], n, key, nonce, counter, xor)
		case n <= 8:
			rows8AVX512(&dst[0], n, key, nonce, counter, xor)
		case n <= 16:
			words16AVX512(&dst[0], n, key, nonce, counter, xor)
		default:
			if n > 32 {
				n -= n % 32
			}
			words32AVX512(&dst[0], n, key, nonce, counter, xor)
		}
		dst, counter = dst[n*BlockSize:], counter+uint32(n)
	}
}

func streamAVX2(dst []byte, key *[KeySize]byte, nonce *[nonceSize]byte, counter uint32, xor bool) {
	for n := len(dst) / BlockSize; n > 0; n = len(dst) / BlockSize {
		switch {
		case n == 1:
			block(&dst[0], n, key, nonce, counter, xor)
		case n == 2:
			rows2AVX2(&dst[0], n, key, nonce, counter, xor)
		case n <= 4:
			rows4AVX2(&dst[0], n, key, nonce, counter, xor)
		case n <= 8:
			words8AVX2(&dst[0], n, key, nonce, counter, xor)
		default:
			if n > 16 {
				n -= n % 16
			}
			words16AVX2(&dst[0], n, key, nonce, counter, xor)
		}
		dst, counter = dst[n*BlockSize:], counter+uint32(n)
	}
}
