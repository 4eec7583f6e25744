package chacha20

import (
	"encoding/binary"
	"math/bits"
)

// model is a second implementation, slow and obvious, written from the text of
// RFC 8439 section 2. It calls nothing of the package.
func model(dst []byte, key *[32]byte, nonce *[12]byte, counter uint32, xor bool) {
	for ; len(dst) > 0; dst, counter = dst[64:], counter+1 {
		var block [64]byte // section 2.3: constant, key, counter, nonce
		copy(block[:], "expand 32-byte k")
		copy(block[16:], key[:])
		binary.LittleEndian.PutUint32(block[48:], counter)
		copy(block[52:], nonce[:])
		var state, working [16]uint32
		for i := range state {
			state[i] = binary.LittleEndian.Uint32(block[4*i:])
		}
		working = state
		for range 10 { // section 2.3.1's inner_block, its list of quarter rounds
			for _, q := range []string{"048c", "159d", "26ae", "37bf", "05af", "16bc", "278d", "349e"} {
				quarter(&working, q)
			}
		}
		for i := range state {
			binary.LittleEndian.PutUint32(block[4*i:], working[i]+state[i])
		}
		for i, b := range block {
			if xor {
				b ^= dst[i]
			}
			dst[i] = b
		}
	}
}

// quarter is section 2.1, on the words that four hex digits name.
func quarter(x *[16]uint32, words string) {
	word := func(i int) *uint32 {
		if d := words[i]; d >= 'a' {
			return &x[d-'a'+10]
		}
		return &x[words[i]-'0']
	}
	a, b, c, d := word(0), word(1), word(2), word(3)
	for _, n := range [][2]int{{16, 12}, {8, 7}} {
		*a += *b
		*d = bits.RotateLeft32(*d^*a, n[0])
		*c += *d
		*b = bits.RotateLeft32(*b^*c, n[1])
	}
}
