package supply

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"time"

	"example.com/qrand/internal/clock"
	"example.com/qrand/internal/turn"
	"example.com/qrand/qrypt"
)

// A BlockSource is what qrand.BlockSource is.
type BlockSource interface {
	Blocks(ctx context.Context, n int) ([]qrypt.Block, error)
}

// Preferred is what qrand.Prefer returns: sources in order of preference.
type Preferred []BlockSource

// Blocks asks the first source only. A Supply asks each of them by itself.
func (p Preferred) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) {
	return p[0].Blocks(ctx, n)
}

// Check returns an error for a source that cannot be asked, because it is nil or
// holds a nil.
func Check(source BlockSource) error {
	all, ok := source.(Preferred)
	switch {
	case ok && len(all) == 0:
		return errors.New("has no source")
	case isNil(source):
		return fmt.Errorf("is a nil %T: was the error of its constructor looked at?", source)
	}
	for _, each := range all {
		if err := Check(each); err != nil {
			return err
		}
	}
	return nil
}

// isNil reports whether v is nil, or holds a nil pointer, func, map, chan or slice:
// a constructor that failed leaves one if nobody looks at its error, and the first
// call of a method would crash.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Chan, reflect.Slice:
		return r.IsNil()
	}
	return false
}

// endpointsOf lists the endpoints of a source. A qrypt.Client may have several; any
// other source is one.
func endpointsOf(source BlockSource) (all []*endpoint) {
	switch s := source.(type) {
	case Preferred:
		for _, each := range s {
			all = append(all, endpointsOf(each)...)
		}
		return all
	case *qrypt.Client:
		shared := &sharedLimit{} // they send the same token, and may have the same limit
		for _, client := range s.Each() {
			all = append(all, &endpoint{source: client, name: client.Endpoints()[0], limit: shared})
		}
		if len(all) > 0 { // a zero Client says by itself what is wrong with it
			return all
		}
	}
	return []*endpoint{{source: source, limit: &sharedLimit{}}}
}

// A state says what is under way at an endpoint.
type state int

const (
	idle     state = iota
	asking         // a request is under way
	hanging        // for longer than HangLimit
	checking       // the token is being compared with the one that it refused
)

// An endpoint has a schedule of its own. An answer of another endpoint does not change
// it, except a 429 where both may share a limit.
type endpoint struct {
	source BlockSource
	name   string // base URL; empty if it is no endpoint of a qrypt.Client
	limit  *sharedLimit

	receiptKey func() []byte // of Config

	state  state
	number int                // of the last request
	asked  time.Time          // when the last request began
	cancel context.CancelFunc // cancels that request
	waits  atomic.Bool        // that request waits in this process's own queue
	waited atomic.Bool        // it has waited there since hangs looked last

	most, batch int            // blocks in a request: batch is less than most while it has few
	retry       *retry         // how it failed last; nil: it answered, or was never asked
	fails       map[*retry]int // since its last answer
	err         error          // the last failure
	notBefore   time.Time      // when it may be asked next
	refused     time.Time      // when it last answered 429
	joinedLate  bool           // that was its first in an old streak of others: it does not take turns with them yet
	retryNow    bool           // somebody waits, or there is another token: it is tried in spite of its failure
	compared    bool           // no other token was found since it last failed for lack of one
	heldUntil   time.Time      // until when it asked us to wait
	returnAt    time.Time      // it is not asked before then while a less preferred one answers
	tokenAt     time.Time      // when to look for another token; zero: not waiting for one
}

func (e *endpoint) failing() bool { return e.retry != nil }

// ask begins a request.
func (e *endpoint) ask(ctx context.Context, n, number int, answers chan<- Answer, now time.Time) {
	e.state, e.number, e.asked, e.retryNow = asking, number, now, false
	e.waits.Store(false)
	e.waited.Store(false)
	ctx, e.cancel = context.WithCancel(ctx)
	ctx = turn.With(ctx, func(waiting bool) {
		e.waits.Store(waiting)
		e.waited.Store(true)
	})
	go func() {
		blocks, err := e.get(ctx, n)
		answers <- Answer{from: e, asked: n, blocks: blocks, err: err}
	}()
}

func (e *endpoint) get(ctx context.Context, n int) ([]qrypt.Block, error) {
	if e.receiptKey != nil {
		if s, ok := e.source.(interface {
			BlocksWithReceipt(ctx context.Context, n int, key []byte) ([]qrypt.Block, error)
		}); ok {
			return s.BlocksWithReceipt(ctx, n, e.receiptKey())
		}
	}
	return e.source.Blocks(ctx, n)
}

// hangs reports whether the request under way has taken too long. Time in this
// process's own queue does not count. The measure is rough: by up to HangLimit.
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

// TokenInterval is the mean time between two comparisons of a refused token with the
// current one.
const TokenInterval = 30 * time.Second

// check begins to compare the tokens. It runs beside everything else, because the
// token function may ask another machine.
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

// failed takes in a failure other than a 429.
func (e *endpoint) failed(row *Row, err error, j *jitter, now time.Time) {
	e.noteFailure(row, err, j, now)
	r := row.retry
	wait := r.wait(e.fails[r])
	switch asked := r.after(err); {
	case asked > 0 && (r.ours || r == &awaitQuota):
		// A random wait is added, because it may have asked many clients for the same.
		e.heldUntil = now.Add(asked)
		spread := spreadOf(asked)
		if r.ours {
			spread = max(spread, wait)
		}
		e.notBefore = e.heldUntil.Add(j.upTo(spread))
	case r.ours:
		e.notBefore = now.Add(j.upTo(wait))
	default:
		e.notBefore = now.Add(wait + j.upTo(spreadOf(wait)))
	}
}

// noteFailure does what all failures have in common.
func (e *endpoint) noteFailure(row *Row, err error, j *jitter, now time.Time) {
	e.retry, e.err = row.retry, err
	e.fails[row.retry]++
	e.compared = e.compared && row.retry == &awaitToken
	if row.retry.less {
		e.batch = max(1, e.batch/2) // it may have fewer
	}
	if row.retry.one {
		e.batch = 1
	}
	e.heldUntil, e.tokenAt = time.Time{}, time.Time{}
	if row.retry.token {
		e.tokenAt = now.Add(j.around(TokenInterval))
	}
	e.returnAt = now.Add(returnAfter + j.upTo(returnAfter))
}

// returnAfter and up to twice as much pass before an endpoint that failed is asked
// again while a less preferred one answers.
const returnAfter = 2 * time.Minute

// checked takes in whether there is now another token than the refused one.
func (e *endpoint) checked(newToken bool, j *jitter, now time.Time) {
	e.state = idle
	if newToken {
		e.compared, e.retryNow = false, true
		e.notBefore, e.returnAt, e.tokenAt = now, now, time.Time{}
		return
	}
	e.compared = true
	e.tokenAt = now.Add(j.around(TokenInterval))
}

// skipWait ends a wait that was our own caution, but not one that the endpoint, the
// account or the token asks for. Where a token is missing, another one is looked for
// at once. It reports whether something will be tried now.
func (e *endpoint) skipWait(now time.Time) bool {
	switch {
	case e.state == hanging:
		return false
	case e.state != idle:
	case !now.Before(e.notBefore):
		e.retryNow = true
	case e.retry.ours && !now.Before(e.heldUntil):
		e.notBefore, e.retryNow = now, true
	case e.retry.token:
		e.tokenAt = now
	default:
		return false
	}
	return true
}

// spreadOf returns how much a random wait may add to a wait.
func spreadOf(wait time.Duration) time.Duration {
	return min(max(wait/10, 2*RateWindow), 5*time.Minute)
}

// dueAt returns when its own schedule lets it be asked.
func (e *endpoint) dueAt(othersAnswer bool) time.Time {
	if e.failing() && othersAnswer {
		return clock.Later(e.notBefore, e.returnAt)
	}
	return e.notBefore
}

// awaitsToken reports whether another token would end the wait.
func (e *endpoint) awaitsToken(now time.Time, othersAnswer bool) bool {
	return e.state == idle && !e.tokenAt.IsZero() && now.Before(e.dueAt(othersAnswer))
}
