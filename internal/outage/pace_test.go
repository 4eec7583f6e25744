package outage

import (
	"testing"
	"time"
)

func near(a, b time.Duration) bool { return (a - b).Abs() < time.Millisecond }

// TestSlowDown: after each 429 requests are half as frequent; each answer makes
// them a little more frequent again.
func TestSlowDown(t *testing.T) {
	p := pace{rate: RateLimit}
	full := RateWindow / 30 * 101 / 100
	if got := p.spacing(); !near(got, full) {
		t.Errorf("spacing %v, want %v", got, full)
	}
	p.refused()
	if got, want := p.spacing(), RateWindow/15*101/100; !near(got, want) {
		t.Errorf("after a 429, spacing %v, want %v", got, want)
	}
	p.answered()
	if got, want := p.spacing(), RateWindow/16*101/100; !near(got, want) {
		t.Errorf("after an answer, spacing %v, want %v", got, want)
	}
	for range 100 {
		p.refused()
	}
	if got, want := p.spacing(), 10*time.Minute*101/100; !near(got, want) {
		t.Errorf("after a hundred 429, spacing %v, want %v: a request in ten minutes", got, want)
	}
	for range 100 {
		p.answered()
	}
	if got := p.spacing(); !near(got, full) {
		t.Errorf("after a hundred answers, spacing %v, want %v", got, full)
	}
}
