package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// words8 is the AVX2 kernel for many blocks. A register holds one word of 8
// blocks. The rotations need a register, which leaves 15 for 16 words: words 10
// and 11 stay on the stack and share the last one.
func words8() {
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

	rounds(func() { doubleRound(v.arithmetic, r, home, v.move) })

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
	halves := func(i int) {
		shuffle.wordsToRows(i)
		shuffle.wordsToRows(i + 4)
		for j := range 4 {
			shuffle.pair(i+j, i+4+j, v.even, v.odd)
		}
	}
	halves(0)
	Comment("words 8 to 15 to the second halves")
	v.move(r[7], spill)
	r[10], r[11] = r[7], Y10
	v.move(home[10], r[10])
	v.move(home[11], r[11])
	halves(8)
	r[7] = shuffle.spare
	v.move(spill, r[7])
	var out [][]VecPhysical
	for j := range 8 {
		out = append(out, []VecPhysical{r[j], r[8+j]})
	}
	v.output("write", out)
	v.end(8, 16, home[10], home[11], spill)
}

// word is where word i of the initial state is, for all but the counter.
func word(i int) Mem {
	switch {
	case i < 4:
		return sigma.Offset(4 * i)
	case i < 12:
		return key.Offset(4 * (i - 4))
	default:
		return nonce.Offset(4 * (i - 13))
	}
}

// initialWord puts word i of the initial state into r, for a set that begins with
// the given block of the pass.
func initialWord(v vectors, i, block int, r VecPhysical) {
	if i != 12 {
		VPBROADCASTD(word(i), r)
		return
	}
	VMOVD(counter, r.AsX())
	VPBROADCASTD(r.AsX(), r)
	v.add(lanes.Offset(4*block), r)
}
