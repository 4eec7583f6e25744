package qrand

import (
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"example.com/qrand/internal/clock"
	"example.com/qrand/internal/health"
	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
)

// A reseeder is the one goroutine that feeds blocks to the generators. When they
// are asked for, and whom, is the supply's business; how many are wanted, and what
// becomes of them, is the reseeder's. Its fields are its own; what others may know
// of them it writes to the Source's status. A request runs beside it, so that
// reseeds come due while the service keeps us waiting.
type reseeder struct {
	s      *Source
	memory *health.Memory
	supply *supply.Supply
	stock  []qrypt.Block // oldest first
	asks   []ask         // Reseeds that wait for a request of their own

	lastReseed time.Time
	idle       bool // a reseed is due but nothing was read: the next byte will wake us
	wanting    bool // the next block goes into the keys as it comes
	unanswered int  // reseeds since the service last answered
}

// An ask is a call of Reseed. reply has room for the one error it gets.
type ask struct {
	ctx   context.Context
	begun int // requests, when it was taken in: a later one answers it
	reply chan error
}

func newReseeder(s *Source, now time.Time) *reseeder {
	r := &reseeder{
		s:          s,
		memory:     health.NewMemory(s.cfg.FingerprintKey.bytes(s.os), health.Remembered),
		lastReseed: now,
		wanting:    true,
	}
	cfg := supply.Config{
		Source:         s.cfg.Blocks,
		Memory:         r.memory,
		MaxBlocks:      s.cfg.BatchBlocks,
		RefuseEmulated: s.cfg.Policy != Augment && !s.cfg.AllowEmulated,
		Now:            s.now,
		Random:         s.random,
	}
	if s.cfg.Policy == RequireFresh {
		cfg.MaxAge = s.cfg.MaxAge - 2*lead(s.cfg.MaxAge) // or the next one would come too late
	}
	r.supply = supply.New(cfg)
	return r
}

// run ends when ctx is done, and leaves no block, no goroutine and no caller behind.
func (r *reseeder) run(ctx context.Context) {
	r.supply.Run(ctx, r, r.s.wake)
	qrypt.Wipe(r.stock)
	r.stock = nil
	r.supply.Close()
	r.note(func(st *Status) { st.NextRequest = time.Time{} })
	close(r.s.done) // Reseeds that wait see it
}

// Want reseeds if that is due, takes in calls of Reseed, and says how many blocks
// to ask for: to have some in stock, for a reseed that found none, or for a Reseed.
func (r *reseeder) Want(now time.Time) (n int, again time.Time) {
	r.reseedIfDue(now)
	r.takeAsks(now)
	switch room := r.room(); {
	case room > 0 && (len(r.stock) <= room/4 || r.unheard(now)):
		n = max(1, room-len(r.stock))
	case r.wanting && !r.patient(now), len(r.asks) > 0:
		n = 1
	}
	if !r.idle {
		again = r.lastReseed.Add(r.s.cfg.ReseedInterval)
		if at := r.refreshAt(now); !at.IsZero() && now.Before(at) && at.Before(again) {
			again = at
		}
	}
	return n, again
}

// room is how many blocks the stock may have. A batch of one keeps none. Nor does
// RequireFresh: what is in stock grows old there like what is in the key, so that it
// makes nothing fresher, and is thrown away when it is not read from for a while.
func (r *reseeder) room() int {
	if r.s.cfg.BatchBlocks == 1 || r.s.cfg.Policy == RequireFresh {
		return 0
	}
	return r.s.cfg.BatchBlocks
}

// patient reports whether the block that a reseed would have used can wait: where
// the limit was met of late, until the newest one is about to be too old.
func (r *reseeder) patient(now time.Time) bool {
	newest := r.s.newest.Load()
	return r.s.cfg.Policy == RequireFresh && newest != nil && r.supply.RateLimited(now) &&
		clock.Age(now, *newest) < r.s.cfg.MaxAge-lead(r.s.cfg.MaxAge)
}

// unheard reports whether two reseeds went by without a word from the service: a
// Source that is read from finds out that it is dead, whatever is in stock. Where
// the limit has been met of late, others need the request more.
func (r *reseeder) unheard(now time.Time) bool {
	return r.unanswered >= 2 && now.Sub(r.supply.Answered()) >= r.s.cfg.ReseedInterval && !r.supply.RateLimited(now)
}

// lead is how long before the newest block is too old another one is asked for.
func lead(maxAge time.Duration) time.Duration { return min(maxAge/4, 30*time.Second) }

// refreshAt is when another block is asked for because the newest one will soon be
// too old; zero if age does not matter. A source whose blocks come with little
// time left is not asked without end.
func (r *reseeder) refreshAt(now time.Time) time.Time {
	newest := r.s.newest.Load()
	if r.s.cfg.Policy != RequireFresh || newest == nil {
		return time.Time{}
	}
	left := r.s.cfg.MaxAge - lead(r.s.cfg.MaxAge) - clock.Age(now, *newest)
	return clock.Later(now.Add(left), r.lastReseed.Add(min(lead(r.s.cfg.MaxAge), r.s.cfg.ReseedInterval)))
}

// takeAsks takes in calls of Reseed. One may cut short a wait that was our own
// idea, but not one that the service, the account or the token calls for.
func (r *reseeder) takeAsks(now time.Time) {
	r.s.mu.Lock()
	asks := r.s.asks
	r.s.asks = nil
	r.s.mu.Unlock()
	for _, a := range asks {
		a.begun = r.supply.Begun()
		r.await(a, now)
	}
	r.asks = slices.DeleteFunc(r.asks, func(a ask) bool { return a.ctx.Err() != nil })
}

func (r *reseeder) await(a ask, now time.Time) {
	switch {
	case a.ctx.Err() != nil: // nothing is spent on who has gone
	case r.supply.SkipWaits(now):
		r.asks = append(r.asks, a)
	default:
		a.reply <- r.held(now)
	}
}

// held is why there is no request now.
func (r *reseeder) held(now time.Time) error {
	_, due := r.supply.Next(1, now)
	if due.IsZero() {
		return fmt.Errorf("%w: %w", ErrHeld, r.supply.Err())
	}
	return fmt.Errorf("%w: the next request is due in %v, because of the last one: %w",
		ErrHeld, due.Sub(now).Round(time.Second), r.supply.Err())
}

// answer answers the asks for which a request of that number, or an earlier one,
// was not made before they were taken in.
func (r *reseeder) answer(number int, err error) {
	r.asks = slices.DeleteFunc(r.asks, func(a ask) bool {
		if number <= a.begun {
			return false
		}
		a.reply <- err
		return true
	})
}

// Handle takes in what came of a request, or of a look at the token.
func (r *reseeder) Handle(o supply.Outcome, now time.Time) {
	r.note(func(st *Status) { st.RefusedBlocks += int64(o.Refused) })
	switch {
	case o.Err != nil:
		r.failed(o, now)
	case len(o.Blocks) > 0:
		r.received(o, now)
	case o.Held: // there is no other token than the one refused
		r.s.cause(r.supply.Err(), o.Hopeless)
		r.answer(r.supply.Begun()+1, r.held(now))
	}
	if o.Recovered {
		r.s.cfg.Logger.Info("qrand: recovered: the service answers, quantum entropy is in the key")
	}
}

// received takes in good blocks.
func (r *reseeder) received(o supply.Outcome, now time.Time) {
	r.unanswered = 0
	recovered := false
	r.note(func(st *Status) {
		if o.Sent {
			st.Requests++
		}
		st.LastError, st.LastAnswer = "", now
		recovered = st.State == Degraded
	})
	r.s.cause(nil, false)
	blocks := o.Blocks
	asked := slices.ContainsFunc(r.asks, func(a ask) bool { return a.begun < o.Number && a.ctx.Err() == nil })
	full := len(r.stock)+len(blocks) > r.room()
	if last := len(blocks) - 1; r.wanting || recovered || asked || full {
		r.stock = append(r.stock, blocks[:last]...)
		r.mix(blocks[last], now)
	} else {
		r.stock = append(r.stock, blocks...)
	}
	switch {
	case o.Moved && o.Instead != nil:
		r.s.cfg.Logger.Warn("qrand: blocks come from another endpoint than the preferred one", "endpoint", blocks[0].Origin().Endpoint, "error", o.Instead.Error())
	case o.Moved:
		r.s.cfg.Logger.Info("qrand: blocks come from the preferred endpoint again", "endpoint", blocks[0].Origin().Endpoint)
	}
	r.answer(o.Number, nil)
}

// failed takes in a failure.
func (r *reseeder) failed(o supply.Outcome, now time.Time) {
	reason, err := Reason(o.Reason), o.Err
	if o.Degraded {
		err = r.supply.Err() // of all of them
	}
	r.note(func(st *Status) {
		if o.Sent {
			st.Requests++
		}
		st.Failures[reason]++
		st.LastError = err.Error()
	})
	r.s.cause(err, o.Hopeless)
	if o.Degraded {
		r.s.transition(Degraded, reason)
	}
	if o.Warn {
		r.warn(o, now)
	}
	r.s.emit(Event{Kind: RequestFailed, Time: now, Reason: reason, Err: o.Err})
	if o.Held {
		r.answer(o.Number, fmt.Errorf("qrand: not reseeded: %w", err))
	}
	late := r.asks // those for which another request must be made
	r.asks = nil
	for _, a := range late {
		if o.Held {
			r.await(a, now)
		} else {
			r.asks = append(r.asks, a)
		}
	}
}

// warn says that no quantum entropy comes, and what that means for Reads.
func (r *reseeder) warn(o supply.Outcome, now time.Time) {
	text := "qrand: degraded: no quantum entropy comes from the service; "
	switch newest := r.s.newest.Load(); {
	case r.s.cfg.Policy == Augment && newest == nil:
		text += "reads go on with crypto/rand alone"
	case r.s.cfg.Policy == Augment, r.s.cfg.Policy == RequireInitial && newest != nil:
		text += "reads go on with crypto/rand and the blocks that came before"
	case newest == nil:
		text += "reads fail until a block comes"
	default:
		left := (r.s.cfg.MaxAge - clock.Age(now, *newest)).Round(time.Second)
		if left > 0 {
			text += fmt.Sprintf("reads go on for %v, then they fail", left)
		} else {
			text += "reads fail until a block comes"
		}
	}
	if o.NoToken {
		text += "; no endpoint takes the token, or there is none: unless another one comes, somebody must act"
	}
	if o.Again {
		text += "; it follows another within 10 min, so its end is logged after 10 min without a failure"
	}
	args := []any{"reason", Reason(o.Reason).String(), "error", r.supply.Err().Error()}
	if !o.Next.IsZero() {
		args = append(args, "next", o.Next.Sub(now).Round(time.Millisecond))
	}
	r.s.cfg.Logger.Warn(text, args...)
}

// Waiting notes when the next request is due.
func (r *reseeder) Waiting(due time.Time) {
	r.note(func(st *Status) { st.NextRequest = due })
}

// reseedIfDue reseeds when ReseedInterval has passed or ReseedBytes went out,
// provided that something was read since the last time. A Read that was refused
// as stale brings one at once, if it has not yet: the clock may have jumped. And
// before the newest block is too old, another one is wanted.
func (r *reseeder) reseedIfDue(now time.Time) {
	refused := r.s.refused.Load()
	elapsed := now.Sub(r.lastReseed) >= r.s.cfg.ReseedInterval || refused && !r.wanting
	refresh := r.refreshAt(now)
	aging := !refresh.IsZero() && !now.Before(refresh) && !r.wanting
	served := r.s.served(elapsed || aging)
	r.idle = (elapsed || aging) && served == 0 && !refused
	if elapsed && !r.idle || served >= r.s.cfg.ReseedBytes {
		r.reseed(now)
	}
	if aging && served > 0 {
		r.wanting = true
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
	r.unanswered++
	if len(r.stock) > 0 {
		block := r.stock[0]
		r.stock = r.stock[1:]
		r.mix(block, now)
		return
	}
	r.s.rekeyAll(nil)
	r.lastReseed, r.wanting = now, true
	r.note(func(st *Status) { st.OSReseeds++ })
}

// mix feeds a block to the generators.
func (r *reseeder) mix(block qrypt.Block, now time.Time) {
	origin := block.Origin()
	received := origin.Received
	if received.After(now) { // by a source's wrong clock
		received = now
	}
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
		st.LastBlock, st.LastReceived, st.LastEndpoint = now, received, origin.Endpoint
		st.Fingerprints = append(st.Fingerprints[max(0, len(st.Fingerprints)-fingerprintsKept+1):], named)
		if !r.supply.Failing() {
			changed = st.enter(Seeded, "", now)
		}
	})
	first := r.s.newest.Load() == nil
	if newest := r.s.newest.Load(); first || received.After(*newest) {
		r.s.newest.Store(&received)
		r.s.aging.Store(false)
	}
	if first {
		if r.s.spread {
			r.lastReseed = now.Add(-mathrand.N(r.s.cfg.ReseedInterval/2 + 1))
		}
		r.s.cfg.Logger.Info("qrand: seeded: "+r.s.beforeFirst(now), "endpoint", origin.Endpoint)
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

// beforeFirst says how long the first block took, and what went out without it.
func (s *Source) beforeFirst(now time.Time) string {
	st := s.Status()
	took := ago(now, s.began)
	if st.ReadsBeforeBlock == 0 {
		return fmt.Sprintf("the first block came after %v, before any byte was read", took)
	}
	return fmt.Sprintf("the first block came after %v; %d bytes in %d reads went out before it", took, st.BytesBeforeBlock, st.ReadsBeforeBlock)
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
		readOS(s.os, in.os[:])
		with := &in.os
		if block != nil {
			erased(func() { in.x = s.extract(&in.os, byte(i), block) })
			with = &in.x
		}
		sh.mu.Lock()
		if sh.closed {
			sh.mu.Unlock()
			continue
		}
		sh.gen.Load().rekey(with)
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

// note writes to the status.
func (r *reseeder) note(f func(*Status)) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	f(&r.s.status)
	r.s.status.Stock = len(r.stock)
}

// cause notes why no block comes, for WaitSeeded: nil, once one does.
func (s *Source) cause(err error, hopeless bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastErr, s.untold = err, hopeless
	if hopeless {
		close(s.hopeless)
		s.hopeless = make(chan struct{})
	}
}

// transition enters a state; if it is a new one, OnEvent hears of it.
func (s *Source) transition(state State, reason Reason) {
	now := s.now()
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
