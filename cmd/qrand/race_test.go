//go:build race

package main

// raceDetector makes the slow parameter sets take minutes.
const raceDetector = true
