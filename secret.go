//go:build !goexperiment.runtimesecret

package qrand

// erased calls f and overwrites the stack that it used: hash functions leave copies
// of what they return there. The first call of scrub is for its size, because a
// stack that grows after f would be left behind as it is.
func erased(f func()) {
	scrub()
	f()
	scrub()
}

// scrub overwrites the next 4 KiB of the stack, more than a seed takes.
//
//go:noinline
func scrub() {
	var below [4 << 10]byte
	overwrite(&below)
}

//go:noinline
func overwrite(p *[4 << 10]byte) { clear(p[:]) }
