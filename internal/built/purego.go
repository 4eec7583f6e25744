//go:build purego

package built

// PureGo is true: neither our assembly nor that of the standard library is there.
const PureGo = true
