//go:build purego

package built

// PureGo is true, so the assembly is not there, neither ours nor the standard library's.
const PureGo = true
