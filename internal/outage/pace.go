package outage

import "time"

// RateWindow and RateLimit are the service's: so many requests in a window.
const (
	RateWindow = 10 * time.Second
	RateLimit  = 30.0

	slowestPace = 10 * time.Minute // between requests, the slowest we fall to
)

// A pace keeps requests apart by additive increase, multiplicative decrease of
// their rate (Chiu and Jain, 1989), by which processes that share a token and
// know nothing of each other come to share its limit.
type pace struct{ rate float64 } // requests in a window

func (p *pace) refused()  { p.rate = max(p.rate/2, float64(RateWindow)/float64(slowestPace)) }
func (p *pace) answered() { p.rate = min(p.rate+1, RateLimit) }

// spacing is the least time from one request to the next: a hundredth more than
// the rate says, so that no window has one more at its very end.
func (p *pace) spacing() time.Duration { return time.Duration(1.01 * float64(RateWindow) / p.rate) }
