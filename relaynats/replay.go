package relaynats

import (
	"crypto/sha256"
	"slices"
	"sync"
	"time"
)

// acceptedAge is how far the time of a request may be from the relay's, in either
// direction: the clocks of clients may be wrong by that, less the time that a request takes.
const acceptedAge = 30 * time.Second

// A memory remembers requests for as long as they would be accepted again. It has room for
// some of each client. When these are used up, it forgets the older half of that client's,
// and accepts none from their time any more. So no request is ever accepted twice, and the
// only one whose requests are refused is the client that made too many.
type memory struct {
	mu      sync.Mutex
	since   time.Time // requests that were made before are not accepted; without a monotonic reading
	sweepAt time.Time
	clients map[string]*history
}

// A history is that of a client.
type history struct {
	since time.Time
	seen  map[[sha256.Size]byte]int64 // when requests were made, in Unix ns, by their digests
}

// newMemory makes a memory that accepts requests made after now: it cannot know what a
// process before this one has accepted.
func newMemory(now time.Time) *memory {
	return &memory{since: now.Round(0), sweepAt: now.Add(acceptedAge), clients: map[string]*history{}}
}

// The room for a client is twice what its rate allows in the time that is accepted.
const (
	leastRoom = 256
	mostRoom  = 1 << 16
)

// room is how many requests are remembered of a client with a rate, which is requests in
// 10 s, or -1.
func room(rate int) int {
	if rate < 0 {
		return mostRoom
	}
	return min(max(leastRoom, 12*rate), mostRoom)
}

// fresh reports whether a request has about the right time.
func fresh(made, now time.Time) bool {
	age := now.Sub(made)
	return -acceptedAge <= age && age <= acceptedAge
}

// accept reports whether a fresh request of a client is a new one, and remembers it.
func (m *memory) accept(client string, rate int, digest [sha256.Size]byte, made, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !now.Before(m.sweepAt) {
		m.sweep(now)
	}
	h := m.clients[client]
	if h == nil {
		h = &history{seen: map[[sha256.Size]byte]int64{}}
		m.clients[client] = h
	}
	if _, again := h.seen[digest]; again || made.Before(m.since) || made.Before(h.since) {
		return false
	}
	h.seen[digest] = made.UnixNano()
	if len(h.seen) > room(rate) {
		h.halve()
	}
	return true
}

// sweep forgets what is not fresh any more, for good: a clock that is set back does not
// make it fresh again.
func (m *memory) sweep(now time.Time) {
	m.sweepAt = now.Add(acceptedAge)
	// Round strips the monotonic readings: by these no clock is ever set back.
	if cut := now.Add(-acceptedAge).Round(0); cut.After(m.since) {
		m.since = cut
	}
	for client, h := range m.clients {
		h.forget(m.since)
		if len(h.seen) == 0 && !h.since.After(m.since) {
			delete(m.clients, client)
		}
	}
}

func (h *history) forget(before time.Time) {
	for digest, made := range h.seen {
		if made < before.UnixNano() {
			delete(h.seen, digest)
		}
	}
}

// halve forgets the older half.
func (h *history) halve() {
	times := make([]int64, 0, len(h.seen))
	for _, made := range h.seen {
		times = append(times, made)
	}
	slices.Sort(times)
	h.since = time.Unix(0, times[len(times)/2]+1)
	h.forget(h.since)
}

// overheard counts how often each of the last messages came to all relays. So a relay knows
// which requests it was not chosen for. Who can publish very many messages can make it
// forget some; what this relay has answered itself is in its memory.
type overheard struct {
	counts map[[sha256.Size]byte]int
	last   [][sha256.Size]byte // a ring
	next   int
}

// maxOverheard is 1,000 requests a second in the time that is accepted.
const maxOverheard = 1 << 16

func (o *overheard) add(digest [sha256.Size]byte) {
	if o.counts == nil {
		o.counts = map[[sha256.Size]byte]int{}
	}
	if o.counts[digest]++; o.counts[digest] > 1 {
		return
	}
	if len(o.last) < maxOverheard {
		o.last = append(o.last, digest)
		return
	}
	delete(o.counts, o.last[o.next])
	o.last[o.next] = digest
	o.next = (o.next + 1) % maxOverheard
}

func (o *overheard) count(digest [sha256.Size]byte) int { return o.counts[digest] }
