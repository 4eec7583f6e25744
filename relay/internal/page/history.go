package page

import (
	"slices"
	"sync"
	"time"

	"example.com/qrand/qrypt"
)

// An Event is something that an operator may want to know.
type Event struct {
	Time time.Time
	Text string
}

// eventsKept is how many events the page shows.
const eventsKept = 50

// Events are the last ones.
type Events struct {
	mu   sync.Mutex
	last []Event // oldest first
}

func (e *Events) Add(now time.Time, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = append(e.last[max(0, len(e.last)-eventsKept+1):], Event{now, text})
}

// List is oldest first.
func (e *Events) List() []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.last)
}

// A Sample is what the chart and the rates are made of.
type Sample struct {
	Time      time.Time
	Stock     int64 // bytes
	Received  int64 // bytes, since the relay began
	HandedOut int64 // the same
	Requests  int64 // for entropy, since the relay began
	Failing   bool  // no endpoint of the service gave good blocks
}

// Samples are a SampleInterval apart, and reach an hour back.
const (
	SampleInterval = 10 * time.Second
	samplesKept    = 361 // both ends of the hour
)

// A History is the samples of the last hour.
type History struct {
	mu      sync.Mutex
	samples []Sample // oldest first
	full    bool     // there was something in stock
	empty   bool     // then nothing, and an event says so
}

// Add keeps a sample, and returns what an operator should know of it; empty:
// nothing.
func (h *History) Add(s Sample) (news string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.samples = append(h.samples[max(0, len(h.samples)-samplesKept+1):], s)
	switch {
	case s.Stock > 0 && h.empty:
		news = "there is entropy in stock again"
	case s.Stock == 0 && h.full && !h.empty:
		news = "out of stock: clients get 503"
	}
	h.full, h.empty = h.full || s.Stock > 0, s.Stock == 0 && h.full
	return news
}

// List is oldest first.
func (h *History) List() []Sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.samples)
}

// emptySince is the time of the first of the samples since which there was no whole
// block in stock. It is zero if there is one, or if only the last sample has none.
func emptySince(samples []Sample) (since time.Time) {
	for i, s := range slices.Backward(samples) {
		if s.Stock >= qrypt.BlockSize {
			break
		}
		if i < len(samples)-1 {
			since = s.Time
		}
	}
	return since
}

// rates are averages of the last minute, or of the time since the relay began.
type rates struct {
	Over         time.Duration // zero: not known yet
	Requests     float64       // in a second
	Out, In, Net float64       // bytes in a second
}

const (
	ratesWindow = time.Minute
	ratesLeast  = time.Second // over less, a single request would look like a flood
)

// ratesOf compares the last sample with the one from a minute ago.
func ratesOf(samples []Sample) rates {
	last := samples[len(samples)-1]
	for _, s := range samples {
		over := last.Time.Sub(s.Time)
		if over > ratesWindow+SampleInterval/2 {
			continue
		}
		if over < ratesLeast {
			return rates{}
		}
		in := func(a, b int64) float64 { return float64(b-a) / over.Seconds() }
		return rates{
			Over:     over,
			Requests: in(s.Requests, last.Requests),
			Out:      in(s.HandedOut, last.HandedOut),
			In:       in(s.Received, last.Received),
			Net:      in(s.Stock, last.Stock),
		}
	}
	return rates{}
}

// Shrinks is by how many bytes a second the stock shrinks.
func (r rates) Shrinks() float64 { return -r.Net }
