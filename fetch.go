package qrand

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/qrand/internal/health"
	"example.com/qrand/qrypt"
)

// This file is the reseeder's dealings with the service: when to make a
// request, and what to do with its answer or failure.

// low reports whether blocks are wanted; in an outage, to see its end.
func (r *reseeder) low() bool {
	batch := r.s.cfg.BatchBlocks
	return r.failing != nil || r.wanting || batch > 1 && len(r.stock) <= batch/4
}

// fetchIfDue starts a fetch if blocks are wanted and it is time.
func (r *reseeder) fetchIfDue(ctx context.Context, now time.Time) {
	if r.fetching || r.checking || !r.low() && len(r.asks) == 0 {
		return
	}
	if !now.Before(r.notBefore) {
		n := 1 // for a Reseed when the stock is full enough
		if r.low() {
			n = r.s.cfg.BatchBlocks
		}
		r.fetching = true
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
	r.reply(r.held(now))
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
	if r.stopped || r.fetching || !r.low() && len(r.asks) == 0 {
		return time.Time{}
	}
	return r.notBefore
}

// nextDue is when the reseeder next has something to do by itself; zero if
// only a Read, an answer or a Reseed can give it any.
func (r *reseeder) nextDue() time.Time {
	var at time.Time
	if !r.checking {
		at = r.due()
		if !r.fetching && !r.tokenAt.IsZero() {
			at = earlier(at, r.tokenAt)
		}
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
	if r.failing != nil && !r.fetching && now.Before(r.notBefore) {
		switch {
		case r.failing.ours:
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
	return fmt.Errorf("qrand: not reseeded: the next request is due in %v, because of the last one: %w",
		r.notBefore.Sub(now).Round(time.Second), r.lastErr)
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
		err = r.inspect(a.blocks, a.asked)
	}
	if err != nil {
		wipe(a.blocks)
		r.fail(err, len(a.blocks), now)
		return
	}
	r.note(func(st *Status) { st.Requests++; st.LastError = "" })
	r.pace.answered()
	r.failing, r.notBefore, r.tokenAt = nil, r.soonest(), time.Time{}
	clear(r.fails)
	if last := len(a.blocks) - 1; r.wanting || len(r.asks) > 0 {
		r.stock = append(r.stock, a.blocks[:last]...)
		r.mix(a.blocks[last], now)
	} else {
		r.stock = append(r.stock, a.blocks...)
	}
	r.s.transition(Seeded, "")
	if len(r.warned) > 0 {
		r.s.cfg.Logger.Info("qrand: recovered: the service answers, quantum entropy is in the key")
		clear(r.warned)
	}
	r.reply(nil)
}

// errBlockCount is a BlockSource's breach of its contract.
var errBlockCount = errors.New("qrand: the BlockSource returned no block, more blocks than asked for, or an empty one")

// inspect accepts or refuses an answer as a whole: where one block is bad, its
// neighbours are not to be trusted either.
func (r *reseeder) inspect(blocks []qrypt.Block, asked int) error {
	if len(blocks) == 0 || len(blocks) > asked {
		return errBlockCount
	}
	var first error
	for _, b := range blocks {
		p := b.Bytes()
		if len(p) != qrypt.BlockSize {
			return errBlockCount
		}
		first = cmp.Or(first, health.Check(p), r.memory.Add(p))
	}
	if first != nil {
		if source, ok := r.s.cfg.Blocks.(interface{ Failover() }); ok {
			source.Failover()
		}
	}
	return first
}

// fail applies the outage table.
func (r *reseeder) fail(err error, refused int, now time.Time) {
	reason, retry := classify(err)
	r.failing, r.lastErr = retry, err
	r.fails[retry]++
	endpoints := 1
	if source, ok := r.s.cfg.Blocks.(interface{ Endpoints() []string }); ok {
		endpoints = max(1, len(source.Endpoints()))
	}
	wait := retry.wait(r.fails[retry], endpoints)
	elsewhere := retry.ours && wait == 0
	if retry.ours && !elsewhere {
		wait = jitter(wait)
	}
	if asked := retryAfter(err); asked > 0 && !elsewhere {
		wait = max(wait, asked)
	} else if retry.window {
		wait = max(minRetryAfter, r.windowLeft(now))
	}
	if retry.window {
		r.pace.refused()
	}
	r.notBefore, r.tokenAt = later(r.soonest(), now.Add(wait)), time.Time{}
	if retry.token {
		r.tokenAt = now.Add(tokenInterval)
	}
	r.note(func(st *Status) {
		if reason != NoToken { // then nothing was sent
			st.Requests++
		}
		st.Failures[reason]++
		st.RefusedBlocks += int64(refused)
		st.LastError = err.Error()
	})
	r.s.transition(Degraded, reason)
	if !r.warned[reason] {
		r.warned[reason] = true
		r.s.cfg.Logger.Warn("qrand: degraded: no quantum entropy comes from the service; reads go on with crypto/rand",
			"reason", string(reason), "error", err.Error(), "next", r.notBefore.Sub(now).Round(time.Millisecond))
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
