//go:build race

package keyfile_test

// raceDetector makes the slow parameter sets take minutes.
const raceDetector = true
