// Package clock tells what time it is, and how old something is.
package clock

import "time"

// Now is time.Now, a variable so that a test can set the wall clock without the
// monotonic one.
var Now = time.Now

// Age is the time from then to now, by whichever clock says more: the monotonic
// one stands still while a machine sleeps, and the wall clock can be set back.
func Age(now, then time.Time) time.Duration {
	return max(now.Sub(then), now.Round(0).Sub(then.Round(0)))
}

// Later is the later of two times.
func Later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
