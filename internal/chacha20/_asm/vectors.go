package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// A vectors is an instruction set for registers of 128-bit lanes, which are 4
// words each. Operands are in Go's order: the destination comes last.
type vectors struct {
	arithmetic
	name      string
	registers []VecPhysical
	lanes     int
	move      func(from, to Op)
	broadcast func(m, to Op)      // 16 bytes of memory into each lane
	repeat    func(r VecPhysical) // lane 0 into each lane
	even, odd func(y, x, to Op)   // those lanes of x, then those of y
}

var avx2 = vectors{
	name:      "AVX2",
	registers: []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15},
	lanes:     2,
	arithmetic: arithmetic{
		add: func(y, x Op) { VPADDD(y, x, x) },
		xor: func(y, x Op) { VPXOR(y, x, x) },
		rotl: func(n int, x Op) { // there is no rotation before AVX-512
			switch n {
			case 16:
				VPSHUFB(rotateBy16, x, x)
			case 8:
				VPSHUFB(rotateBy8, x, x)
			default:
				VPSLLD(U8(n), x, scratch)
				VPSRLD(U8(32-n), x, x)
				VPXOR(scratch, x, x)
			}
		},
	},
	move:      func(from, to Op) { VMOVDQU(from, to) },
	broadcast: func(m, to Op) { VBROADCASTI128(m, to) },
	repeat:    func(r VecPhysical) { VINSERTI128(U8(1), r.AsX(), r, r) },
	even:      func(y, x, to Op) { VPERM2I128(U8(0x20), y, x, to) },
	odd:       func(y, x, to Op) { VPERM2I128(U8(0x31), y, x, to) },
}

var scratch = Y15 // for AVX2's rotations

var avx512 = vectors{
	name: "AVX512",
	registers: []VecPhysical{
		Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15,
		Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31,
	},
	lanes: 4,
	arithmetic: arithmetic{
		add:  func(y, x Op) { VPADDD(y, x, x) },
		xor:  func(y, x Op) { VPXORD(y, x, x) },
		rotl: func(n int, x Op) { VPROLD(U8(n), x, x) },
	},
	move:      func(from, to Op) { VMOVDQU32(from, to) },
	broadcast: func(m, to Op) { VBROADCASTI32X4(m, to) },
	repeat:    func(r VecPhysical) { VSHUFI32X4(U8(0), r, r, r) },
	even:      func(y, x, to Op) { VSHUFI32X4(U8(0x88), y, x, to) },
	odd:       func(y, x, to Op) { VSHUFI32X4(U8(0xdd), y, x, to) },
}

// A shuffler moves words between the registers of r. It needs one to spare,
// which after each step is another.
type shuffler struct {
	vectors
	r     []VecPhysical
	spare VecPhysical
}

// pair replaces r[i] by first(r[i], r[j]) and r[j] by second(r[i], r[j]).
func (s *shuffler) pair(i, j int, first, second func(y, x, to Op)) {
	x, y := s.r[i], s.r[j]
	first(y, x, s.spare)
	second(y, x, y)
	s.r[i], s.spare = s.spare, x
}

// wordsToRows transposes r[i:i+4], in each lane by itself. Before, they hold
// words 4n to 4n+3, each of several blocks; then r[i+j] holds row n of block j in
// lane 0, of block 4+j in lane 1, and so on.
func (s *shuffler) wordsToRows(i int) {
	lowWords := func(y, x, to Op) { VPUNPCKLDQ(y, x, to) }
	highWords := func(y, x, to Op) { VPUNPCKHDQ(y, x, to) }
	lowPairs := func(y, x, to Op) { VPUNPCKLQDQ(y, x, to) }
	highPairs := func(y, x, to Op) { VPUNPCKHQDQ(y, x, to) }
	s.pair(i, i+1, lowWords, highWords)   // words 0, 1 of block 0, then of 1 | of 2, then of 3
	s.pair(i+2, i+3, lowWords, highWords) // words 2, 3 of the same
	s.pair(i, i+2, lowPairs, highPairs)   // block 0 | block 1
	s.pair(i+1, i+3, lowPairs, highPairs) // block 2 | block 3
	s.r[i+1], s.r[i+2] = s.r[i+2], s.r[i+1]
}

// rowsToBlocks takes registers of the rows a, b, c and d to registers of blocks,
// and returns those of each lane's block.
func (s *shuffler) rowsToBlocks(a, b, c, d int) [][]VecPhysical {
	s.pair(a, b, s.even, s.odd)
	s.pair(c, d, s.even, s.odd)
	if s.lanes == 2 {
		return [][]VecPhysical{{s.r[a], s.r[c]}, {s.r[b], s.r[d]}}
	}
	// Lanes 0 and 2 are in a and c, lanes 1 and 3 in b and d.
	s.pair(a, c, s.even, s.odd)
	s.pair(b, d, s.even, s.odd)
	return [][]VecPhysical{{s.r[a]}, {s.r[b]}, {s.r[c]}, {s.r[d]}}
}
