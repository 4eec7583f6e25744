//go:build goexperiment.runtimesecret && linux && (amd64 || arm64)

package qrand

import "runtime/secret"

// erased calls f and lets the runtime erase what f used: registers and the stack at once,
// also when a signal interrupts f, and the heap when it is collected.
func erased(f func()) { secret.Do(f) }
