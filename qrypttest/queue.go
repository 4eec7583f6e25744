package qrypttest

import (
	"math"
	"slices"
)

// queue holds the faults to come.
type queue struct {
	faults []Fault
	used   int // requests the first fault has held for
}

// pop counts a request the first fault holds for.
func (q *queue) pop() {
	f := q.faults[0]
	q.used++
	if f.Times >= 0 && q.used >= max(f.Times, 1) {
		q.faults, q.used = q.faults[1:], 0
	}
}

// pending returns how many requests the queue holds for, -1 for all.
func (q *queue) pending() int {
	n := -q.used
	for _, f := range q.faults {
		if f.Times < 0 {
			return -1
		}
		n = addUp(n, max(f.Times, 1))
	}
	return n
}

// addUp adds b >= 0 without wrapping around: scripts may say x9223372036854775807.
func addUp(a, b int) int {
	if a > math.MaxInt-b {
		return math.MaxInt
	}
	return a + b
}

// Script appends faults to the queue all regions share. A request for entropy
// takes the first; requests for other paths or with another method take none.
// It panics if a fault is not valid.
func (e *Emulator) Script(faults ...Fault) { e.enqueue(&e.shared, faults) }

// ScriptRegion appends faults to a region's own queue, which comes before the
// shared one. It panics if there is no such region or a fault is not valid.
func (e *Emulator) ScriptRegion(region string, faults ...Fault) {
	e.mustKnow(region)
	e.enqueue(e.own[region], faults)
}

func (e *Emulator) enqueue(q *queue, faults []Fault) {
	for _, f := range faults {
		if err := f.check(); err != nil {
			panic(err)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	q.faults = append(slices.Clip(q.faults), faults...)
}

// ClearScript empties all queues. Requests that have met a fault stay with it.
func (e *Emulator) ClearScript() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shared = queue{}
	for _, q := range e.own {
		*q = queue{}
	}
}

// Pending returns how many requests are still to meet a fault of the queues,
// or -1 if a fault is for ever.
func (e *Emulator) Pending() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.shared.pending()
	for _, q := range e.own {
		p := q.pending()
		if n < 0 || p < 0 {
			return -1
		}
		n = addUp(n, p)
	}
	return n
}

// SetFault sets a function that is asked at each request for entropy, before
// the queues: what it returns happens, whatever its Times; nil leaves the
// request to the queues. A nil function is none. Several requests may ask at
// the same time.
func (e *Emulator) SetFault(f func(Request) *Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hook = f
}

// next takes the region's next fault, the zero one if there is none.
// ExpiredCertificate stays if it waits for a handshake. e.mu is held.
func (e *Emulator) next(region string, handshakes bool) *Fault {
	q := e.head(region)
	if q == nil {
		return new(Fault)
	}
	f := q.faults[0]
	if !handshakes || f.Kind != ExpiredCertificate {
		q.pop()
	}
	return &f
}

// head returns the queue that has the region's next fault, or nil. e.mu is held.
func (e *Emulator) head(region string) *queue {
	for _, q := range []*queue{e.own[region], &e.shared} {
		if len(q.faults) > 0 {
			return q
		}
	}
	return nil
}
