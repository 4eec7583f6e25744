package main

import (
	"fmt"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// words8AVX2 is the kernel for many blocks. A register holds one word of 8
// blocks. The rotations need a register, which leaves 15 for 16 words: words 10
// and 11 stay on the stack and share the last one.
func words8AVX2() {
	v := avx2
	begin("words8"+v.name, "makes 8 blocks in a pass, a word of 8 blocks in each register.")
	home := map[int]Mem{10: AllocLocal(32), 11: AllocLocal(32)}
	spill := AllocLocal(32)
	loadArguments()

	r := []VecPhysical{
		Y0, Y1, Y2, Y3,
		Y4, Y5, Y6, Y7,
		Y8, Y9, Y10, Y10,
		Y11, Y12, Y13, Y14,
	}

	Label("pass")
	for i := range 16 {
		initialWord(v, i, 0, r[i])
		if m, ok := home[i]; ok {
			v.move(r[i], m)
		}
	}

	rounds(func() { doubleRound(v.arithmetic, v.move, words[VecPhysical]{r, home}) })

	Comment("add the initial state")
	for i := range 16 {
		initialWord(v, i, 0, scratch)
		if m, ok := home[i]; ok {
			v.add(m, scratch)
			v.move(scratch, m)
		} else {
			v.add(scratch, r[i])
		}
	}

	Comment("words 0 to 7 to rows, rows to the first halves of blocks")
	shuffle := shuffler{v, r, scratch}
	shuffle.wordsToHalves(0)
	Comment("words 8 to 15 to the second halves")
	v.move(r[7], spill)
	r[10], r[11] = r[7], Y10
	v.move(home[10], r[10])
	v.move(home[11], r[11])
	shuffle.wordsToHalves(8)
	r[7] = shuffle.spare
	v.move(spill, r[7])
	v.output("write", halvesToBlocks(r))
	v.end(8, 16, home[10], home[11], spill)
}

// words16AVX2 is the kernel for twice as many: two sets of 16 words. Where a vector
// operation takes two cycles (Zen 5), words8AVX2 waits for the result of the one
// before; with another set there is other work to do. Most of the 32 words are at
// home in memory. Those in registers are words 4 to 7, which a quarter round ends
// with and the next one begins with, so that they cannot wait for memory, and of
// the others as many as there is room for.
func words16AVX2() {
	v := avx2
	begin("words16"+v.name, "makes 16 blocks in a pass, a word of 8 blocks in each register.")
	Attributes(0) // the frame is larger than a NOSPLIT function's may be
	const size = 32
	local := AllocLocal(2*16*size + size - 8) // the stack is aligned to 8
	LEAQ(local.Offset(size-1), RBX)
	ANDQ(I8(-size), RBX) // a word in one cache line, not in two
	homes := func(s, i int) Mem { return Mem{Base: RBX}.Offset(size * (16*s + i)) }
	loadArguments()

	visited := []VecPhysical{Y12, Y13, Y14}
	sets := []words[VecPhysical]{{
		r: []VecPhysical{
			Y12, Y12, Y12, Y12,
			Y0, Y1, Y2, Y3,
			Y13, Y13, Y13, Y13,
			Y8, Y9, Y10, Y11,
		},
		home: map[int]Mem{},
	}, {
		r: []VecPhysical{
			Y12, Y12, Y12, Y12,
			Y4, Y5, Y6, Y7,
			Y13, Y13, Y13, Y13,
			Y14, Y14, Y14, Y14,
		},
		home: map[int]Mem{},
	}}

	Label("pass")
	for s, w := range sets {
		for i, r := range w.r {
			initialWord(v, i, 8*s, r)
			if slices.Contains(visited, r) {
				w.home[i] = homes(s, i)
				v.move(r, w.home[i])
			}
		}
	}

	rounds(func() { doubleRound(v.arithmetic, v.move, sets...) })

	Comment("the rest of the words to memory")
	for s, w := range sets {
		for i, r := range w.r {
			if _, ok := w.home[i]; !ok {
				w.home[i] = homes(s, i)
				v.move(r, w.home[i])
			}
		}
	}
	var stack []Mem
	for s, w := range sets {
		shuffle := shuffler{v, slices.Clone(v.registers[:16]), scratch}
		r := shuffle.r
		add := func(i int) {
			Commentf("set %d: words %d to %d, and add the initial state", s, i, i+7)
			for j := i; j < i+8; j++ {
				initialWord(v, j, 8*s, r[j])
				v.add(w.home[j], r[j])
				stack = append(stack, w.home[j])
			}
		}
		add(0)
		Comment("to rows, rows to the first halves of blocks")
		shuffle.wordsToHalves(0)
		v.move(r[7], w.home[7])
		r[15] = r[7]
		add(8)
		Comment("to rows, rows to the second halves")
		shuffle.wordsToHalves(8)
		r[7] = shuffle.spare
		v.move(w.home[7], r[7])
		v.output(fmt.Sprint("write", s), halvesToBlocks(r))
	}
	v.end(16, 16, stack...)
}

// wordsToHalves takes words i to i+7 of 8 blocks, in r[i:i+8], to rows and those to
// the first or second halves of the blocks, in the same registers.
func (s *shuffler) wordsToHalves(i int) {
	s.wordsToRows(i)
	s.wordsToRows(i + 4)
	for j := range 4 {
		s.pair(i+j, i+4+j, s.even, s.odd)
	}
}

// halvesToBlocks puts first and second halves together.
func halvesToBlocks(r []VecPhysical) (blocks [][]VecPhysical) {
	for j := range 8 {
		blocks = append(blocks, []VecPhysical{r[j], r[8+j]})
	}
	return blocks
}
