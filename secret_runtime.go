//go:build goexperiment.runtimesecret

package qrand

import "runtime/secret"

// erased calls f and has the runtime erase what it used: registers and stack at
// once, what it allocated when it is collected.
func erased(f func()) { secret.Do(f) }
