package qrypt

import (
	"context"
	"sync"
	"time"
)

// The service refuses a token's 31st request in 10 s. Its clock sees a request
// some time between our beginning and our ending it; so a place is free again
// when the window has passed since a request *ended*, and whatever the network
// does with the times between, the service never counts more than 30. The tenth
// of a second is for clocks that differ in speed.
const (
	limitRequests = 30
	limitWindow   = 10*time.Second + 100*time.Millisecond

	// limitPoll is how often to look when all 30 are still under way.
	limitPoll = 100 * time.Millisecond
)

// limiter is the process's: clients that share a token share its limit.
var limiter = requestLimiter{windows: map[tokenID]*window{}}

type requestLimiter struct {
	mu      sync.Mutex
	windows map[tokenID]*window
}

// A window is what a token has used: at most limitRequests in all.
type window struct {
	underway int
	ended    []time.Time // oldest first
}

// acquire waits for a place for one request and takes it.
func (l *requestLimiter) acquire(ctx context.Context, id tokenID) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		wait := l.try(id, time.Now())
		if wait == 0 {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// try takes a place, or says for how long there is none.
func (l *requestLimiter) try(id tokenID, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	for other, w := range l.windows {
		w.forget(now)
		if w.underway == 0 && len(w.ended) == 0 {
			delete(l.windows, other)
		}
	}
	w := l.windows[id]
	if w == nil {
		w = &window{}
		l.windows[id] = w
	}
	if w.underway+len(w.ended) < limitRequests {
		w.underway++
		return 0
	}
	if len(w.ended) == 0 {
		return limitPoll
	}
	return limitWindow - now.Sub(w.ended[0])
}

func (l *requestLimiter) release(id tokenID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[id]
	w.underway--
	w.ended = append(w.ended, time.Now())
}

// forget drops the requests that ended a window ago. (One in the future is of
// another clock, a test's.)
func (w *window) forget(now time.Time) {
	for len(w.ended) > 0 {
		if age := now.Sub(w.ended[0]); age >= 0 && age < limitWindow {
			return
		}
		w.ended = w.ended[1:]
	}
}
