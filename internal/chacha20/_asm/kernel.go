package main

import . "github.com/mmcloughlin/avo/build"

var sigmaWords = [4]uint32{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574} // "expand 32-byte k"

const signature = "func(dst *byte, blocks int, key *[32]byte, nonce *[12]byte, counter uint32, xor bool)"

// begin begins a kernel. It needs at least one block.
func begin(name, doc string) {
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(name + " " + doc)
}
