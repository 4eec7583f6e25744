package qrypt

import (
	"container/list"
	"context"
	"sync"
	"time"

	"example.com/qrand/internal/turn"
)

// The service refuses a token's 31st request in 10 s. It sees a request some time
// between its beginning and its end, as our clock has them. So a request keeps its place
// among the 30 until a window has passed since it *ended*: then the service never counts
// more than 30, however long requests are on their way. The tenth of a second is for
// clocks that differ in speed.
const (
	limitRequests = 30
	limitWindow   = 10*time.Second + 100*time.Millisecond
)

// limiter serves the whole process: clients that share a token share its limit.
var limiter = requestLimiter{windows: map[tokenID]*window{}}

type requestLimiter struct {
	mu      sync.Mutex
	windows map[tokenID]*window
}

// A window has the requests of a token that use a place, at most limitRequests in all,
// and those that wait for one.
type window struct {
	underway int
	ended    []time.Time // oldest first

	// waiting holds a channel for each request that waits, in order of arrival. Only
	// the first may take a place, and only it watches the clock. A value on its channel
	// makes it look again. Places are not handed out, so none is lost when the first
	// gives up at that moment.
	waiting list.List
}

// acquire waits for a place for one request and takes it: first come, first
// served. It reports a wait through package turn.
func (l *requestLimiter) acquire(ctx context.Context, id tokenID) error {
	look := make(chan struct{}, 1)
	w, waiter := l.enter(id, look)
	defer l.leave(w, waiter) // also if the function that is told of a wait panics
	for waited := false; ; waited = true {
		if err := ctx.Err(); err != nil {
			return err
		}
		taken, wait := l.try(w, waiter)
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

// enter joins the queue of a token. It also forgets the tokens that are not used any
// more.
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

// try takes a place if it is the waiter's turn and there is one. If it is its turn, and
// all places are used by requests that have ended, wait is the time until one is free.
func (l *requestLimiter) try(w *window, waiter *list.Element) (taken bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	w.forget(now)
	switch {
	case w.waiting.Front() != waiter:
		return false, 0
	case w.underway+len(w.ended) < limitRequests:
		w.underway++
		w.remove(waiter)
		return true, 0
	case len(w.ended) > 0:
		return false, limitWindow - now.Sub(w.ended[0])
	}
	return false, 0 // all are under way: release says when one has ended
}

// leave ends a wait, with a place or without.
func (l *requestLimiter) leave(w *window, waiter *list.Element) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.remove(waiter)
}

// release notes that a request has ended.
func (l *requestLimiter) release(id tokenID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[id]
	w.underway--
	w.ended = append(w.ended, time.Now())
	w.wake()
}

// remove removes a waiter from the queue. There may be a new first one.
func (w *window) remove(waiter *list.Element) {
	w.waiting.Remove(waiter)
	w.wake()
}

// wake makes the first waiter look again.
func (w *window) wake() {
	if first := w.waiting.Front(); first != nil {
		select {
		case first.Value.(chan struct{}) <- struct{}{}:
		default: // it has not looked since the last time
		}
	}
}

// forget drops the requests that ended a window ago. (One in the future was timed by
// another clock: that of a test.)
func (w *window) forget(now time.Time) {
	for len(w.ended) > 0 {
		if age := now.Sub(w.ended[0]); age >= 0 && age < limitWindow {
			return
		}
		w.ended = w.ended[1:]
	}
}
