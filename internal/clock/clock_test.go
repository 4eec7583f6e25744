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
