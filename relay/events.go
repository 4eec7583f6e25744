package relay

import (
	"slices"
	"sync"
	"time"
)

// An event is something that an operator may want to know.
type event struct {
	Time time.Time
	Text string
}

// eventsKept is how many events the page shows.
const eventsKept = 50

type events struct {
	mu   sync.Mutex
	last []event // oldest first
}

func (e *events) add(now time.Time, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = append(e.last[max(0, len(e.last)-eventsKept+1):], event{now, text})
}

func (e *events) list() []event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.last)
}

// A sample is what the chart and the rates are made of.
type sample struct {
	Time      time.Time
	Stock     int64 // bytes
	Received  int64 // bytes, since the relay began
	HandedOut int64 // the same
	Requests  int64 // for entropy, since the relay began
	Failing   bool  // no endpoint of the service gave good blocks
}

// The chart's samples are historyStep apart and reach an hour back.
const (
	historyStep = 10 * time.Second
	historyKept = 361 // both ends of the hour
)

type history struct {
	mu      sync.Mutex
	samples []sample // oldest first
	full    bool     // there was something in stock
	empty   bool     // then nothing, and an event says so
}

// add keeps a sample, and returns what an operator should know of it; empty:
// nothing.
func (h *history) add(s sample) (news string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.samples = append(h.samples[max(0, len(h.samples)-historyKept+1):], s)
	switch {
	case s.Stock > 0 && h.empty:
		news = "there is entropy in stock again"
	case s.Stock == 0 && h.full && !h.empty:
		news = "out of stock: clients get 503"
	}
	h.full, h.empty = h.full || s.Stock > 0, s.Stock == 0 && h.full
	return news
}

func (h *history) list() []sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.samples)
}
