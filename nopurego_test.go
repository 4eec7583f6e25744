//go:build !purego

package qrand

const pureGo = false
