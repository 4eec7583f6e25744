// Package scrub overwrites what functions leave on the stack.
package scrub

// size is more than any function takes that this is used for: the deepest, SHA-512's,
// take half of it.
const size = 4 << 10

// Stack overwrites the part of the stack that the functions had which its caller
// called before. Call it before them, too: were the stack to grow in them, it would
// be copied, and the old one left as it is.
//
//go:noinline
func Stack() {
	var below [size]byte
	overwrite(&below)
}

//go:noinline
func overwrite(p *[size]byte) { clear(p[:]) }
