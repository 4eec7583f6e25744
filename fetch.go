package qrand

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/qrand/internal/health"
	"example.com/qrand/qrypt"
)

// This file is the reseeder's dealings with the service: when to make a
// request, and what to do with its answer or failure.

// short reports whether the stock is to be filled. A batch of one keeps none.
func (r *reseeder) short() bool {
	batch := r.s.cfg.BatchBlocks
	return batch > 1 && len(r.stock) <= batch/4
}

// wanted reports whether a request is; in an outage, to see its end.
func (r *reseeder) wanted() bool {
	return !r.stopped && !r.fetching && !r.checking &&
		(r.failing != nil || r.wanting || r.short() || len(r.asks) > 0)
}

// fetchIfDue starts a fetch if blocks are wanted and it is time.
func (r *reseeder) fetchIfDue(ctx context.Context, now time.Time) {
	if ctx.Err() != nil { // Close; the rest of it is run's
		return
	}
	if r.fetching && !r.overdue && now.Sub(r.lastRequest) >= hangLimit {
		r.overdue = true
		r.fail(errHangs, now)
		return
	}
	if !r.wanted() {
		return
	}
	if !now.Before(r.notBefore) {
		n := 1 // to see an outage's end, or for a Reseed, with a full stock
		if r.short() {
			n = r.batch
		}
		r.fetching, r.overdue = true, false
		r.lastRequest = now
		r.recent = append(within(r.recent, now), now)
		go func() {
			blocks, err := r.s.cfg.Blocks.Blocks(ctx, n)
			r.answers <- answer{asked: n, blocks: blocks, err: err}
		}()
	} else if !r.tokenAt.IsZero() && !now.Before(r.tokenAt) {
		r.checking = true
		go func() { // beside the reseeder, because a token may come from afar
			ctx, cancel := context.WithTimeout(ctx, tokenInterval)
			defer cancel()
			source, ok := r.s.cfg.Blocks.(interface{ TokenChanged(context.Context) bool })
			r.answers <- answer{newToken: ok && source.TokenChanged(ctx)}
		}()
	}
}

// checked takes in whether there is a new token.
func (r *reseeder) checked(newToken bool, now time.Time) {
	r.checking = false
	if newToken {
		r.notBefore, r.tokenAt = r.soonest(), time.Time{}
		return
	}
	r.tokenAt = now.Add(tokenInterval)
	if now.Before(r.notBefore) {
		r.reply(r.held(now))
	}
}

// within keeps the requests of the last window.
func within(recent []time.Time, now time.Time) []time.Time {
	for len(recent) > 0 && now.Sub(recent[0]) >= rateWindow {
		recent = recent[1:]
	}
	return recent
}

// due is when the next request is due; zero if none is or one is under way.
func (r *reseeder) due() time.Time {
	if !r.wanted() {
		return time.Time{}
	}
	return r.notBefore
}

// nextDue is when the reseeder next has something to do by itself; zero if
// only a Read, an answer or a Reseed can give it any.
func (r *reseeder) nextDue() time.Time {
	at := r.due()
	if r.wanted() && !r.tokenAt.IsZero() {
		at = earlier(at, r.tokenAt)
	}
	if r.fetching && !r.overdue {
		at = r.lastRequest.Add(hangLimit)
	}
	if !r.idle {
		at = earlier(at, r.lastReseed.Add(r.s.cfg.ReseedInterval))
	}
	return at
}

// earlier is the earlier of two times, of which a zero one is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// soonest is when our own pace allows another request.
func (r *reseeder) soonest() time.Time { return r.lastRequest.Add(r.pace.spacing()) }

// ask takes in a call of Reseed. It may cut short a wait that was our own idea,
// but not one that the service, the account or the token calls for.
func (r *reseeder) ask(a ask, now time.Time) {
	r.asks = slices.DeleteFunc(r.asks, func(a ask) bool { return a.ctx.Err() != nil })
	if r.failing != nil && now.Before(r.notBefore) {
		switch {
		case r.failing.ours && !now.Before(r.heldUntil):
			r.notBefore = r.soonest()
		case r.failing.token:
			r.tokenAt = now // there may be a new one
		default:
			a.reply <- r.held(now)
			return
		}
	}
	r.asks = append(r.asks, a)
}

// held is why there is no request now.
func (r *reseeder) held(now time.Time) error {
	return fmt.Errorf("%w: the next request is due in %v, because of the last one: %w",
		ErrHeld, r.notBefore.Sub(now).Round(time.Second), r.lastErr)
}

func (r *reseeder) reply(err error) {
	for _, a := range r.asks {
		a.reply <- err
	}
	r.asks = nil
}

// receive takes in how a fetch ended.
func (r *reseeder) receive(a answer, now time.Time) {
	r.fetching = false
	err := a.err
	if err == nil {
		err = r.inspect(a.blocks, a.asked, now)
	}
	if err != nil {
		wipe(a.blocks)
		r.note(func(st *Status) { st.RefusedBlocks += int64(len(a.blocks)) })
		r.fail(err, now)
		return
	}
	r.note(func(st *Status) { st.Requests++; st.LastError = "" })
	recovered := r.failing != nil
	r.pace.answered()
	r.batch = min(2*r.batch, r.s.cfg.BatchBlocks)
	r.failing, r.notBefore, r.tokenAt, r.heldUntil = nil, r.soonest(), time.Time{}, time.Time{}
	clear(r.fails)
	if last := len(a.blocks) - 1; r.wanting || recovered || len(r.asks) > 0 {
		r.stock = append(r.stock, a.blocks[:last]...)
		r.mix(a.blocks[last], now)
	} else {
		r.stock = append(r.stock, a.blocks...)
	}
	if len(r.warned) > 0 {
		r.s.cfg.Logger.Info("qrand: recovered: the service answers, quantum entropy is in the key")
		clear(r.warned)
	}
	r.reply(nil)
}

// What may be wrong with the answer of a BlockSource. It keeps its contract, or
// none of its blocks is used.
var (
	errBlockCount = errors.New("qrand: the BlockSource returned no block, more blocks than asked for, or an empty one")
	errBlockAge   = errors.New("qrand: the BlockSource returned a block that it had for longer than MaxAge")
	errHangs      = fmt.Errorf("qrand: the BlockSource has not answered for %v: does its token function hang?", hangLimit)
)

// hangLimit is how long a request may take before we say so. A qrypt.Client
// gives up sooner by itself.
const hangLimit = 2 * time.Minute

// inspect accepts or refuses an answer as a whole: where one block is bad, its
// neighbours are not to be trusted either.
func (r *reseeder) inspect(blocks []qrypt.Block, asked int, now time.Time) error {
	if len(blocks) == 0 || len(blocks) > asked {
		return errBlockCount
	}
	var first error
	for _, b := range blocks {
		p := b.Bytes()
		if p == nil {
			return errBlockCount
		}
		if r.tooOld(b, now) {
			return errBlockAge
		}
		first = cmp.Or(first, health.Check(p), r.memory.Add(p))
	}
	if first != nil {
		if source, ok := r.s.cfg.Blocks.(interface{ Failover(string) }); ok {
			source.Failover(blocks[0].Origin().Endpoint)
		}
	}
	return first
}

// fail applies the outage table.
func (r *reseeder) fail(err error, now time.Time) {
	reason, retry := classify(err)
	r.failing, r.lastErr = retry, err
	r.fails[retry]++
	endpoints := 1
	if source, ok := r.s.cfg.Blocks.(interface{ Endpoints() []string }); ok {
		endpoints = max(1, len(source.Endpoints()))
	}
	wait := retry.wait(r.fails[retry], endpoints)
	elsewhere := retry.others && wait == 0
	if retry.ours && !elsewhere {
		wait = jitter(wait)
	}
	if retry.window {
		r.pace.refused()
		if retryAfter(err) == 0 {
			wait = max(minRetryAfter, r.windowLeft(now))
		}
	}
	if reason == NoSupply || reason == QuotaReached {
		r.batch = max(1, r.batch/2) // less may be there
	}
	if asked := retryAfter(err); asked > 0 {
		r.heldUntil = later(r.heldUntil, now.Add(asked))
	}
	r.notBefore = later(r.soonest(), now.Add(wait))
	if !elsewhere {
		r.notBefore = later(r.notBefore, r.heldUntil)
	}
	r.tokenAt = time.Time{}
	if retry.token {
		r.tokenAt = now.Add(tokenInterval)
	}
	r.note(func(st *Status) {
		if reason != NoToken && err != errHangs { // nothing was sent, or has ended
			st.Requests++
		}
		st.Failures[reason]++
		st.LastError = err.Error()
	})
	r.s.transition(Degraded, reason)
	if !r.warned[reason] {
		r.warned[reason] = true
		r.s.cfg.Logger.Warn("qrand: degraded: no quantum entropy comes from the service; reads go on with crypto/rand",
			"reason", reason.String(), "error", err.Error(), "next", r.notBefore.Sub(now).Round(time.Millisecond))
	}
	r.s.emit(Event{Kind: RequestFailed, Time: now, Reason: reason, Err: err})
	if !elsewhere {
		r.reply(fmt.Errorf("qrand: not reseeded: %w", err))
	}
}

// windowLeft is how long our own oldest request of the window still counts.
func (r *reseeder) windowLeft(now time.Time) time.Duration {
	if r.recent = within(r.recent, now); len(r.recent) == 0 {
		return 0
	}
	return rateWindow - now.Sub(r.recent[0])
}
