// Package supply gets blocks for a Source, a relay or a kernel feed: it decides which
// endpoint to ask, when, and for how many. A [Supply] is a state machine. It has no
// clock, and the only goroutines are those of the calls under way. [Supply.Run] is the
// loop around it.
//
// Each endpoint has its own schedule. life_fleet_test.go tests these promises: a
// healthy endpoint is asked soon, whatever the others answer; after an outage all
// processes are back soon; processes that share a limit all get their turn; and no two
// processes wait for the same instant.
package supply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"time"

	"example.com/qrand/internal/clock"
	"example.com/qrand/internal/health"
	"example.com/qrand/qrypt"
)

// Config configures a Supply.
type Config struct {
	Source         BlockSource
	Memory         *health.Memory // of the blocks that came before
	MaxBlocks      int            // in a request
	MaxAge         time.Duration  // older blocks are refused; zero: none are
	RefuseEmulated bool

	// ReceiptKey is the key that relays are asked with for receipts. Nil: they are not asked.
	ReceiptKey func() []byte

	// Now tells the time. Nil: time.Now.
	Now func() time.Time

	// Random returns a random duration from [0, d). Nil: math/rand/v2.
	Random func(d time.Duration) time.Duration
}

// A Supply gets blocks. It is not safe for concurrent use.
type Supply struct {
	cfg       Config
	jitter    jitter
	endpoints []*endpoint // in order of preference
	answers   chan Answer
	begun     int         // requests
	last      time.Time   // when the last one began
	recent    []time.Time // those within RateWindow
	pace      pace
	answered  time.Time // when the last good answer came
	urgent    bool      // somebody waits: no endpoint that failed is tried before one that answers
	log       logFilter
}

// An Answer is how a call ended.
type Answer struct {
	from     *endpoint
	asked    int // for how many blocks; zero: the token was compared
	blocks   []qrypt.Block
	err      error
	newToken bool
}

// An Outcome says what follows from an answer, or from a call that hangs.
type Outcome struct {
	Number  int           // of the request, from 1; zero: no request was made
	Blocks  []qrypt.Block // good ones; the user wipes them
	Refused int           // how many blocks came and were wiped
	Err     error         // why no block came
	Reason  string        // the kind of that failure
	Sent    bool          // the user counts it: a request was made, and no Outcome has reported it before

	Held     bool      // after a failure: nothing is tried without a wait
	Degraded bool      // no endpoint gives blocks
	NoToken  bool      // because all of them refuse the token, or there is none
	Hopeless bool      // only a person can help: see awaitsPerson
	Next     time.Time // when the next request may be made

	Warn      bool  // this failure is worth a line
	Again     bool  // which says that the outage follows another so soon that lines are held back
	Recovered bool  // the outage has ended, and that is worth a line
	Moved     bool  // blocks come from another endpoint than the log says, and that is worth a line
	Instead   error // which says why they do not come from the preferred one; nil, if they do
}

// New returns a Supply that has asked for nothing yet.
func New(cfg Config) *Supply {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Supply{cfg: cfg, jitter: jitter{cfg.Random}, endpoints: endpointsOf(cfg.Source), pace: pace{rate: RateLimit}, log: logFilter{warned: map[string]bool{}}}
	for _, e := range s.endpoints {
		e.most, e.batch, e.fails = cfg.MaxBlocks, cfg.MaxBlocks, map[*retry]int{}
		e.receiptKey = cfg.ReceiptKey
	}
	s.log.named = s.endpoints[0]
	s.answers = make(chan Answer, len(s.endpoints)) // so that no call waits to deliver one
	return s
}

// Endpoints returns the base URLs of the endpoints that have one, in order of
// preference.
func (s *Supply) Endpoints() (urls []string) {
	for _, e := range s.endpoints {
		if e.name != "" {
			urls = append(urls, e.name)
		}
	}
	return urls
}

// Failing reports whether every endpoint failed when it was asked last.
func (s *Supply) Failing() bool {
	return !slices.ContainsFunc(s.endpoints, func(e *endpoint) bool { return !e.failing() })
}

// RateLimited reports whether the endpoint that would be asked now has answered 429 in
// the last hour. Others that share the limit may then need a request more than we do.
func (s *Supply) RateLimited(now time.Time) bool {
	i := max(0, slices.IndexFunc(s.endpoints, func(e *endpoint) bool { return !e.failing() }))
	return now.Sub(s.endpoints[i].limit.last) < time.Hour
}

// Begun returns how many requests have begun.
func (s *Supply) Begun() int { return s.begun }

// Answered returns when good blocks last came; zero: never.
func (s *Supply) Answered() time.Time { return s.answered }

// Err returns the errors of the endpoints that failed when they were asked last, in
// order of preference.
func (s *Supply) Err() error {
	var all failures
	for _, e := range s.endpoints {
		if e.err != nil {
			all = append(all, e.err)
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return all
}

// failures are errors in one line.
type failures []error

func (f failures) Unwrap() []error { return f }

func (f failures) Error() string {
	var texts []string
	for _, err := range f {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "; ")
}

// Act begins what is due for a user who wants n blocks. With n zero it only looks for
// the end of an outage. Its Outcome has an Err where a request takes too long.
func (s *Supply) Act(ctx context.Context, n int, now time.Time) Outcome {
	if ctx.Err() != nil {
		return Outcome{}
	}
	for _, e := range s.endpoints {
		if e.hangs(now) {
			e.state = hanging
			e.cancel()
			return s.failed(e, ErrHangs, now)
		}
	}
	if s.log.calm(now) {
		return Outcome{Recovered: true}
	}
	if n == 0 && !s.Failing() {
		return Outcome{}
	}
	for _, e := range s.endpoints {
		if e.awaitsToken(now, !s.Failing()) && !now.Before(e.tokenAt) {
			e.check(ctx, s.answers, now)
		}
	}
	if s.busy(now) || now.Before(s.soonest()) {
		return Outcome{}
	}
	if e := s.choose(now); e != nil {
		s.begun++
		s.last, s.recent = now, append(within(s.recent, now), now)
		e.ask(ctx, max(1, min(n, e.batch)), s.begun, s.answers, now)
	}
	return Outcome{}
}

// Next returns when Act has something to do for a user who wants n blocks, unless an
// answer comes before. It also returns when Act will make the next request: zero if
// none is wanted, or one is under way.
func (s *Supply) Next(n int, now time.Time) (act, request time.Time) {
	act = s.log.calmAt
	for _, e := range s.endpoints {
		if e.state == asking || e.state == checking {
			act = earlier(act, e.asked.Add(HangLimit))
		}
	}
	if n == 0 && !s.Failing() {
		return act, time.Time{}
	}
	busy := s.busy(now)
	for _, e := range s.endpoints {
		if s.isProbe(e) && now.Before(e.asked.Add(patience)) {
			act = earlier(act, e.asked.Add(patience))
		}
	}
	for _, e := range s.endpoints {
		at := clock.Later(e.dueAt(!s.Failing()), s.soonest())
		switch {
		case e.state == idle && !busy:
			act, request = earlier(act, at), earlier(request, at)
		case e.state == checking && !busy:
			request = earlier(request, at)
		}
		if e.awaitsToken(now, !s.Failing()) {
			act = earlier(act, e.tokenAt)
		}
	}
	return act, request
}

// SkipWaits ends the waits that were our own caution, because somebody waits for a
// block. It reports whether something will be tried at once.
func (s *Supply) SkipWaits(now time.Time) bool {
	tried := false
	for _, e := range s.endpoints {
		tried = e.skipWait(now) || tried
	}
	s.urgent = tried
	return tried
}

// Retry ends the waits of all endpoints that failed, whatever they asked for, because a
// person says that the cause is gone.
func (s *Supply) Retry(now time.Time) {
	for _, e := range s.endpoints {
		if e.state == idle && e.failing() {
			e.notBefore, e.returnAt, e.heldUntil, e.retryNow = now, now, time.Time{}, true
		}
	}
}

// choose returns the endpoint to ask now: the first in order that answers, or one
// before it that may answer again. Where none answers, it is the one that has not been
// asked for longest. It returns nil if none is due.
func (s *Supply) choose(now time.Time) (chosen *endpoint) {
	others := !s.Failing()
	for _, e := range s.endpoints {
		if e.state != idle || now.Before(e.dueAt(others)) || e.failing() && others && s.urgent {
			continue
		}
		if others {
			return e
		}
		if chosen == nil || e.asked.Before(chosen.asked) {
			chosen = e
		}
	}
	return chosen
}

// busy reports whether a request is under way that another one has to wait for.
func (s *Supply) busy(now time.Time) bool {
	return slices.ContainsFunc(s.endpoints, func(e *endpoint) bool {
		return e.state == asking && !(s.isProbe(e) && !now.Before(e.asked.Add(patience)))
	})
}

// isProbe reports whether a request to e is under way though e failed and another
// endpoint answers.
func (s *Supply) isProbe(e *endpoint) bool {
	return e.state == asking && e.failing() && !s.Failing()
}

// patience is how long such a request delays one to the endpoint that answers.
const patience = 5 * time.Second

// soonest returns when our own pace allows another request.
func (s *Supply) soonest() time.Time { return s.last.Add(s.pace.spacing()) }

// Answers is where the answers come, for Handle.
func (s *Supply) Answers() <-chan Answer { return s.answers }

// Handle takes in an answer.
func (s *Supply) Handle(a Answer, now time.Time) Outcome {
	e := a.from
	if a.asked == 0 {
		e.checked(a.newToken, &s.jitter, now)
		noToken, hopeless := s.awaitsPerson()
		return Outcome{Held: s.held(now, false), NoToken: noToken, Hopeless: hopeless}
	}
	reported := e.state == hanging
	e.state = idle
	e.cancel()
	err := a.err
	if err == nil {
		if err = s.inspect(a.blocks, a.asked, now); err != nil && e.name != "" {
			err = fmt.Errorf("%s: %w", e.name, err)
		}
	}
	if err != nil {
		qrypt.Wipe(a.blocks)
		if reported { // Act has returned its failure
			return Outcome{Refused: len(a.blocks)}
		}
		o := s.failed(e, err, now)
		o.Refused = len(a.blocks)
		return o
	}
	e.succeeded()
	s.pace.answered()
	e.limit.answered(now)
	s.answered, s.urgent = now, false
	o := Outcome{Number: e.number, Blocks: a.blocks, Sent: !reported, Next: s.soonest()}
	o.Recovered = s.log.answered(now)
	o.Moved, o.Instead = s.log.moved(e, now), s.endpoints[0].err
	return o
}

// inspect accepts or refuses an answer as a whole: where one block is bad, the others
// cannot be trusted either.
func (s *Supply) inspect(blocks []qrypt.Block, asked int, now time.Time) error {
	if len(blocks) == 0 || len(blocks) > asked {
		return ErrBlockCount
	}
	var first error
	for _, b := range blocks {
		p, origin := b.Bytes(), b.Origin()
		switch {
		case p == nil:
			return ErrBlockCount
		case s.cfg.MaxAge != 0 && clock.Age(now, origin.Received) > s.cfg.MaxAge:
			first = cmp.Or(first, ErrTooOld)
		case s.cfg.RefuseEmulated && origin.Emulated:
			first = cmp.Or(first, ErrEmulated)
		}
		first = cmp.Or(first, health.Check(p), s.cfg.Memory.Add(p))
	}
	return first
}

// failed takes in a failure of e.
func (s *Supply) failed(e *endpoint, err error, now time.Time) Outcome {
	row := rowOf(err)
	if row.retry.shared {
		s.refused(e, row, err, now)
	} else {
		e.failed(row, err, &s.jitter, now)
	}
	_, next := s.Next(1, now)
	o := Outcome{
		Number: e.number, Err: err, Reason: row.Reason, Sent: row.Reason != NoToken,
		Degraded: s.Failing(), Held: s.held(now, true), Next: next,
	}
	o.NoToken, o.Hopeless = s.awaitsPerson()
	if o.Degraded {
		o.Warn, o.Again = s.log.failed(row.Reason, now)
	}
	return o
}

// awaitsPerson reports whether no endpoint accepts the token, or there is none, and
// whether it is hopeless to wait until a person acts. That is so if each endpoint has
// refused the token or gives emulated blocks. But a token function that failed once may
// succeed by itself.
func (s *Supply) awaitsPerson() (noToken, hopeless bool) {
	noToken, hopeless = true, true
	for _, e := range s.endpoints {
		token := e.retry == &awaitToken
		noToken = noToken && token
		hopeless = hopeless && (token && (e.compared || errors.Is(e.err, qrypt.ErrUnauthorized)) || errors.Is(e.err, ErrEmulated))
	}
	return noToken, hopeless
}

// held reports whether nothing is tried without a wait. After a failure, endpoints that
// failed do not count though their wait is over: the user has seen them fail.
func (s *Supply) held(now time.Time, failed bool) bool {
	return !slices.ContainsFunc(s.endpoints, func(e *endpoint) bool {
		return e.state == asking || e.state == checking || e.state == idle && (!failed || !e.failing() || e.retryNow) && !now.Before(e.dueAt(!s.Failing()))
	})
}

// earlier returns the earlier of two times. A zero time counts as never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// A jitter draws the random parts of waits.
type jitter struct {
	random func(d time.Duration) time.Duration
}

// upTo draws from [0, d).
func (j *jitter) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	if j.random != nil {
		return j.random(d)
	}
	return mathrand.N(d)
}

// around draws from half of d to one and a half.
func (j *jitter) around(d time.Duration) time.Duration { return d/2 + j.upTo(d) }
