package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The state is a matrix of words (RFC 8439, section 2.3):
//
//	 0  1  2  3   row a: the constant
//	 4  5  6  7   row b: the key
//	 8  9 10 11   row c: the key
//	12 13 14 15   row d: the counter and the nonce
//
// A double round works on its columns and then on its diagonals.
var (
	columns   = [4]quarter{{0, 4, 8, 12}, {1, 5, 9, 13}, {2, 6, 10, 14}, {3, 7, 11, 15}}
	diagonals = [4]quarter{{0, 5, 10, 15}, {1, 6, 11, 12}, {2, 7, 8, 13}, {3, 4, 9, 14}}
)

// A quarter is the indices of the four words of one quarter round.
type quarter [4]int

const doubleRounds = 10 // 20 rounds (section 2.3)

// An arithmetic is one instruction set's way to do the three operations of
// ChaCha, on every 32-bit lane of a register.
type arithmetic struct {
	add  func(y, x Op)     // x += y
	xor  func(y, x Op)     // x ^= y
	rotl func(n int, x Op) // x <<<= n
}

// quarterRounds is section 2.1, on several quadruples of registers: they do not
// depend on one another, and the processor works on them side by side.
func (ar arithmetic) quarterRounds(quadruples ...[4]Op) {
	const a, b, c, d = 0, 1, 2, 3
	step := func(x, y, z, n int) { // x += y; z ^= x; z <<<= n
		for _, q := range quadruples {
			ar.add(q[y], q[x])
		}
		for _, q := range quadruples {
			ar.xor(q[x], q[z])
		}
		for _, q := range quadruples {
			ar.rotl(n, q[z])
		}
	}
	step(a, b, d, 16)
	step(c, d, b, 12)
	step(a, b, d, 8)
	step(c, d, b, 7)
}

// words are the registers that hold the words of a state. A word that has a home
// in memory visits its register for one quarter round only.
type words[R Register] struct {
	r    []R
	home map[int]Mem
}

// doubleRound is one of columns and one of diagonals, on one state or several.
func doubleRound[R Register](ar arithmetic, move func(from, to Op), states ...words[R]) {
	for _, quarters := range [][4]quarter{columns, diagonals} {
		for s, w := range states {
			for _, q := range quarters {
				if len(states) > 1 {
					Commentf("set %d: words %d, %d, %d, %d", s, q[0], q[1], q[2], q[3])
				} else {
					Commentf("words %d, %d, %d, %d", q[0], q[1], q[2], q[3])
				}
				w.visit(q, func(r R, home Mem) { move(home, r) })
				ar.quarterRounds([4]Op{w.r[q[0]], w.r[q[1]], w.r[q[2]], w.r[q[3]]})
				w.visit(q, func(r R, home Mem) { move(r, home) })
			}
		}
	}
}

// visit calls f for each word of a quarter round that has a home.
func (w words[R]) visit(q quarter, f func(r R, home Mem)) {
	for _, i := range q {
		if m, ok := w.home[i]; ok {
			f(w.r[i], m)
		}
	}
}
