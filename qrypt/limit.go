package qrypt

import (
	"container/list"
	"context"
	"sync"
	"time"

	"example.com/qrand/internal/turn"
)

// The service refuses a token's 31st request in 10 s. Its clock sees a request
// some time between our beginning and our ending it; so a place is free again
// when the window has passed since a request *ended*, and whatever the network
// does with the times between, the service never counts more than 30. The tenth
// of a second is for clocks that differ in speed.
const (
	limitRequests = 30
	limitWindow   = 10*time.Second + 100*time.Millisecond
)

// limiter is the process's: clients that share a token share its limit.
var limiter = requestLimiter{windows: map[tokenID]*window{}}

type requestLimiter struct {
	mu      sync.Mutex
	windows map[tokenID]*window
}

// A window is what a token has used, at most limitRequests in all, and who waits
// to use more.
type window struct {
	underway int
	ended    []time.Time // oldest first

	// waiting holds a channel for each waiter, in order of arrival. Only the first
	// may take a place, and only it watches the clock; what is sent on its channel
	// has it look again. Nobody hands out places, so none is lost when a waiter
	// gives up just then.
	waiting list.List
}

// acquire waits for a place for one request and takes it: first come, first
// served. It reports a wait through package turn.
func (l *requestLimiter) acquire(ctx context.Context, id tokenID) error {
	look := make(chan struct{}, 1)
	w, place := l.enter(id, look)
	defer l.leave(w, place) // also if it is asked to report to one that panics
	for waited := false; ; waited = true {
		if err := ctx.Err(); err != nil {
			return err
		}
		taken, wait := l.try(w, place)
		if taken {
			if waited {
				turn.Report(ctx, false)
			}
			return nil
		}
		if !waited {
			turn.Report(ctx, true)
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-look:
		case <-due:
		case <-ctx.Done():
		}
	}
}

// enter joins the queue of a token, and forgets the tokens that are not used
// any more.
func (l *requestLimiter) enter(id tokenID, look chan struct{}) (*window, *list.Element) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for other, w := range l.windows {
		w.forget(now)
		if w.underway == 0 && len(w.ended) == 0 && w.waiting.Len() == 0 {
			delete(l.windows, other)
		}
	}
	w := l.windows[id]
	if w == nil {
		w = &window{}
		l.windows[id] = w
	}
	return w, w.waiting.PushBack(look)
}

// try takes a place if it is the waiter's turn and there is one. If it is its
// turn and time alone makes a place, try says how much.
func (l *requestLimiter) try(w *window, place *list.Element) (taken bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	w.forget(now)
	switch {
	case w.waiting.Front() != place:
		return false, 0
	case w.underway+len(w.ended) < limitRequests:
		w.underway++
		w.remove(place)
		return true, 0
	case len(w.ended) > 0:
		return false, limitWindow - now.Sub(w.ended[0])
	}
	return false, 0 // all are under way: release says when one has ended
}

// leave ends a wait, in vain or not.
func (l *requestLimiter) leave(w *window, place *list.Element) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.remove(place)
}

func (l *requestLimiter) release(id tokenID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[id]
	w.underway--
	w.ended = append(w.ended, time.Now())
	w.wake()
}

// remove takes a waiter out of the queue; there may be a new first one.
func (w *window) remove(place *list.Element) {
	w.waiting.Remove(place)
	w.wake()
}

// wake has the first waiter look again.
func (w *window) wake() {
	if first := w.waiting.Front(); first != nil {
		select {
		case first.Value.(chan struct{}) <- struct{}{}:
		default: // it has not looked since the last time
		}
	}
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
