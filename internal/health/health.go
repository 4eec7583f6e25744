// Package health checks blocks before they are used: by the two continuous tests of NIST
// SP 800-90B section 4.4, and against a memory of the blocks before. It finds a source that
// is stuck, biased or replayed. It cannot tell quantum entropy from other good randomness,
// and certifies nothing.
package health

import (
	"errors"
	"fmt"
)

// The cutoffs are for H = 8 bits of entropy in each byte, and a chance of 2^-40 that a
// perfect source fails a test at a given byte: that is about one good block in 10^9.
const (
	// SP 800-90B section 4.4.1: 1 + ceil(40 / H) equal bytes in a row.
	repetitionCutoff = 6

	// SP 800-90B section 4.4.2, for symbols of more than one bit.
	proportionWindow = 512

	// Section 4.4.2: 1 + critbinom(512, 2^-H, 1 - 2^-40).
	proportionCutoff = 19
)

// ErrUnhealthy is wrapped by the errors of Check.
var ErrUnhealthy = errors.New("the block fails a health test")

// Check runs the repetition count and adaptive proportion tests over a block, with each
// byte a sample. Every block is tested by itself: the service gives its blocks to many
// clients, so those of one client are no contiguous sequence. A block has whole windows of
// the proportion test.
func Check(block []byte) error {
	run := 0
	for i, sample := range block {
		if i > 0 && sample == block[i-1] {
			run++
		} else {
			run = 1
		}
		if run >= repetitionCutoff {
			return fmt.Errorf("%w: %d equal bytes in a row", ErrUnhealthy, repetitionCutoff)
		}
	}
	for len(block) >= proportionWindow {
		first, count := block[0], 0
		for _, sample := range block[:proportionWindow] {
			if sample == first {
				count++
			}
		}
		if count >= proportionCutoff {
			return fmt.Errorf("%w: one byte value %d times or more among %d", ErrUnhealthy, proportionCutoff, proportionWindow)
		}
		block = block[proportionWindow:]
	}
	return nil
}
