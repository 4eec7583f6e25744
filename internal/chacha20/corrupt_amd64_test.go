//go:build linux && !purego

package chacha20

import "testing"

// TestCorruptedKernels changes the code of each kernel that Blocks may use, on a
// processor with AVX-512, with AVX2 alone, and with neither.
func TestCorruptedKernels(t *testing.T) {
	defer func(avx2, avx512 bool) { hasAVX2, hasAVX512 = avx2, avx512 }(hasAVX2, hasAVX512)
	for _, processor := range []struct {
		name         string
		avx2, avx512 bool
		kernels      []target
	}{
		{"without AVX", false, false, []target{
			{"block", block, "single blocks makes 64 bytes"},
		}},
		{"AVX2", true, false, []target{
			{"block", block, "single blocks makes 64 bytes"},
			{"rows2AVX2", rows2AVX2, "AVX2 makes 128 bytes"},
			{"rows4AVX2", rows4AVX2, "AVX2 makes 192 bytes"},
			{"words8AVX2", words8AVX2, "AVX2 makes 320 bytes"},
			{"words16AVX2", words16AVX2, "AVX2 makes 576 bytes"},
		}},
		{"AVX-512", true, true, []target{
			{"block", block, "single blocks makes 64 bytes"},
			{"rows4AVX512", rows4AVX512, "AVX-512 makes 128 bytes"},
			{"rows8AVX512", rows8AVX512, "AVX-512 makes 320 bytes"},
			{"words16AVX512", words16AVX512, "AVX-512 makes 576 bytes"},
			{"words32AVX512", words32AVX512, "AVX-512 makes 1088 bytes"},
		}},
	} {
		t.Run(processor.name, func(t *testing.T) {
			if processor.avx2 && !hasAVX2 || processor.avx512 && !hasAVX512 {
				t.Skip("this processor does not have what the kernels need")
			}
			defer func(avx2, avx512 bool) { hasAVX2, hasAVX512 = avx2, avx512 }(hasAVX2, hasAVX512)
			hasAVX2, hasAVX512 = processor.avx2, processor.avx512
			for _, kernel := range processor.kernels {
				checkCorrupted(t, kernel)
			}
		})
	}
}
