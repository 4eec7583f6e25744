//go:build !race

package keyfile_test

const raceDetector = false
