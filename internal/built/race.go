//go:build race

package built

// Race is true, so what computes for seconds takes minutes.
const Race = true
