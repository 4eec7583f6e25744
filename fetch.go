package qrand

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/qrand/internal/outage"
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
		(r.requests.Failing() || r.wanting || r.short() || len(r.asks) > 0)
}

// fetchIfDue starts a fetch if blocks are wanted and it is time.
func (r *reseeder) fetchIfDue(ctx context.Context, now time.Time) {
	if ctx.Err() != nil { // Close; the rest of it is run's
		return
	}
	if r.fetching && !r.overdue && r.requests.Hangs(now) {
		r.overdue = true
		r.fail(errHangs, now)
		return
	}
	if !r.wanted() {
		return
	}
	tokenAt := r.requests.TokenAt()
	if !now.Before(r.requests.NotBefore()) {
		n := 1 // to see an outage's end, or for a Reseed, with a full stock
		if r.short() {
			n = r.requests.Batch()
		}
		r.fetching, r.overdue = true, false
		r.requests.Began(now)
		go func() {
			blocks, err := r.s.cfg.Blocks.Blocks(ctx, n)
			r.answers <- answer{asked: n, blocks: blocks, err: err}
		}()
	} else if !tokenAt.IsZero() && !now.Before(tokenAt) {
		r.checking = true
		go func() { // beside the reseeder, because a token may come from afar
			ctx, cancel := context.WithTimeout(ctx, outage.TokenInterval)
			defer cancel()
			r.answers <- answer{newToken: outage.TokenChanged(ctx, r.s.cfg.Blocks)}
		}()
	}
}

// checked takes in whether there is a new token.
func (r *reseeder) checked(newToken bool, now time.Time) {
	r.checking = false
	r.requests.TokenChecked(newToken, now)
	if !newToken && now.Before(r.requests.NotBefore()) {
		r.reply(r.held(now))
	}
}

// due is when the next request is due; zero if none is or one is under way.
func (r *reseeder) due() time.Time {
	if !r.wanted() {
		return time.Time{}
	}
	return r.requests.NotBefore()
}

// nextDue is when the reseeder next has something to do by itself; zero if
// only a Read, an answer or a Reseed can give it any.
func (r *reseeder) nextDue() time.Time {
	at := r.due()
	if tokenAt := r.requests.TokenAt(); r.wanted() && !tokenAt.IsZero() {
		at = earlier(at, tokenAt)
	}
	if r.fetching && !r.overdue {
		at = r.requests.HangsAt()
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

// ask takes in a call of Reseed. It may cut short a wait that was our own idea,
// but not one that the service, the account or the token calls for.
func (r *reseeder) ask(a ask, now time.Time) {
	r.asks = slices.DeleteFunc(r.asks, func(a ask) bool { return a.ctx.Err() != nil })
	if !r.requests.Hurry(now) {
		a.reply <- r.held(now)
		return
	}
	r.asks = append(r.asks, a)
}

// held is why there is no request now.
func (r *reseeder) held(now time.Time) error {
	return fmt.Errorf("%w: the next request is due in %v, because of the last one: %w",
		ErrHeld, r.requests.NotBefore().Sub(now).Round(time.Second), r.lastErr)
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
	recovered := r.requests.Failing()
	r.requests.Answered()
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

// What may be wrong with a BlockSource, besides what outage.Inspect finds.
var (
	errBlockAge = errors.New("qrand: the BlockSource returned a block that it had for longer than MaxAge")
	errHangs    = fmt.Errorf("qrand: %w", outage.ErrHangs)
)

// inspect accepts or refuses an answer as a whole.
func (r *reseeder) inspect(blocks []qrypt.Block, asked int, now time.Time) error {
	for _, b := range blocks {
		if b.Bytes() != nil && r.tooOld(b, now) {
			return errBlockAge
		}
	}
	return outage.Inspect(r.s.cfg.Blocks, r.memory, blocks, asked)
}

// fail applies the outage table.
func (r *reseeder) fail(err error, now time.Time) {
	word, elsewhere := r.requests.Failed(err, outage.Endpoints(r.s.cfg.Blocks), now)
	reason := Reason(word)
	r.lastErr = err
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
			"reason", reason.String(), "error", err.Error(), "next", r.requests.NotBefore().Sub(now).Round(time.Millisecond))
	}
	r.s.emit(Event{Kind: RequestFailed, Time: now, Reason: reason, Err: err})
	if !elsewhere {
		r.reply(fmt.Errorf("qrand: not reseeded: %w", err))
	}
}
