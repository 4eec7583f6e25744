//go:build race

package built

// Race is true: what computes for seconds may take minutes.
const Race = true
