//go:build !purego

package keygen_test

const pureGo = false
