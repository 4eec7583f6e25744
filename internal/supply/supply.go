// Package supply gets blocks: it says whom to ask, when, and for how many, under a
// Source, a relay and a kernel feed alike. A [Supply] is a state machine: it has
// no clock, and no goroutine but those of the calls that are under way.
// [Supply.Run] is the loop around it.
//
// Each endpoint has its own schedule. The promises, which simulation_test.go holds
// it to: a healthy endpoint is asked soon, whatever the others answer; after an
// outage all are back soon; processes that share a limit all get their turn; and
// no two processes wait for the same instant.
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

// Config is what a Supply is made from.
type Config struct {
	Source         BlockSource
	Memory         *health.Memory // of the blocks that came before
	Most           int            // blocks in a request
	MaxAge         time.Duration  // older blocks are refused; zero: none are
	RefuseEmulated bool

	// Random draws from [0, d). Nil: math/rand/v2.
	Random func(d time.Duration) time.Duration
}

// A Supply gets blocks. It is not safe for concurrent use.
type Supply struct {
	cfg       Config
	dice      dice
	endpoints []*endpoint // in order of preference
	answers   chan Answer
	begun     int         // requests
	last      time.Time   // when the last one began
	recent    []time.Time // those within RateWindow
	pace      pace
	ended     time.Time // the last good answer
	hurried   bool      // somebody waits: no endpoint that failed is tried before one that answers
	log       log
}

// An Answer is how a call ended.
type Answer struct {
	from     *endpoint
	asked    int // blocks; zero: the token was compared
	blocks   []qrypt.Block
	err      error
	newToken bool
}

// An Outcome is what follows from an answer, or from the want of one.
type Outcome struct {
	Number  int           // of the request, from 1; zero: it was none
	Blocks  []qrypt.Block // good ones, which are the taker's
	Refused int           // blocks that came and are wiped
	Err     error         // why no block came
	Reason  string        // the kind of that failure
	Sent    bool          // it is to be counted: a request was made, and has not been told of

	Held     bool      // after a failure: nothing is tried without a wait
	Degraded bool      // no endpoint gives blocks
	NoToken  bool      // because all of them refuse the token, or there is none
	Hopeless bool      // and it was refused, or looked for in vain
	Next     time.Time // when the next request may be made

	Warn      bool  // this failure is worth a line
	Again     bool  // in it: so soon after the last that lines are held back
	Recovered bool  // this is the end of an outage, and worth a line
	Moved     bool  // blocks come from another endpoint than was told, and that is worth a line
	Instead   error // then: why not from the preferred one; nil, if they do
}

// New returns a Supply that has asked for nothing yet.
func New(cfg Config) *Supply {
	s := &Supply{cfg: cfg, dice: dice{cfg.Random}, endpoints: endpointsOf(cfg.Source), pace: pace{rate: RateLimit}, log: newLog()}
	for _, e := range s.endpoints {
		e.most, e.batch, e.fails = cfg.Most, cfg.Most, map[*retry]int{}
	}
	s.log.named = s.endpoints[0]
	s.answers = make(chan Answer, len(s.endpoints)) // none waits to be taken
	return s
}

// Endpoints are the base URLs of those that have one, in order of preference.
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

// Crowded reports whether we were one too many in the last hour where we would ask
// now: others may need a request more than we do.
func (s *Supply) Crowded(now time.Time) bool {
	i := max(0, slices.IndexFunc(s.endpoints, func(e *endpoint) bool { return !e.failing() }))
	last := s.endpoints[i].crowd.last
	return !last.IsZero() && now.Sub(last) < time.Hour
}

// Begun is how many requests have begun.
func (s *Supply) Begun() int { return s.begun }

// Answered is when good blocks last came; zero: never.
func (s *Supply) Answered() time.Time { return s.ended }

// Err says how the endpoints failed that did when they were asked last, in their
// order.
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

// Act begins what is due, for somebody who wants n blocks; none, to see the end of
// an outage only. Its Outcome has an Err where a request takes too long.
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
		if e.awaitsToken(now, s.othersAnswer(e)) && !now.Before(e.tokenAt) {
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

// Next is when Act has something to do for somebody who wants n blocks, unless an
// answer comes before; and when it will next make a request: zero, if none is
// wanted or one is under way.
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
		others := s.othersAnswer(e)
		at := clock.Later(e.dueAt(others), s.soonest())
		switch {
		case e.state == resting && !busy:
			act, request = earlier(act, at), earlier(request, at)
		case e.state == checking && !busy:
			request = earlier(request, at)
		}
		if e.awaitsToken(now, others) {
			act = earlier(act, e.tokenAt)
		}
	}
	return act, request
}

// Hurry takes in that somebody waits for a block. It cuts short waits that were
// our own caution, and reports whether something will be tried at once.
func (s *Supply) Hurry(now time.Time) bool {
	tried := false
	for _, e := range s.endpoints {
		tried = e.hurry(now) || tried
	}
	s.hurried = tried
	return tried
}

// choose returns the endpoint to ask now: the first in order that answers, or one
// before it that may have come back. Where none answers, the one that has not been
// asked for longest.
func (s *Supply) choose(now time.Time) (chosen *endpoint) {
	for _, e := range s.endpoints {
		others := s.othersAnswer(e)
		if e.state != resting || now.Before(e.dueAt(others)) || e.failing() && others && s.hurried {
			continue
		}
		if !e.failing() || others {
			return e
		}
		if chosen == nil || e.asked.Before(chosen.asked) {
			chosen = e
		}
	}
	return chosen
}

// othersAnswer reports whether blocks may be had from another endpoint now.
func (s *Supply) othersAnswer(e *endpoint) bool {
	return slices.ContainsFunc(s.endpoints, func(other *endpoint) bool {
		return other != e && other.state == resting && !other.failing()
	})
}

// busy reports whether a request is under way that is to be waited for.
func (s *Supply) busy(now time.Time) bool {
	return slices.ContainsFunc(s.endpoints, func(e *endpoint) bool {
		return e.state == asking && !(s.isProbe(e) && !now.Before(e.asked.Add(patience)))
	})
}

// isProbe reports whether a request is under way to an endpoint that failed, though
// another one answers.
func (s *Supply) isProbe(e *endpoint) bool {
	return e.state == asking && e.failing() && s.othersAnswer(e)
}

// patience is how long such a request keeps the other endpoint waiting.
const patience = 5 * time.Second

// soonest is when our own pace allows another request.
func (s *Supply) soonest() time.Time {
	if s.last.IsZero() {
		return time.Time{}
	}
	return s.last.Add(s.pace.spacing())
}

// Answers is where to wait for what Take takes.
func (s *Supply) Answers() <-chan Answer { return s.answers }

// Take takes in an answer.
func (s *Supply) Take(a Answer, now time.Time) Outcome {
	e := a.from
	if a.asked == 0 {
		e.checked(a.newToken, &s.dice, now)
		noToken, hopeless := s.awaitsToken()
		return Outcome{Held: s.held(now, false), NoToken: noToken, Hopeless: hopeless}
	}
	told := e.state == hanging
	e.state = resting
	e.cancel()
	err := a.err
	if err == nil {
		if err = s.inspect(a.blocks, a.asked, now); err != nil && e.name != "" {
			err = fmt.Errorf("%s: %w", e.name, err)
		}
	}
	if err != nil {
		qrypt.Wipe(a.blocks)
		if told { // that it failed
			return Outcome{Refused: len(a.blocks)}
		}
		o := s.failed(e, err, now)
		o.Refused = len(a.blocks)
		return o
	}
	e.succeeded()
	s.pace.answered()
	e.crowd.answered(now)
	s.ended, s.hurried = now, false
	o := Outcome{Number: e.number, Blocks: a.blocks, Sent: !told, Next: s.soonest()}
	o.Recovered = s.log.answered(now)
	o.Moved, o.Instead = s.log.moved(e, now), s.endpoints[0].err
	return o
}

// inspect accepts or refuses an answer as a whole: where one block is bad, its
// neighbours are not to be trusted either.
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
	if row.retry.crowd {
		s.refused(e, row, err, now)
	} else {
		e.failed(row, err, &s.dice, now)
	}
	_, next := s.Next(1, now)
	o := Outcome{
		Number: e.number, Err: err, Reason: row.Reason, Sent: row.Reason != NoToken,
		Degraded: s.Failing(), Held: s.held(now, true), Next: next,
	}
	o.NoToken, o.Hopeless = s.awaitsToken()
	if o.Degraded {
		o.Warn, o.Again = s.log.failed(row.Reason, now)
	}
	return o
}

// awaitsToken reports whether no block will come without another token, and whether
// that is certain: a token that a function has not got yet may come by itself.
func (s *Supply) awaitsToken() (all, certain bool) {
	all, certain = true, true
	for _, e := range s.endpoints {
		all = all && e.retry == &awaitToken
		certain = certain && (e.looked || errors.Is(e.err, qrypt.ErrUnauthorized))
	}
	return all, all && certain
}

// held reports whether nothing is tried without a wait. After a failure, that a wait is
// over anyway does not count: whoever waits has seen that endpoint fail.
func (s *Supply) held(now time.Time, failed bool) bool {
	return !slices.ContainsFunc(s.endpoints, func(e *endpoint) bool {
		return e.state == asking || e.state == checking || e.state == resting && (!failed || !e.failing() || e.lifted) && !now.Before(e.dueAt(s.othersAnswer(e)))
	})
}

// refused takes in that e refused us as one of too many. Endpoints that do so in one
// row may be one service, with one limit: then they take turns, or each process would
// ask once for each of them.
func (s *Supply) refused(e *endpoint, row *Row, err error, now time.Time) {
	e.fell(row, err, &s.dice, now)
	s.pace.refused()
	least := row.retry.after(err)
	if least == 0 {
		least = max(time.Second, s.windowLeft(now))
	}
	var turn time.Time // of those in the row
	first := !s.inRow(e)
	for _, other := range s.endpoints {
		if first && other != e && other.crowd == e.crowd && s.inRow(other) && now.Before(other.notBefore) && !now.Before(other.heldUntil) {
			turn = earlier(turn, other.notBefore)
		}
	}
	joins := first && !e.crowd.row.IsZero()
	together := now.Sub(e.crowd.row) < shortFrames*shortFrame && !turn.IsZero() && !turn.After(now.Add(least+shortFrame))
	e.refused, e.alone = now, joins && !together
	switch {
	case joins && together:
		e.notBefore = turn
	case joins: // theirs is an old row, and e may have another limit
		e.notBefore = now.Add(least + s.dice.upTo(shortFrame))
	default:
		from, to := e.crowd.refused(max(min(least, RateWindow), s.pace.spacing()), now)
		at := from.Add(s.dice.upTo(to.Sub(from)))
		for _, other := range s.endpoints {
			if other.crowd == e.crowd && s.inRow(other) && !other.alone {
				other.notBefore = clock.Later(other.notBefore, at)
			}
		}
	}
	if least > RateWindow { // its own wish, which is no business of the others
		e.heldUntil = now.Add(least)
		e.notBefore = clock.Later(e.notBefore, e.heldUntil.Add(s.dice.upTo(spreadOf(least))))
	}
}

// inRow reports whether e was one of those that refused us in this row, and nothing
// else since.
func (s *Supply) inRow(e *endpoint) bool {
	return !e.crowd.row.IsZero() && !e.refused.Before(e.crowd.row) && e.retry == &slowDown && e.state == resting
}

// windowLeft is how long our own oldest request of the window still counts.
func (s *Supply) windowLeft(now time.Time) time.Duration {
	if s.recent = within(s.recent, now); len(s.recent) == 0 {
		return 0
	}
	return RateWindow - now.Sub(s.recent[0])
}

// within keeps the requests of the last window.
func within(recent []time.Time, now time.Time) []time.Time {
	for len(recent) > 0 && now.Sub(recent[0]) >= RateWindow {
		recent = recent[1:]
	}
	return recent
}

// earlier is the earlier of two times, of which a zero one is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// dice draw the waits.
type dice struct {
	random func(d time.Duration) time.Duration
}

// upTo draws from [0, d).
func (r *dice) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	if r.random != nil {
		return r.random(d)
	}
	return mathrand.N(d)
}

// around draws from half of d to one and a half.
func (r *dice) around(d time.Duration) time.Duration { return d/2 + r.upTo(d) }
