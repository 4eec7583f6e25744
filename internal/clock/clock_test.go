package clock

import (
	"testing"
	"time"
)

// TestAge: either clock is looked at. Package time has no means to make the two
// disagree; TestLife, at the module's root, has.
func TestAge(t *testing.T) {
	then := time.Now()
	for name, now := range map[string]time.Time{
		"both clocks":    then.Add(time.Hour),
		"the wall clock": then.Add(time.Hour).Round(0),
	} {
		if got := Age(now, then); got != time.Hour {
			t.Errorf("by %s the age is %v, want 1 h", name, got)
		}
	}
}

// TestReached: so are they for a time that is waited for.
func TestReached(t *testing.T) {
	at := time.Now()
	for name, now := range map[string]time.Time{"both clocks": at, "the wall clock": at.Round(0)} {
		if !Reached(now, at) || Reached(now.Add(-1), at) {
			t.Errorf("by %s: not when it comes", name)
		}
	}
}
