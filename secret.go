//go:build !(goexperiment.runtimesecret && linux && (amd64 || arm64))

package qrand

import "example.com/qrand/internal/scrub"

// erased calls f, and overwrites what f left on the stack. It is for functions that
// wipe the rest themselves, for seeds: the copies that a hash makes of its result.
// (Put in its caller's place, f's result would be in the caller's part of the stack.)
//
//go:noinline
func erased(f func()) {
	scrub.Stack()
	f()
	scrub.Stack()
}
