package supply

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"example.com/qrand/internal/clock"
	"example.com/qrand/internal/turn"
	"example.com/qrand/internal/typednil"
	"example.com/qrand/qrypt"
)

// A BlockSource is what qrand.BlockSource is.
type BlockSource interface {
	Blocks(ctx context.Context, n int) ([]qrypt.Block, error)
}

// Preferred is what qrand.Prefer returns: sources in order of preference.
type Preferred []BlockSource

// Blocks asks the first, for whoever takes it for a source like any other.
func (p Preferred) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) {
	return p[0].Blocks(ctx, n)
}

// Check says what is wrong with a source that cannot be asked: a nil where one
// should be.
func Check(source BlockSource) error {
	all, ok := source.(Preferred)
	switch {
	case !ok && typednil.Is(source):
		return fmt.Errorf("is a nil %T: was the error of its constructor looked at?", source)
	case ok && len(all) == 0:
		return errors.New("has no source")
	}
	for _, each := range all {
		if err := Check(each); err != nil {
			return err
		}
	}
	return nil
}

// endpointsOf are the endpoints of a source: each one of a Client is one, and so
// is any source that is none of ours.
func endpointsOf(source BlockSource) (all []*endpoint) {
	switch s := source.(type) {
	case Preferred:
		for _, each := range s {
			all = append(all, endpointsOf(each)...)
		}
		return all
	case *qrypt.Client:
		shared := &crowd{} // they have one token, and perhaps one limit
		for _, client := range s.Each() {
			all = append(all, &endpoint{source: client, name: client.Endpoints()[0], crowd: shared})
		}
		if len(all) > 0 { // a zero Client says by itself what is wrong with it
			return all
		}
	}
	return []*endpoint{{source: source, crowd: &crowd{}}}
}

// A state is what goes on at an endpoint.
type state int

const (
	resting  state = iota
	asking         // a request is under way
	hanging        // for longer than HangLimit
	checking       // its token is being compared with the one that it refused
)

// An endpoint has a schedule of its own: what another one says changes nothing of
// it, but for refusals of a limit that both may share.
type endpoint struct {
	source BlockSource
	name   string // base URL; empty for a source that is none of ours
	crowd  *crowd // of those who want the same of it
	state  state
	number int                // of the last request
	asked  time.Time          // when the last request began
	cancel context.CancelFunc // of it
	waits  atomic.Bool        // it waits its turn in this process's own queue
	waited atomic.Bool        // it did since we last looked

	most, batch int            // blocks: fewer while there is little supply
	retry       *retry         // how it failed last; nil: it answered, or was never asked
	fails       map[*retry]int // since its last answer
	err         error          // the last failure
	notBefore   time.Time      // when it may be asked next
	refused     time.Time      // when it last did, as one of too many
	alone       bool           // it has refused us once in an old row of others: their turns are not its own yet
	lifted      bool           // somebody waits, or there is another token: it is tried whatever it said
	looked      bool           // for another token, in vain, since it last failed for want of one
	heldUntil   time.Time      // until when it asked us to wait
	returnAt    time.Time      // not before then while a less preferred one answers
	tokenAt     time.Time      // when to look for another token; zero: not waiting for one
}

func (e *endpoint) failing() bool { return e.retry != nil }

// ask begins a request.
func (e *endpoint) ask(ctx context.Context, n, number int, answers chan<- Answer, now time.Time) {
	e.state, e.number, e.asked, e.alone, e.lifted = asking, number, now, false, false
	e.waits.Store(false)
	e.waited.Store(false)
	ctx, e.cancel = context.WithCancel(ctx)
	ctx = turn.With(ctx, func(waiting bool) {
		e.waits.Store(waiting)
		e.waited.Store(true)
	})
	go func() {
		blocks, err := e.source.Blocks(ctx, n)
		answers <- Answer{from: e, asked: n, blocks: blocks, err: err}
	}()
}

// hangs reports whether the request under way has taken too long. Time in the
// queue of this process does not count, to HangLimit more or less.
func (e *endpoint) hangs(now time.Time) bool {
	if e.state != asking && e.state != checking || now.Before(e.asked.Add(HangLimit)) {
		return false
	}
	if e.waited.Swap(false) || e.waits.Load() {
		e.asked = now
		return false
	}
	return true
}

// TokenInterval is how often, in the mean, a refused token is compared with the
// current one.
const TokenInterval = 30 * time.Second

// check begins to compare tokens, beside all else, because a token may come from
// afar.
func (e *endpoint) check(ctx context.Context, answers chan<- Answer, now time.Time) {
	e.state, e.asked = checking, now
	ctx, e.cancel = context.WithTimeout(ctx, TokenInterval)
	go func() {
		s, ok := e.source.(interface{ TokenChanged(context.Context) bool })
		answers <- Answer{from: e, newToken: ok && s.TokenChanged(ctx)}
	}()
}

// succeeded takes in good blocks.
func (e *endpoint) succeeded() {
	e.batch = min(2*e.batch, e.most)
	e.retry, e.err = nil, nil
	e.notBefore, e.heldUntil, e.tokenAt = time.Time{}, time.Time{}, time.Time{}
	clear(e.fails)
}

// failed takes in a failure that is not a refusal for being one of too many.
func (e *endpoint) failed(row *Row, err error, d *dice, now time.Time) {
	e.fell(row, err, d, now)
	r := row.retry
	wait := r.wait(e.fails[r])
	switch asked := r.after(err); {
	case asked > 0 && (r.ours || r == &awaitQuota):
		// On top of what it asked for, because it may have asked many for the same.
		e.heldUntil = now.Add(asked)
		spread := spreadOf(asked)
		if r.ours {
			spread = max(spread, wait)
		}
		e.notBefore = e.heldUntil.Add(d.upTo(spread))
	case r.ours:
		e.notBefore = now.Add(d.upTo(wait))
	default:
		e.notBefore = now.Add(wait + d.upTo(spreadOf(wait)))
	}
}

// fell is what all failures have in common.
func (e *endpoint) fell(row *Row, err error, d *dice, now time.Time) {
	e.retry, e.err = row.retry, err
	e.fails[row.retry]++
	e.looked = e.looked && row.retry == &awaitToken
	if row.retry.less {
		e.batch = max(1, e.batch/2) // less may be there
	}
	if row.retry.one {
		e.batch = 1
	}
	e.heldUntil, e.tokenAt = time.Time{}, time.Time{}
	if row.retry.token {
		e.tokenAt = now.Add(d.around(TokenInterval))
	}
	e.returnAt = now.Add(returnAfter + d.upTo(returnAfter))
}

// returnAfter and up to twice as much pass before an endpoint that failed is asked
// again while a less preferred one answers.
const returnAfter = 2 * time.Minute

// checked takes in whether there is another token than the one that was refused.
func (e *endpoint) checked(newToken bool, d *dice, now time.Time) {
	e.state = resting
	if newToken {
		e.looked, e.lifted = false, true
		e.notBefore, e.returnAt, e.tokenAt = now, now, time.Time{}
		return
	}
	e.looked = true
	e.tokenAt = now.Add(d.around(TokenInterval))
}

// hurry cuts short a wait that was our own idea, but not one that the endpoint,
// the account or the token calls for. A token is then looked at at once. It
// reports whether something will be tried now.
func (e *endpoint) hurry(now time.Time) bool {
	switch {
	case e.state == hanging:
		return false
	case e.state != resting:
	case !now.Before(e.notBefore):
		e.lifted = true
	case e.retry.ours && !now.Before(e.heldUntil):
		e.notBefore, e.lifted = now, true
	case e.retry.token:
		e.tokenAt = now
	default:
		return false
	}
	return true
}

// spreadOf is over how long the end of a wait is spread.
func spreadOf(wait time.Duration) time.Duration {
	return min(max(wait/10, 2*RateWindow), 5*time.Minute)
}

// dueAt is when it may be asked, as far as its own schedule goes.
func (e *endpoint) dueAt(othersAnswer bool) time.Time {
	if e.failing() && othersAnswer {
		return clock.Later(e.notBefore, e.returnAt)
	}
	return e.notBefore
}

// awaitsToken reports whether another token would end its wait.
func (e *endpoint) awaitsToken(now time.Time, othersAnswer bool) bool {
	return e.state == resting && !e.tokenAt.IsZero() && now.Before(e.dueAt(othersAnswer))
}
