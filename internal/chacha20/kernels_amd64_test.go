//go:build !purego

package chacha20

import "testing"

var kernels = []kernel{
	{"AVX512", hasAVX512, streamAVX512},
	{"AVX2", hasAVX2, streamAVX2},
	{"block", true, alone(block)},
	{"rows2AVX2", hasAVX2, alone(rows2AVX2)},
	{"rows4AVX2", hasAVX2, alone(rows4AVX2)},
	{"words8AVX2", hasAVX2, alone(words8AVX2)},
	{"words16AVX2", hasAVX2, alone(words16AVX2)},
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

// TestGrowingStack: words16AVX2 may need more stack than there is. The stack then
// moves before it begins, with all that its arguments point to. (What goes through
// a streamFunc is not on the stack.)
func TestGrowingStack(t *testing.T) {
	if !hasAVX2 {
		t.Skip("this processor does not have AVX2")
	}
	key, nonce, _ := newCase(cases(5))
	var want [16 * BlockSize]byte
	reference(want[:], &key, &nonce, 7, false)
	onStack := func() bool {
		k, n := key, nonce
		var dst [16 * BlockSize]byte
		words16AVX2(&dst[0], 16, &k, &n, 7, false)
		return dst == want
	}
	for depth := range 200 { // with more of the stack in use each time
		right := make(chan bool)
		go func() { right <- deep(depth, onStack) }()
		if !<-right {
			t.Fatalf("differs from x/crypto's at depth %d", depth)
		}
	}
}

// deep calls f with so many frames on the stack.
func deep(depth int, f func() bool) bool {
	if depth == 0 {
		return f()
	}
	return deep(depth-1, f) && depth > 0
}
