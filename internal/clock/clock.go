// Package clock tells how old something is.
package clock

import "time"

// Age returns the time from then to now, by the clock that says more. The monotonic clock
// stands still while a machine sleeps, and the wall clock can be set back.
func Age(now, then time.Time) time.Duration {
	return max(now.Sub(then), now.Round(0).Sub(then.Round(0)))
}

// Later returns the later of two times.
func Later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
