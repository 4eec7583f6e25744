//go:build !(goexperiment.runtimesecret && linux && (amd64 || arm64))

package qrand

import "example.com/qrand/internal/scrub"

// erased calls f, and overwrites what f left on the stack, such as the copies that a hash
// makes of its result. f wipes the rest itself. (Inlined, f would leave its result in the
// stack frame of the caller.)
//
//go:noinline
func erased(f func()) {
	scrub.Stack()
	f()
	scrub.Stack()
}
