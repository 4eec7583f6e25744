//go:build !race

package built

// Race is false.
const Race = false
