package qrand

import (
	"context"
	"time"

	"example.com/qrand/internal/clock"
	"example.com/qrand/internal/health"
	"example.com/qrand/internal/outage"
	"example.com/qrand/qrypt"
)

// jitter is the schedule's; set by tests.
var jitter func(d time.Duration) time.Duration

// A reseeder is the one goroutine that decides when to fetch blocks and when to
// feed them to the generators. Its fields are its own; what others may know of
// them it writes to the Source's status. A fetch runs beside it, one at a time,
// so that reseeds come due while the service keeps us waiting.
type reseeder struct {
	s       *Source
	memory  *health.Memory
	stock   []qrypt.Block // oldest first
	answers chan answer
	asks    []ask // Reseeds that wait for a fetch

	lastReseed time.Time
	idle       bool // a reseed is due but nothing was read: the next byte will wake us
	wanting    bool // the last reseed would have used a block, had there been one

	requests *outage.Schedule
	fetching bool            // a request is under way
	overdue  bool            // and we said that it hangs
	checking bool            // the token is being compared
	lastErr  error           // of the last request that failed
	warned   map[Reason]bool // in this outage

	stopped bool
}

// An ask is a call of Reseed. reply has room for the one error it gets.
type ask struct {
	ctx   context.Context
	reply chan error
}

// An answer is how a fetch ended, or a check of the token.
type answer struct {
	asked    int // blocks
	blocks   []qrypt.Block
	err      error
	newToken bool // of a check
}

func newReseeder(s *Source, now time.Time) *reseeder {
	requests := outage.NewSchedule(s.cfg.BatchBlocks)
	requests.Jitter = jitter
	return &reseeder{
		s:          s,
		memory:     health.NewMemory(s.cfg.FingerprintKey.bytes(), health.Remembered),
		answers:    make(chan answer, 1),
		lastReseed: now,
		wanting:    true,
		requests:   requests,
		warned:     map[Reason]bool{},
	}
}

func (r *reseeder) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer r.stop()
	for {
		r.reseedIfDue(clock.Now())
		r.fetchIfDue(ctx, clock.Now())
		r.note(func(*Status) {})
		var alarm <-chan time.Time
		if at := r.nextDue(); !at.IsZero() {
			timer.Reset(at.Sub(clock.Now()))
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-alarm:
		case <-r.s.wake:
		case a := <-r.answers:
			r.take(ctx, a)
		case a := <-r.s.asks:
			select {
			case earlier := <-r.answers: // that came before the call does not answer it
				r.take(ctx, earlier)
			default:
			}
			r.ask(a, clock.Now())
		}
	}
}

// take takes in an answer, or drops it where Close is why it came.
func (r *reseeder) take(ctx context.Context, a answer) {
	switch {
	case ctx.Err() != nil:
		r.fetching, r.checking = false, false
		wipe(a.blocks)
	case r.checking:
		r.checked(a.newToken, clock.Now())
	default:
		r.receive(a, clock.Now())
	}
}

// stop leaves no block, no goroutine and no caller behind.
func (r *reseeder) stop() {
	if r.fetching || r.checking {
		wipe((<-r.answers).blocks)
	}
	wipe(r.stock)
	r.reply(ErrClosed)
	r.stock, r.stopped = nil, true
	r.note(func(*Status) {})
	close(r.s.done)
}

// reseedIfDue reseeds when ReseedInterval has passed or ReseedBytes went out,
// provided that something was read since the last time. A Read that was refused
// as stale brings one at once, if it has not yet: the clock may have jumped.
func (r *reseeder) reseedIfDue(now time.Time) {
	elapsed := now.Sub(r.lastReseed) >= r.s.cfg.ReseedInterval || r.s.refused.Load() && !r.wanting
	served := r.s.served(elapsed)
	r.idle = elapsed && served == 0 && !r.s.refused.Load()
	if elapsed && !r.idle || served >= r.s.cfg.ReseedBytes {
		r.reseed(now)
	}
}

// served sums the bytes that went out since the last reseed. With arm, a shard
// will wake the reseeder at its very next byte.
func (s *Source) served(arm bool) (sum int64) {
	for _, sh := range s.shards {
		sh.mu.Lock()
		sum += sh.bytes - sh.mark
		if arm {
			sh.wakeAt = sh.bytes + 1
		}
		sh.mu.Unlock()
	}
	return sum
}

// reseed feeds the oldest block in stock to the generators, or, where there is
// none, crypto/rand alone.
func (r *reseeder) reseed(now time.Time) {
	for len(r.stock) > 0 {
		block := r.stock[0]
		r.stock = r.stock[1:]
		if !r.tooOld(block, now) {
			r.mix(block, now)
			return
		}
		block.Wipe()
		r.note(func(st *Status) { st.RefusedBlocks++ })
	}
	r.s.rekeyAll(nil)
	r.lastReseed, r.wanting = now, true
	r.note(func(st *Status) { st.OSReseeds++ })
}

// tooOld reports whether the Policy refuses a block for when it came.
func (r *reseeder) tooOld(block qrypt.Block, now time.Time) bool {
	return r.s.cfg.Policy == RequireFresh && clock.Age(now, block.Origin().Received) > r.s.cfg.MaxAge
}

// mix feeds a block to the generators.
func (r *reseeder) mix(block qrypt.Block, now time.Time) {
	origin := block.Origin()
	var firstEmulated, changed bool
	r.note(func(st *Status) { // before it is in any key, so that no byte of it goes unsaid
		firstEmulated = origin.Emulated && !st.Emulated
		st.Emulated = st.Emulated || origin.Emulated
	})
	r.s.rekeyAll(block.Bytes())
	named := fingerprint(r.memory, block.Bytes())
	block.Wipe()
	r.lastReseed, r.wanting = now, false
	r.note(func(st *Status) {
		st.Blocks++
		st.LastBlock, st.LastReceived, st.LastEndpoint = now, origin.Received, origin.Endpoint
		st.Fingerprints = append(st.Fingerprints[max(0, len(st.Fingerprints)-fingerprintsKept+1):], named)
		if !r.requests.Failing() {
			changed = st.enter(Seeded, "", now)
		}
	})
	if r.s.lastBlock.Swap(&now) == nil {
		close(r.s.seeded)
	}
	if firstEmulated {
		r.s.cfg.Logger.Warn("qrand: the entropy is emulated, not quantum", "endpoint", origin.Endpoint)
	}
	r.s.emit(Event{Kind: BlockMixed, Time: now, Endpoint: origin.Endpoint, Emulated: origin.Emulated, Fingerprint: named})
	if changed {
		r.s.emit(Event{Kind: StateChanged, Time: now})
	}
}

// rekeyAll reseeds every shard at once, with the same block, its own index and
// its own bytes of crypto/rand: K' = K xor HMAC(os, label || shard || block), or
// without a block K' = K xor os. crypto/rand is read after the block came, so
// that nobody could choose the block knowing it. The hash is computed before
// the lock is taken: no Read waits for it.
func (s *Source) rekeyAll(block []byte) {
	// Together, so that x is where os is, on the heap: a stack may be copied.
	var in struct{ os, x [keySize]byte }
	for i, sh := range s.shards {
		readOS(in.os[:])
		with := &in.os
		if block != nil {
			erased(func() { in.x = extract(&in.os, byte(i), block) })
			with = &in.x
		}
		sh.mu.Lock()
		sh.gen.rekey(with)
		if block != nil && !sh.seeded {
			sh.seeded, sh.readsUntil, sh.bytesUntil = true, sh.reads, sh.bytes
		}
		sh.mark, sh.wakeAt = sh.bytes, sh.bytes+s.wakeQuantum()
		sh.mu.Unlock()
	}
	clear(in.os[:])
	clear(in.x[:])
	s.refused.Store(false)
}

// note writes to the status, with what always changes.
func (r *reseeder) note(f func(*Status)) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	f(&r.s.status)
	r.s.status.Stock, r.s.status.NextRequest = len(r.stock), r.due()
}

// transition enters a state; if it is a new one, OnEvent hears of it.
func (s *Source) transition(state State, reason Reason) {
	now := clock.Now()
	s.mu.Lock()
	changed := s.status.enter(state, reason, now)
	s.mu.Unlock()
	if changed {
		s.emit(Event{Kind: StateChanged, Time: now, Reason: reason})
	}
}

// emit tells OnEvent. No lock is held, so that it may call Read and Status.
func (s *Source) emit(e Event) {
	s.mu.Lock()
	e.State = s.status.State
	s.mu.Unlock()
	s.cfg.OnEvent(e)
}

func wipe(blocks []qrypt.Block) {
	for _, b := range blocks {
		b.Wipe()
	}
}
