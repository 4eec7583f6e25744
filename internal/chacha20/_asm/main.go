// This program writes the assembly of package chacha20: kernels_amd64.s, and the
// declarations that go with it. It is a module of its own, so that who depends on
// the package does not depend on what its generator needs.
//
//	chacha.go     the cipher: quarter rounds, columns, diagonals (RFC 8439 section 2)
//	block.go      one block, a word in each general register
//	rows.go       few blocks, a row of several of them in each vector register
//	words.go      many blocks, a word of several of them in each vector register
//	wordsavx2.go  the same where there are 16 registers, not 32
//	vectors.go    the two instruction sets, and moving words between registers
//	kernel.go     what kernels have in common: arguments, constants, output, erasure
//
// All kernels have one signature and take any number of blocks from one on. A
// kernel's name says how many it makes in a pass; it stops after the last.
package main

import . "github.com/mmcloughlin/avo/build"

func main() {
	ConstraintExpr("!purego")
	constants()

	block()
	rows(avx2, 1)
	rows(avx2, 2)
	words8AVX2()
	words16AVX2()
	rows(avx512, 1)
	rows(avx512, 2)
	wordsAVX512(1)
	wordsAVX512(2)
	Generate()
}
