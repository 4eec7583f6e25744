package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// general is the arithmetic of the general registers.
var general = arithmetic{
	add:  func(y, x Op) { ADDL(y, x) },
	xor:  func(y, x Op) { XORL(y, x) },
	rotl: func(n int, x Op) { ROLL(U8(n), x) },
}

// block is the kernel for one block, on every amd64. A register holds one word;
// there are 15 for 16. So words 10 and 11 stay on the stack and share the last
// one, which between the rounds is the pointer to whatever is wanted; arguments
// and the count of rounds are on the stack, too.
func block() {
	begin("block", "makes 1 block in a pass, a word in each register.")
	local := AllocLocal(16)
	home := map[int]Mem{10: local, 11: local.Offset(4)}
	count := local.Offset(8)
	argument := func(name string) Mem {
		c, err := Param(name).Resolve()
		if err != nil {
			panic(err)
		}
		return c.Addr
	}
	pointer := func(name string) Mem {
		MOVQ(argument(name), RBP)
		return Mem{Base: RBP}
	}
	r := []Register{
		EAX, EBX, ECX, EDX,
		ESI, EDI, R8L, R9L,
		R10L, R11L, EBP, EBP,
		R12L, R13L, R14L, R15L,
	}

	// initial does op(word of the initial state, register) for all but words 10 and 11.
	initial := func(op func(word, r Op)) {
		key := pointer("key")
		for i := 4; i < 10; i++ {
			op(key.Offset(4*(i-4)), r[i])
		}
		nonce := pointer("nonce")
		for i := 13; i < 16; i++ {
			op(nonce.Offset(4*(i-13)), r[i])
		}
		op(argument("counter"), r[12])
		for i, w := range sigmaWords {
			op(U32(w), r[i])
		}
	}

	Label("pass")
	MOVQ(pointer("key").Offset(24), RAX) // words 10 and 11
	MOVQ(RAX, local)
	initial(func(word, r Op) { MOVL(word, r) })

	MOVL(U32(doubleRounds), count)
	Label("round")
	doubleRound(general, func(from, to Op) { MOVL(from, to) }, words[Register]{r, home})
	DECL(count)
	JNZ(LabelRef("round"))

	Comment("add the initial state, and write")
	initial(general.add)
	out := pointer("dst")
	CMPB(argument("xor"), U8(0))
	JNE(LabelRef("writeXOR"))
	for _, xoring := range []bool{false, true} {
		if xoring {
			Label("writeXOR")
		}
		write := func(i int, r Op) {
			if xoring {
				XORL(out.Offset(4*i), r)
			}
			MOVL(r, out.Offset(4*i))
		}
		for i := range r {
			if _, ok := home[i]; !ok {
				write(i, r[i])
			}
		}
		Comment("words 10 and 11, in registers that are free by now")
		MOVQ(argument("key"), RAX)
		for i, free := range []Register{ECX, EDX} {
			MOVL(home[10+i], free)
			ADDL(Mem{Base: RAX}.Offset(24+4*i), free)
			write(10+i, free)
		}
		if !xoring {
			JMP(LabelRef("writeNext"))
		}
	}
	Label("writeNext")
	ADDQ(Imm(64), argument("dst"))
	INCL(argument("counter"))
	DECQ(argument("blocks"))
	JNZ(LabelRef("pass"))

	Comment("leave nothing of it")
	for i, r := range r {
		if _, ok := home[i]; !ok {
			XORL(r, r)
		}
	}
	MOVQ(RAX, local)
	RET()
}
