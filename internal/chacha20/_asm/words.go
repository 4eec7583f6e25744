package main

import (
	"fmt"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// wordsAVX512 is the kernel for many blocks. A register holds one word of 16
// blocks; there are one or two sets of 16 such registers. One set is 4 quarter
// rounds side by side, which leave a processor waiting whose vector operations
// take two cycles (Zen 5); two sets fill the registers, and the time.
func wordsAVX512(sets int) {
	v := avx512
	pass := 16 * sets
	begin(fmt.Sprintf("words%d%s", pass, v.name),
		fmt.Sprintf("makes %d blocks in a pass, a word of 16 blocks in each register.", pass))
	var spill Mem
	if sets == 2 {
		spill = AllocLocal(64)
	}
	loadArguments()

	Label("pass")
	set := func(s int) []VecPhysical { return slices.Clone(v.registers[16*s:][:16]) }
	for s := range sets {
		for i, r := range set(s) {
			initialWord(v, i, 16*s, r)
		}
	}

	rounds(func() {
		for _, half := range []struct {
			name     string
			quarters [4]quarter
		}{{"columns", columns}, {"diagonals", diagonals}} {
			for s := range sets {
				Commentf("%s of set %d", half.name, s)
				var quadruples [][4]Op
				r := set(s)
				for _, q := range half.quarters {
					quadruples = append(quadruples, [4]Op{r[q[0]], r[q[1]], r[q[2]], r[q[3]]})
				}
				v.quarterRounds(quadruples...)
			}
		}
	})

	spare := v.registers[16]
	if sets == 2 {
		spare = v.registers[31]
		Comment("set 1 lends a register")
		v.move(spare, spill)
	}
	for s := range sets {
		if s == 1 {
			v.move(spill, v.registers[31])
		}
		Commentf("set %d: add the initial state", s)
		r := set(s)
		for i := range r {
			if i == 12 {
				initialWord(v, i, 16*s, spare)
				v.add(spare, r[i])
			} else {
				VPADDD_BCST(word(i), r[i], r[i])
			}
		}
		Comment("words to rows, and rows to blocks")
		shuffle := shuffler{v, r, spare}
		for i := 0; i < 16; i += 4 {
			shuffle.wordsToRows(i)
		}
		out := make([][]VecPhysical, 16)
		for j := range 4 {
			for lane, block := range shuffle.rowsToBlocks(j, 4+j, 8+j, 12+j) {
				out[4*lane+j] = block
			}
		}
		v.output(fmt.Sprint("write", s), out)
		spare = v.registers[0] // of set 0, which is written
	}
	if sets == 2 {
		v.end(pass, 32, spill)
	} else {
		v.end(pass, 17)
	}
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
