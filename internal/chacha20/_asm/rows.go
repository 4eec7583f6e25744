package main

import (
	"fmt"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// rows is the kernel for few blocks. A register holds one row of the matrix, of
// as many blocks as it has lanes, so that a quarter round of registers does all
// four columns; there are sets of four such registers.
func rows(v vectors, sets int) {
	pass := sets * v.lanes
	begin(fmt.Sprintf("rows%d%s", pass, v.name),
		fmt.Sprintf("makes %d blocks in a pass, a row of %d blocks in each register.", pass, v.lanes))
	loadArguments()
	spare := v.registers[4*sets]

	Label("pass")
	var matrix [][4]Op
	for s := range sets {
		a, b, c, d := v.registers[4*s], v.registers[4*s+1], v.registers[4*s+2], v.registers[4*s+3]
		v.broadcast(sigma, a)
		v.broadcast(key, b)
		v.broadcast(key.Offset(16), c)
		if s == 0 {
			rowD(v, d)
		} else {
			v.move(v.registers[3], d)
		}
		matrix = append(matrix, [4]Op{a, b, c, d})
	}
	for s, m := range matrix {
		v.add(rowLanes.Offset(16*v.lanes*s), m[3])
	}

	rounds(func() {
		Comment("columns")
		v.quarterRounds(matrix...)
		Comment("diagonals, made columns by turning the rows")
		turn(matrix, 3, 1, 2)
		v.quarterRounds(matrix...)
		turn(matrix, 1, 3, 2)
	})

	Comment("add the initial state")
	for i, from := range []Mem{sigma, key, key.Offset(16)} {
		v.broadcast(from, spare)
		for _, m := range matrix {
			v.add(spare, m[i])
		}
	}
	rowD(v, spare)
	for s, m := range matrix {
		v.add(spare, m[3])
		v.add(rowLanes.Offset(16*v.lanes*s), m[3])
	}

	var out [][]VecPhysical
	Comment("rows to blocks")
	for s := range sets {
		shuffle := shuffler{v, slices.Clone(v.registers[4*s:][:4]), spare}
		out = append(out, shuffle.rowsToBlocks(0, 1, 2, 3)...)
		spare = shuffle.spare
	}
	v.output("write", out)
	v.end(pass, 4*sets+1)
}

// rowD puts the counter and the nonce into each lane of r.
func rowD(v vectors, r VecPhysical) {
	VMOVD(counter, r.AsX())
	for i := range 3 {
		VPINSRD(U8(i+1), nonce.Offset(4*i), r.AsX(), r.AsX())
	}
	v.repeat(r)
}

// turn moves the words of rows a, c and d to the left, by as many places. Row b
// stays where it is and the others are turned about it: a quarter round has b
// last, and the next one wants it first.
func turn(matrix [][4]Op, a, c, d int) {
	for _, row := range []struct{ index, by int }{{0, a}, {3, d}, {2, c}} {
		var order int // two bits for each word: where it comes from
		for i := range 4 {
			order |= (i + row.by) % 4 << (2 * i)
		}
		for _, m := range matrix {
			VPSHUFD(U8(order), m[row.index], m[row.index])
		}
	}
}
