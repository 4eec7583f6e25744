package outage

import (
	mathrand "math/rand/v2"
	"time"

	"example.com/qrand/internal/clock"
)

// A Schedule says when the next request may be made, and for how many blocks.
// It is told of each request: [Schedule.Began], and then [Schedule.Answered] or
// [Schedule.Failed]. It is not safe for concurrent use.
type Schedule struct {
	// Jitter draws a wait from [0, d). Nil: full jitter, so that processes which
	// failed together do not come back together.
	Jitter func(d time.Duration) time.Duration

	most, batch int // blocks: fewer while there is little supply
	lastRequest time.Time
	recent      []time.Time // requests within RateWindow, for what is left of it
	notBefore   time.Time   // when the next request may be made
	heldUntil   time.Time   // until when the service asked us to wait
	tokenAt     time.Time   // when to look for another token; zero: not waiting for one
	pace        pace
	failing     *retry // how we wait now; nil when the last request was answered
	fails       map[*retry]int
}

// NewSchedule allows a request at once, for batch blocks.
func NewSchedule(batch int) *Schedule {
	return &Schedule{most: batch, batch: batch, pace: pace{rate: RateLimit}, fails: map[*retry]int{}}
}

// Batch is how many blocks to ask for.
func (s *Schedule) Batch() int { return s.batch }

// Failing reports whether the last request failed.
func (s *Schedule) Failing() bool { return s.failing != nil }

// NotBefore is when the next request may be made; zero: at once.
func (s *Schedule) NotBefore() time.Time { return s.notBefore }

// TokenAt is when to compare the token with the one that was refused; zero if
// none is waited for.
func (s *Schedule) TokenAt() time.Time { return s.tokenAt }

// Hangs reports whether the request that began last has taken too long.
func (s *Schedule) Hangs(now time.Time) bool { return !now.Before(s.HangsAt()) }

// HangsAt is when the request that began last has taken too long.
func (s *Schedule) HangsAt() time.Time { return s.lastRequest.Add(HangLimit) }

// Began takes in that a request is made.
func (s *Schedule) Began(now time.Time) {
	s.lastRequest = now
	s.recent = append(within(s.recent, now), now)
}

// Answered takes in that the last request was answered with good blocks.
func (s *Schedule) Answered() {
	s.pace.answered()
	s.batch = min(2*s.batch, s.most)
	s.failing, s.notBefore, s.tokenAt, s.heldUntil = nil, s.soonest(), time.Time{}, time.Time{}
	clear(s.fails)
}

// Failed takes in a failure, with so many endpoints to ask. It returns the word
// of the failure's row, and whether another endpoint is asked next, without a
// wait.
func (s *Schedule) Failed(err error, endpoints int, now time.Time) (reason string, elsewhere bool) {
	row := rowOf(err)
	retry := row.retry
	s.failing = retry
	s.fails[retry]++
	wait := retry.wait(s.fails[retry], endpoints)
	elsewhere = retry.others && wait == 0
	if retry.ours && !elsewhere {
		wait = s.jitter(wait)
	}
	if retry.window {
		s.pace.refused()
		if retryAfter(err) == 0 {
			wait = max(minRetryAfter, s.windowLeft(now))
		}
	}
	if row.Reason == noSupply || row.Reason == quotaReached {
		s.batch = max(1, s.batch/2) // less may be there
	}
	if asked := retryAfter(err); asked > 0 {
		s.heldUntil = clock.Later(s.heldUntil, now.Add(asked))
	}
	s.notBefore = clock.Later(s.soonest(), now.Add(wait))
	if !elsewhere {
		s.notBefore = clock.Later(s.notBefore, s.heldUntil)
	}
	s.tokenAt = time.Time{}
	if retry.token {
		s.tokenAt = now.Add(TokenInterval)
	}
	return row.Reason, elsewhere
}

// TokenChecked takes in whether there is a token other than the refused one.
func (s *Schedule) TokenChecked(changed bool, now time.Time) {
	if changed {
		s.notBefore, s.tokenAt = s.soonest(), time.Time{}
		return
	}
	s.tokenAt = now.Add(TokenInterval)
}

// Hurry takes in that somebody asks for a request now. It may cut short a wait
// that was our own idea, but not one that the service, the account or the token
// calls for: then it returns false. A token is then looked at at once.
func (s *Schedule) Hurry(now time.Time) bool {
	if s.failing == nil || !now.Before(s.notBefore) {
		return true
	}
	switch {
	case s.failing.ours && !now.Before(s.heldUntil):
		s.notBefore = s.soonest()
	case s.failing.token:
		s.tokenAt = now // there may be a new one
	default:
		return false
	}
	return true
}

// soonest is when our own pace allows another request.
func (s *Schedule) soonest() time.Time { return s.lastRequest.Add(s.pace.spacing()) }

// windowLeft is how long our own oldest request of the window still counts.
func (s *Schedule) windowLeft(now time.Time) time.Duration {
	if s.recent = within(s.recent, now); len(s.recent) == 0 {
		return 0
	}
	return RateWindow - now.Sub(s.recent[0])
}

// within keeps the requests of the last window.
func within(recent []time.Time, now time.Time) []time.Time {
	for len(recent) > 0 && now.Sub(recent[0]) >= RateWindow {
		recent = recent[1:]
	}
	return recent
}

func (s *Schedule) jitter(d time.Duration) time.Duration {
	if s.Jitter != nil {
		return s.Jitter(d)
	}
	return mathrand.N(d)
}
