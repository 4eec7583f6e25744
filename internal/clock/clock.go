// Package clock tells how old something is.
package clock

import "time"

// Age is the time from then to now, by whichever clock says more: the monotonic
// one stands still while a machine sleeps, and the wall clock can be set back.
func Age(now, then time.Time) time.Duration {
	return max(now.Sub(then), now.Round(0).Sub(then.Round(0)))
}
