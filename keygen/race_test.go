//go:build race

package keygen_test

// raceDetector makes the slow parameter sets take minutes.
const raceDetector = true
