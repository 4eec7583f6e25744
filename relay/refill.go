package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/clock"
	"example.com/qrand/internal/health"
	"example.com/qrand/internal/outage"
	"example.com/qrand/qrypt"
)

// A refiller keeps the stock full: one goroutine, one request at a time, each as
// large as the service allows, made as soon as there is room for its blocks.
type refiller struct {
	r        *Relay
	memory   *health.Memory
	requests *outage.Schedule
	answers  chan fetched

	fetching bool
	overdue  bool // and we said that it hangs
	checking bool // the token is being compared
	warned   map[qrand.Reason]bool
}

// fetched is how a request ended, or a comparison of the token.
type fetched struct {
	asked    int
	blocks   []qrypt.Block
	err      error
	newToken bool
}

func newRefiller(r *Relay, key []byte) *refiller {
	return &refiller{
		r:        r,
		memory:   health.NewMemory(key, max(health.Remembered, 2*r.cfg.Stock)),
		requests: outage.NewSchedule(r.cfg.BatchBlocks),
		answers:  make(chan fetched, 1),
		warned:   map[qrand.Reason]bool{},
	}
}

func (f *refiller) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		at := f.act(ctx, clock.Now())
		var alarm <-chan time.Time
		if !at.IsZero() {
			timer.Reset(at.Sub(clock.Now()))
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
			if f.fetching || f.checking {
				wipe((<-f.answers).blocks)
			}
			return
		case <-alarm:
		case <-f.r.wake:
		case a := <-f.answers:
			f.receive(a, clock.Now())
		}
	}
}

// act does what is due, and returns when something is next; zero: not before
// an answer comes or a client takes something.
func (f *refiller) act(ctx context.Context, now time.Time) time.Time {
	next, expiry := f.request(ctx, now), f.expiry(now)
	if next.IsZero() || !expiry.IsZero() && expiry.Before(next) {
		return expiry
	}
	return next
}

// request asks the service if it is time, and returns when to look again.
func (f *refiller) request(ctx context.Context, now time.Time) time.Time {
	switch {
	case f.checking, f.fetching && f.overdue:
		return time.Time{}
	case f.fetching && !f.requests.Hangs(now):
		return f.requests.HangsAt()
	case f.fetching:
		f.overdue = true
		f.fail(fmt.Errorf("relay: %w", outage.ErrHangs), now)
		return time.Time{}
	}
	missing := f.r.stock.missing(f.r.cfg.Stock, now)
	if missing < f.r.cfg.BatchBlocks && !f.requests.Failing() {
		return time.Time{}
	}
	next, tokenAt := f.requests.NotBefore(), f.requests.TokenAt()
	switch {
	case !now.Before(next):
		f.fetch(ctx, max(1, min(f.requests.Batch(), missing)), now) // one, to see an outage's end with a full stock
		return f.requests.HangsAt()
	case tokenAt.IsZero() || next.Before(tokenAt):
		return next
	case now.Before(tokenAt):
		return tokenAt
	}
	f.checking = true
	go func() {
		ctx, cancel := context.WithTimeout(ctx, outage.TokenInterval)
		defer cancel()
		f.answers <- fetched{newToken: outage.TokenChanged(ctx, f.r.cfg.Blocks)}
	}()
	return time.Time{}
}

// expiry wipes what is too old, whatever the service does, and returns when the
// oldest byte that is left will be.
func (f *refiller) expiry(now time.Time) time.Time {
	if age, any := f.r.stock.oldest(now); any && f.r.cfg.MaxAge != 0 {
		return now.Add(f.r.cfg.MaxAge - age + time.Millisecond)
	}
	return time.Time{}
}

func (f *refiller) fetch(ctx context.Context, n int, now time.Time) {
	f.fetching, f.overdue = true, false
	f.requests.Began(now)
	go func() {
		blocks, err := f.r.cfg.Blocks.Blocks(ctx, n)
		f.answers <- fetched{asked: n, blocks: blocks, err: err}
	}()
}

// receive takes in how a request or a comparison of the token ended.
func (f *refiller) receive(a fetched, now time.Time) {
	if f.checking {
		f.checking = false
		f.requests.TokenChecked(a.newToken, now)
		return
	}
	f.fetching = false
	err := a.err
	if err == nil {
		err = outage.Inspect(f.r.cfg.Blocks, f.memory, a.blocks, a.asked)
	}
	if err == nil && f.tooOld(a.blocks, now) {
		err = errTooOld
	}
	if err != nil {
		wipe(a.blocks)
		f.r.upstream.refused(len(a.blocks))
		f.fail(err, now)
		return
	}
	origin := a.blocks[0].Origin()
	emulated := slices.ContainsFunc(a.blocks, func(b qrypt.Block) bool { return b.Origin().Emulated })
	f.requests.Answered()
	f.r.stock.put(a.blocks)
	if f.r.upstream.answered(origin.Endpoint, emulated, f.requests.NotBefore(), now) {
		f.r.cfg.Logger.Warn("relay: the entropy is emulated, not quantum", "endpoint", origin.Endpoint)
		f.r.events.add(now, "the entropy is EMULATED, not quantum")
	}
	if len(f.warned) > 0 {
		clear(f.warned)
		f.r.cfg.Logger.Info("relay: recovered: the service answers")
		f.r.events.add(now, "recovered: the service answers")
	}
}

// errTooOld is another relay's failure, or that of whoever gives it an Age: the
// blocks would be wiped as they come, and others asked for.
var errTooOld = errors.New("relay: the blocks that come are older than MaxAge already: another relay has kept them; give it a MaxAge too")

func (f *refiller) tooOld(blocks []qrypt.Block, now time.Time) bool {
	return f.r.cfg.MaxAge != 0 && slices.ContainsFunc(blocks, func(b qrypt.Block) bool { return clock.Age(now, b.Origin().Received) >= f.r.cfg.MaxAge })
}

// fail applies the outage table. What is in stock is handed out meanwhile.
func (f *refiller) fail(err error, now time.Time) {
	word, _ := f.requests.Failed(err, outage.Endpoints(f.r.cfg.Blocks), now)
	reason := qrand.Reason(word)
	f.r.upstream.failed(reason, err, f.requests.NotBefore(), now)
	if f.warned[reason] {
		return
	}
	f.warned[reason] = true
	f.r.cfg.Logger.Warn("relay: no entropy comes from the service; what is in stock is handed out", "reason", word, "error", err.Error(),
		"next", f.requests.NotBefore().Sub(now).Round(time.Millisecond))
	f.r.events.add(now, "no entropy from the service: "+reason.String())
}
