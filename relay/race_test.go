//go:build race

package relay

// raceDetector makes what takes seconds take minutes.
const raceDetector = true
