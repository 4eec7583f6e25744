package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Constants in memory.
var (
	sigma      Mem // row a (RFC 8439, section 2.3)
	lanes      Mem // what each lane of word 12 adds to the counter: 0, 1, 2, ...
	rowLanes   Mem // the same for each lane of row d: (0, 0, 0, 0), (1, 0, 0, 0), ...
	rotateBy16 Mem // for VPSHUFB: where each byte of a lane comes from
	rotateBy8  Mem
)

var sigmaWords = [4]uint32{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574} // "expand 32-byte k"

func constants() {
	words := func(name string, words ...uint32) Mem {
		m := GLOBL(name, RODATA|NOPTR)
		for i, w := range words {
			DATA(4*i, U32(w))
		}
		return m
	}
	sigma = words("sigma", sigmaWords[:]...)
	var w, r []uint32
	for i := range uint32(32) {
		w = append(w, i)
	}
	for i := range uint32(8) {
		r = append(r, i, 0, 0, 0)
	}
	lanes = words("lanes", w...)
	rowLanes = words("rowLanes", r...)
	by16 := []uint32{0x01000302, 0x05040706, 0x09080b0a, 0x0d0c0f0e}
	by8 := []uint32{0x02010003, 0x06050407, 0x0a09080b, 0x0e0d0c0f}
	rotateBy16 = words("rotateBy16", append(by16, by16...)...)
	rotateBy8 = words("rotateBy8", append(by8, by8...)...)
}

const signature = "func(dst *byte, blocks int, key *[32]byte, nonce *[12]byte, counter uint32, xor bool)"

// The arguments of a vector kernel stay in these registers.
var (
	dst     = RDI // moves on with each pass
	blocks  = RCX // how many are still to be written
	key     = Mem{Base: RSI}
	nonce   = Mem{Base: RDX}
	counter = R8L // of the pass's first block
	xor     = R9L
	round   = EAX // counts double rounds down
)

// begin begins a kernel. It needs at least one block.
func begin(name, doc string) {
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(name + " " + doc)
}

func loadArguments() {
	Load(Param("dst"), dst)
	Load(Param("blocks"), blocks)
	Load(Param("key"), key.Base)
	Load(Param("nonce"), nonce.Base)
	Load(Param("counter"), counter)
	Load(Param("xor"), xor)
}

// rounds repeats double, which emits one double round.
func rounds(double func()) {
	MOVL(U32(doubleRounds), round)
	Label("round")
	double()
	DECL(round)
	JNZ(LabelRef("round"))
}

// output writes the blocks of a pass, or XORs them onto what is there, and goes
// to done when it has written the last. Each block is one register or two.
func (v vectors) output(label string, pass [][]VecPhysical) {
	TESTL(xor, xor)
	JNZ(LabelRef(label + "XOR"))
	for _, xoring := range []bool{false, true} {
		if xoring {
			Label(label + "XOR")
		}
		for b, registers := range pass {
			for i, r := range registers {
				at := Mem{Base: dst}.Offset(64*b + 16*v.lanes*i)
				if xoring {
					v.xor(at, r)
				}
				v.move(r, at)
			}
			DECQ(blocks)
			JZ(LabelRef("done"))
		}
		if !xoring {
			JMP(LabelRef(label + "Next"))
		}
	}
	Label(label + "Next")
	ADDQ(U32(64*len(pass)), dst)
}

// end goes back to begin another pass, and returns when all is done. The
// registers used and the stack then hold nothing of the key, of a state or of the
// keystream.
func (v vectors) end(pass, used int, stack ...Mem) {
	ADDL(U32(pass), counter)
	JMP(LabelRef("pass"))
	Label("done")
	VZEROALL() // registers 0 to 15
	for i := 16; i < used; i++ {
		v.xor(v.registers[i], v.registers[i])
	}
	for _, m := range stack {
		v.move(v.registers[0], m)
	}
	RET()
}
