//go:build !purego

package built

// PureGo is false.
const PureGo = false
