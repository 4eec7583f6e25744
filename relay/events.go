package relay

import (
	"slices"
	"sync"
	"time"
)

// An Event is something that an operator may want to know.
type Event struct {
	Time time.Time
	Text string
}

// eventsKept is how many events the page shows.
const eventsKept = 50

type events struct {
	mu   sync.Mutex
	last []Event // oldest first
}

func (e *events) add(now time.Time, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = append(e.last[max(0, len(e.last)-eventsKept+1):], Event{now, text})
}

func (e *events) list() []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.last)
}

// A Sample is the stock at one time.
type Sample struct {
	Time  time.Time
	Bytes int64
}

// The chart's samples are historyStep apart and reach an hour back.
const (
	historyStep = 10 * time.Second
	historyKept = 360
)

type history struct {
	mu      sync.Mutex
	samples []Sample // oldest first
}

func (h *history) add(now time.Time, bytes int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.samples = append(h.samples[max(0, len(h.samples)-historyKept+1):], Sample{now, bytes})
}

func (h *history) list() []Sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.samples)
}
