//go:build !race

package keygen_test

const raceDetector = false
