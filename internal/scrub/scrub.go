// Package scrub overwrites what functions leave on the stack.
package scrub

// size is more stack than any function needs that this is used for. Those of SHA-512 need
// most: half of it.
const size = 4 << 10

// Stack overwrites the part of the stack that was used by the functions which its caller
// called before. Call it before them, too: if the stack grew in them, it would be copied,
// and the old one would stay as it is.
//
//go:noinline
func Stack() {
	var below [size]byte
	overwrite(&below)
}

//go:noinline
func overwrite(p *[size]byte) { clear(p[:]) }
