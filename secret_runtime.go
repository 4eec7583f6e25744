//go:build goexperiment.runtimesecret && linux && (amd64 || arm64)

package qrand

import "runtime/secret"

// erased calls f and has the runtime erase what f used: registers and the stack at
// once, also where a signal interrupts it, and the heap when it is collected.
func erased(f func()) { secret.Do(f) }
