package qrand

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"example.com/qrand/internal/clock"
	"example.com/qrand/internal/health"
	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
)

// A reseeder is the one goroutine that feeds blocks to the generators. It decides how
// many blocks are wanted and what is done with them. Its supply decides when to ask, and
// which endpoint. No other goroutine uses its fields: what others may know it writes to
// the status of the Source. Requests run beside it, so that reseeds come due while the
// service keeps us waiting.
type reseeder struct {
	s      *Source
	memory *health.Memory
	supply *supply.Supply
	stock  []qrypt.Block // oldest first
	asks   []*ask        // Reseeds that wait for a request of their own

	lastReseed time.Time
	idle       bool // a reseed is due but nothing was read: the next byte will wake us
	wanting    bool // the next block goes into the keys as soon as it comes
	unanswered int  // reseeds since the service last answered
}

// An ask is a call of Reseed. It has no channel of its own: one that is made in a bubble of
// testing/synctest may not be used by a reseeder outside.
type ask struct {
	ctx   context.Context
	begun int // requests that began before it: a later one answers it

	done bool  // under the Source's lock, as err is
	err  error // the reply
}

func newReseeder(s *Source, now time.Time) *reseeder {
	key := s.cfg.FingerprintKey.bytes(s.os)
	r := &reseeder{
		s:          s,
		memory:     health.NewMemory(key, health.Remembered),
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
	if s.cfg.Receipts {
		cfg.ReceiptKey = func() []byte { return key }
	}
	if s.cfg.Policy == RequireFresh {
		cfg.MaxAge = s.cfg.MaxAge - 2*lead(s.cfg.MaxAge) // or the next one would come too late
	}
	r.supply = supply.New(cfg)
	return r
}

// run ends when ctx is done. It leaves no block, no goroutine and no waiting caller behind.
func (r *reseeder) run(ctx context.Context) {
	r.supply.Run(ctx, r, r.s.wake)
	qrypt.Wipe(r.stock)
	r.stock = nil
	r.supply.Close()
	r.update(func(st *Status) { st.NextRequest = time.Time{} })
	close(r.s.done) // ends the calls of Reseed that wait
}

// Want reseeds if that is due, collects calls of Reseed, and returns how many blocks to
// ask for: to fill the stock, for a reseed that found no block, or for a call of Reseed.
func (r *reseeder) Want(now time.Time) (n int, again time.Time) {
	r.reseedIfDue(now)
	r.collectAsks(now)
	switch room := r.room(); {
	case room > 0 && (len(r.stock) <= room/4 || r.silent(now)):
		n = room - len(r.stock) // one or more: silent wants two reseeds, which used two
	case r.wanting && !r.canWait(now), len(r.asks) > 0:
		n = 1
	}
	if !r.idle {
		again = r.lastReseed.Add(r.s.cfg.ReseedInterval)
		if at := r.refreshAt(now); now.Before(at) && at.Before(again) {
			again = at
		}
	}
	return n, again
}

// room is how many blocks the stock may have. A batch of one keeps none. RequireFresh
// keeps none either: a block in stock ages like one in the key, so that it makes nothing
// fresher, and would be thrown away if nothing is read for a while.
func (r *reseeder) room() int {
	if r.s.cfg.BatchBlocks == 1 || r.s.cfg.Policy == RequireFresh {
		return 0
	}
	return r.s.cfg.BatchBlocks
}

// canWait reports whether a block that a reseed would have used can wait. If the rate limit
// was met within the last hour, it can until the newest block is about to be too old.
func (r *reseeder) canWait(now time.Time) bool {
	newest := r.s.newest.Load()
	return r.s.cfg.Policy == RequireFresh && newest != nil && r.supply.RateLimited(now) &&
		clock.Age(now, *newest) < r.s.cfg.MaxAge-lead(r.s.cfg.MaxAge)
}

// silent reports whether two reseeds came since the service last answered. Then it is
// asked, whatever is in stock, so that a Source in use notices that the service is dead.
// If the rate limit was met within the last hour, others need the request more.
func (r *reseeder) silent(now time.Time) bool {
	return r.unanswered >= 2 && now.Sub(r.supply.Answered()) >= r.s.cfg.ReseedInterval && !r.supply.RateLimited(now)
}

// lead is how long before the newest block is too old another one is asked for.
func lead(maxAge time.Duration) time.Duration { return min(maxAge/4, 30*time.Second) }

// refreshAt is when another block is asked for because the newest one will soon be too
// old; zero if age does not matter. It is some time after the last reseed, so that a
// service whose blocks come with little time left is not asked all the time.
func (r *reseeder) refreshAt(now time.Time) time.Time {
	newest := r.s.newest.Load()
	if r.s.cfg.Policy != RequireFresh || newest == nil {
		return time.Time{}
	}
	left := r.s.cfg.MaxAge - lead(r.s.cfg.MaxAge) - clock.Age(now, *newest)
	return clock.Later(now.Add(left), r.lastReseed.Add(min(lead(r.s.cfg.MaxAge), r.s.cfg.ReseedInterval)))
}

// collectAsks collects calls of Reseed. One may cut short a wait that we chose ourselves,
// but not one that the service, the quota or the token demands.
func (r *reseeder) collectAsks(now time.Time) {
	r.s.mu.Lock()
	asks := r.s.asks
	r.s.asks = nil
	r.s.mu.Unlock()
	for _, a := range asks {
		a.begun = r.supply.Begun()
		r.await(a, now)
	}
	r.asks = slices.DeleteFunc(r.asks, func(a *ask) bool { return a.ctx.Err() != nil })
}

// await lets a call of Reseed wait for the next request, or replies why there is none now.
func (r *reseeder) await(a *ask, now time.Time) {
	switch {
	case a.ctx.Err() != nil: // nobody waits: nothing is spent
	case r.supply.SkipWaits(now):
		r.asks = append(r.asks, a)
	default:
		r.s.reply(a, r.held(now))
	}
}

// held returns why there is no request now.
func (r *reseeder) held(now time.Time) error {
	_, due := r.supply.Next(1, now)
	if due.IsZero() {
		return fmt.Errorf("%w: %w", ErrHeld, r.supply.Err())
	}
	return fmt.Errorf("%w: the next request is due in %v, because of the last one: %w",
		ErrHeld, due.Sub(now).Round(time.Second), r.supply.Err())
}

// answer replies to the calls of Reseed that came before the request of that number.
func (r *reseeder) answer(number int, err error) {
	r.asks = slices.DeleteFunc(r.asks, func(a *ask) bool {
		if number <= a.begun {
			return false
		}
		r.s.reply(a, err)
		return true
	})
}

// reply ends a call of Reseed.
func (s *Source) reply(a *ask, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.done, a.err = true, err
	close(s.replied)
	s.replied = make(chan struct{})
}

// Handle handles what a request, or a look at the token, brought.
func (r *reseeder) Handle(o supply.Outcome, now time.Time) {
	r.update(func(st *Status) { st.RefusedBlocks += int64(o.Refused) })
	switch {
	case o.Err != nil:
		r.failed(o, now)
	case len(o.Blocks) > 0:
		r.received(o, now)
	case o.Held: // there is no other token than the refused one
		r.s.setFailure(r.supply.Err(), o.Hopeless)
		r.answer(r.supply.Begun()+1, r.held(now))
	}
	if o.Recovered {
		r.s.cfg.Logger.Info("qrand: recovered: the service answers, quantum entropy is in the key")
	}
}

// received handles good blocks.
func (r *reseeder) received(o supply.Outcome, now time.Time) {
	r.unanswered = 0
	var recovered bool
	r.update(func(st *Status) {
		if o.Sent {
			st.Requests++
		}
		st.Accepted += int64(len(o.Blocks))
		st.LastError, st.LastAnswer = "", now
		recovered = st.State == Degraded
	})
	blocks := o.Blocks
	asked := slices.ContainsFunc(r.asks, func(a *ask) bool { return a.begun < o.Number && a.ctx.Err() == nil })
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

// failed handles a failure.
func (r *reseeder) failed(o supply.Outcome, now time.Time) {
	reason, err := Reason(o.Reason), o.Err
	if o.Degraded {
		err = r.supply.Err() // of all endpoints
	}
	r.update(func(st *Status) {
		if o.Sent {
			st.Requests++
		}
		st.Failures[reason]++
		st.LastError = err.Error()
	})
	r.s.setFailure(err, o.Hopeless)
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
	late := r.asks // calls of Reseed that came during the request: they need another
	r.asks = nil
	for _, a := range late {
		if o.Held {
			r.await(a, now)
		} else {
			r.asks = append(r.asks, a)
		}
	}
}

// warn logs that no quantum entropy comes, and what that means for Reads.
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
		text += "; no endpoint accepts the token, or there is none: unless another one comes, somebody must act"
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

// Waiting puts into the status when the next request is due.
func (r *reseeder) Waiting(due time.Time) {
	r.update(func(st *Status) { st.NextRequest = due })
}

// reseedIfDue reseeds if ReseedInterval has passed or ReseedBytes went out, and something
// was read since the last time. It also reseeds if a Read was refused as stale, once: the
// clock may have jumped. Before the newest block is too old, it wants another one.
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

// served sums the bytes that went out since the last reseed. With arm, each shard wakes
// the reseeder at its next byte.
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

// reseed feeds the oldest block in stock to the generators, or crypto/rand alone if there
// is none.
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
	r.update(func(st *Status) { st.OSReseeds++ })
}

// mix feeds a block to the generators.
func (r *reseeder) mix(block qrypt.Block, now time.Time) {
	origin := block.Origin()
	received := origin.Received
	if received.After(now) { // by a wrong clock
		received = now
	}
	var firstEmulated, changed bool
	r.update(func(st *Status) { // before it is in any key, so that Status says so before any byte of it is read
		firstEmulated = origin.Emulated && !st.Emulated
		st.Emulated = st.Emulated || origin.Emulated
	})
	r.s.rekeyAll(block.Bytes())
	named := fingerprint(r.memory, block.Bytes())
	block.Wipe()
	r.lastReseed, r.wanting = now, false
	r.update(func(st *Status) {
		st.Blocks++
		st.LastBlock, st.LastReceived, st.LastEndpoint = now, received, origin.Endpoint
		st.LastEndpointCertificate, st.LastEndpointPublicKey = digest(origin.CertificateSHA256), digest(origin.PublicKeySHA256)
		st.Fingerprints = append(st.Fingerprints[max(0, len(st.Fingerprints)-fingerprintsKept+1):], named)
		if r.s.cfg.Receipts {
			st.Receipts = append(st.Receipts[max(0, len(st.Receipts)-fingerprintsKept+1):], origin.Receipt)
		}
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

// digest returns a SHA-256 in hex; empty for none.
func digest(sum [sha256.Size]byte) string {
	if sum == ([sha256.Size]byte{}) {
		return ""
	}
	return hex.EncodeToString(sum[:])
}

// beforeFirst says how long the first block took, and what was read before it.
func (s *Source) beforeFirst(now time.Time) string {
	st := s.Status()
	took := ago(now, s.began)
	if st.ReadsBeforeBlock == 0 {
		return fmt.Sprintf("the first block came after %v, before any byte was read", took)
	}
	return fmt.Sprintf("the first block came after %v; %d bytes in %d reads went out before it", took, st.BytesBeforeBlock, st.ReadsBeforeBlock)
}

// rekeyAll reseeds all shards with the same block, each with its own index and its own
// bytes of crypto/rand: K' = K xor HMAC(os, label || shard || block), or without a block
// K' = K xor os. crypto/rand is read after the block came, so that nobody who knows these
// bytes could choose the block. The hash is computed before the lock is taken, so that no
// Read waits for it.
func (s *Source) rekeyAll(block []byte) {
	// In one struct, so that x is on the heap as os is: a stack may be copied.
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

// update changes the status.
func (r *reseeder) update(f func(*Status)) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	f(&r.s.status)
	r.s.status.Stock = len(r.stock)
}

// setFailure tells WaitSeeded how the last request failed. hopeless is whether only a
// person can help.
func (s *Source) setFailure(err error, hopeless bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastErr, s.untold = err, hopeless
	if hopeless {
		close(s.hopeless)
		s.hopeless = make(chan struct{})
	}
}

// transition enters a state, and tells OnEvent if that changed anything.
func (s *Source) transition(state State, reason Reason) {
	now := s.now()
	s.mu.Lock()
	changed := s.status.enter(state, reason, now)
	s.mu.Unlock()
	if changed {
		s.emit(Event{Kind: StateChanged, Time: now, Reason: reason})
	}
}

// emit calls OnEvent. No lock is held, so that OnEvent may call Read and Status.
func (s *Source) emit(e Event) {
	s.mu.Lock()
	e.State = s.status.State
	s.mu.Unlock()
	s.cfg.OnEvent(e)
}
