package outage

import (
	"errors"
	"testing"
	"time"

	"example.com/qrand/qrypt"
)

// newTestSchedule is one whose first request begins now, and whose waits are the
// longest.
func newTestSchedule() (s *Schedule, now time.Time) {
	s = NewSchedule(8)
	s.Jitter = func(d time.Duration) time.Duration { return d }
	now = time.Now()
	s.Began(now)
	return s, now
}

// TestFullJitter: our own waits are drawn from all of [0, d).
func TestFullJitter(t *testing.T) {
	s, now := newTestSchedule()
	s.Jitter = nil
	var low, high bool
	for range 1000 {
		s.Failed(errors.New("no"), 1, now)
		clear(s.fails)
		s.fails[&backOff] = 20 // the next wait is the longest
		d := s.NotBefore().Sub(now)
		if d < 0 || d >= backOff.most {
			t.Fatalf("%v is not in [0, %v)", d, backOff.most)
		}
		low, high = low || d < backOff.most/10, high || d > backOff.most/10*9
	}
	if !low || !high {
		t.Error("the waits are not spread out")
	}
}

// TestTokenIsNotAwaited: once a failure has another cause, no token is waited for.
func TestTokenIsNotAwaited(t *testing.T) {
	s, now := newTestSchedule()
	s.Failed(&qrypt.Error{Class: qrypt.ErrUnauthorized}, 1, now)
	if want := now.Add(TokenInterval); !s.TokenAt().Equal(want) {
		t.Errorf("after a 401 the token is looked at at %v, want %v", s.TokenAt(), want)
	}
	s.Failed(&qrypt.Error{Class: qrypt.ErrServer}, 1, now)
	if !s.TokenAt().IsZero() {
		t.Error("after a 500 a token is waited for")
	}
}

// TestWindowLeft: a 429 is waited for until the oldest of our requests that still
// count is 10 s old.
func TestWindowLeft(t *testing.T) {
	s, now := newTestSchedule()
	s.recent = nil
	for _, age := range []time.Duration{11, 10, 4, 0} { // as they were, when Began looked at them last
		s.recent = append(s.recent, now.Add(-age*time.Second))
	}
	s.Failed(&qrypt.Error{Class: qrypt.ErrRateLimited}, 1, now)
	if got := s.NotBefore().Sub(now); got != 6*time.Second {
		t.Errorf("the next request is due in %v, want 6 s", got)
	}
}

// TestHurry: a wait of our own may be cut short, one that we were asked for may
// not; and a token that may be new is looked at.
func TestHurry(t *testing.T) {
	s, now := newTestSchedule()
	if !s.Hurry(now) {
		t.Error("refused though nothing failed")
	}
	s.Failed(&qrypt.Error{Class: qrypt.ErrServer}, 1, now)
	if !s.Hurry(now) || s.NotBefore().Sub(now) >= time.Second {
		t.Errorf("after a 500 the next request is due in %v", s.NotBefore().Sub(now))
	}
	s.Failed(&qrypt.Error{Class: qrypt.ErrNoSupply, RetryAfter: time.Minute}, 1, now)
	if s.Hurry(now) || s.NotBefore().Sub(now) != time.Minute {
		t.Errorf("after a 503 with Retry-After the next request is due in %v, want 1 min", s.NotBefore().Sub(now))
	}
	s, now = newTestSchedule()
	s.Failed(&qrypt.Error{Class: qrypt.ErrUnauthorized}, 1, now)
	if !s.Hurry(now) || !s.TokenAt().Equal(now) {
		t.Errorf("after a 401 the token is looked at at %v, want at once", s.TokenAt())
	}
	s.TokenChecked(false, now)
	if !s.TokenAt().Equal(now.Add(TokenInterval)) || s.NotBefore().Sub(now) != time.Hour {
		t.Error("the same token as before changed when the next request is due")
	}
	s.TokenChecked(true, now)
	if s.NotBefore().Sub(now) >= time.Second || !s.TokenAt().IsZero() {
		t.Error("a new token is not tried at once")
	}
}
