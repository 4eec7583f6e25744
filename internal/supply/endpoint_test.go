package supply

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"testing"
	"time"

	"example.com/qrand/internal/health"
	"example.com/qrand/qrypt"
)

// A span is when an endpoint may be asked again after a failure: from and to.
type span [2]time.Duration

// schedules says when an endpoint is asked again after each kind of failure.
var schedules = []struct {
	classes         []error
	first, later    span // after the first failure, and after many
	asked, insisted span // after the first that asks for 37 s, and for a thousand hours
	still           span // after many, of which the last asks for 37 s
	skips           bool // a Reseed need not wait, unless the endpoint asked for it
	token           bool // another token ends the wait
	batch           int  // blocks in the next request, of 8
}{
	{
		classes: []error{qrypt.ErrServer, qrypt.ErrTLS, qrypt.ErrTimeout, qrypt.ErrNetwork, qrypt.ErrRedirected, qrypt.ErrMalformed, errors.New("any other")},
		first:   span{0, time.Second}, later: span{0, 5 * time.Minute},
		asked: span{37 * time.Second, 57 * time.Second}, insisted: span{10 * time.Minute, 11 * time.Minute},
		still: span{37 * time.Second, 37*time.Second + 5*time.Minute},
		skips: true, batch: 8,
	}, {
		classes: []error{qrypt.ErrNoSupply},
		first:   span{0, time.Second}, later: span{0, 5 * time.Minute},
		asked: span{37 * time.Second, 57 * time.Second}, insisted: span{10 * time.Minute, 11 * time.Minute},
		still: span{37 * time.Second, 37*time.Second + 5*time.Minute},
		skips: true, batch: 4,
	}, {
		classes: []error{health.ErrUnhealthy, health.ErrRepeated, ErrTooOld, ErrEmulated},
		first:   span{0, time.Second}, later: span{0, 5 * time.Minute},
		skips: true, batch: 1,
	}, {
		classes: []error{qrypt.ErrQuota},
		first:   span{15 * time.Minute, 990 * time.Second}, later: span{6 * time.Hour, 6*time.Hour + 5*time.Minute},
		asked: span{37 * time.Second, 57 * time.Second}, insisted: span{24 * time.Hour, 24*time.Hour + 5*time.Minute},
		token: true, batch: 4,
	}, {
		classes: []error{qrypt.ErrUnauthorized, qrypt.ErrNoToken},
		first:   span{time.Hour, 65 * time.Minute}, later: span{time.Hour, 65 * time.Minute},
		token: true, batch: 8,
	}, {
		classes: []error{qrypt.ErrBadRequest},
		first:   span{time.Hour, 65 * time.Minute}, later: span{time.Hour, 65 * time.Minute},
		batch: 8,
	}, {
		classes: []error{qrypt.ErrRateLimited},
		first:   span{time.Second, 30 * time.Second}, // later ones are in TestTurns
		asked:   span{37 * time.Second, 57 * time.Second}, insisted: span{10 * time.Minute, 11 * time.Minute},
		batch: 8,
	},
}

// TestSchedules: after each kind of failure the wait is as promised, with the least and the
// greatest random part. The two differ, so that no two processes wait for the same instant.
func TestSchedules(t *testing.T) {
	tried := map[string]bool{rowOf(ErrHangs).Reason: true} // in TestHang
	for _, row := range schedules {
		for _, class := range row.classes {
			tried[rowOf(class).Reason] = true
			// wait is for how long an endpoint is not asked after so many such failures.
			wait := func(failures int, retryAfter time.Duration, random func(time.Duration) time.Duration) (*driver, time.Duration) {
				d := newDriver(t, 1, random)
				d.fakes[0].err = failure(class, retryAfter)
				for range failures {
					d.next()
				}
				return d, d.endpoints[0].notBefore.Sub(d.now)
			}
			for _, c := range []struct {
				failures   int
				retryAfter time.Duration
				want       span
			}{{1, 0, row.first}, {30, 0, row.later}, {1, 37 * time.Second, row.asked}, {1, 1000 * time.Hour, row.insisted}, {30, 37 * time.Second, row.still}} {
				if c.want == (span{}) {
					continue
				}
				_, low := wait(c.failures, c.retryAfter, least)
				d, high := wait(c.failures, c.retryAfter, most)
				if low < c.want[0] || high > c.want[1] || high < c.want[1]/100*99 || high-low < min(c.want[0]/100, 4*time.Minute) {
					t.Errorf("%v, %d in a row, Retry-After %v: a wait of %v to %v, want %v to %v", class, c.failures, c.retryAfter, low, high, c.want[0], c.want[1])
				}
				tried, skips := d.SkipWaits(d.now), row.skips && c.retryAfter == 0
				if tried != (skips || row.token) || d.endpoints[0].notBefore.Equal(d.now) != skips {
					t.Errorf("%v, Retry-After %v: SkipWaits returns %v; the next request is due in %v", class, c.retryAfter, tried, d.endpoints[0].notBefore.Sub(d.now))
				}
			}
			if d, _ := wait(30, 0, most); d.endpoints[0].batch < 1 || row.batch < 8 && d.endpoints[0].batch > 1 {
				t.Errorf("%v: after many failures %d blocks are asked for", class, d.endpoints[0].batch)
			}
			d, _ := wait(1, 0, most)
			e := d.endpoints[0]
			if e.batch != row.batch {
				t.Errorf("%v: %d blocks are asked for next, want %d", class, e.batch, row.batch)
			}
			if e.tokenAt.IsZero() == row.token {
				t.Errorf("%v: another token is looked for: %v, want %v", class, !e.tokenAt.IsZero(), row.token)
			}
			// An answer ends all that the failure brought; but the number of blocks grows
			// step by step.
			d.fakes[0].err = nil
			d.next()
			if e.failing() || e.err != nil || len(e.fails) > 0 || !e.tokenAt.IsZero() || e.notBefore.After(d.now) || e.batch != min(8, 2*row.batch) || d.Failing() || d.Err() != nil {
				t.Errorf("%v: after an answer %+v", class, e)
			}
		}
	}
	for _, row := range Table {
		if !tried[row.Reason] {
			t.Errorf("nothing is promised of %s", row.Reason)
		}
	}
}

// TestFailuresGrow: the waits after one kind of failure double, from the first to the most.
func TestFailuresGrow(t *testing.T) {
	for class, first := range map[error]time.Duration{qrypt.ErrServer: time.Second, qrypt.ErrQuota: 15 * time.Minute} {
		d := newDriver(t, 1, most)
		d.fakes[0].err = failure(class, 0)
		limit := rowOf(class).retry.most
		for i, want := 0, first; i < 20; i, want = i+1, min(2*want, limit) {
			d.next()
			if wait := d.endpoints[0].notBefore.Sub(d.now); wait < want-1 || wait > want+5*time.Minute && want > time.Minute || want <= time.Minute && wait > want {
				t.Errorf("%v: after %d failures a wait of %v, want %v", class, i+1, wait, want)
			}
		}
	}
}

// TestRefusedTokenWaitsForAnother: an endpoint that refuses the token is not asked again soon,
// though it says Retry-After.
func TestRefusedTokenWaitsForAnother(t *testing.T) {
	d := newDriver(t, 1, least)
	d.failed(d.endpoints[0], failure(qrypt.ErrUnauthorized, 5*time.Second), start)
	if at := d.endpoints[0].notBefore; at.Before(start.Add(time.Hour)) {
		t.Errorf("it is asked again after %v", at.Sub(start))
	}
}

// A plan has all fields that decide when an endpoint is asked.
type plan struct {
	notBefore, heldUntil, returnAt, tokenAt time.Time
	batch                                   int
	retry                                   *retry
	fails                                   map[*retry]int
}

func planOf(e *endpoint) plan {
	return plan{e.notBefore, e.heldUntil, e.returnAt, e.tokenAt, e.batch, e.retry, maps.Clone(e.fails)}
}

// TestNoOthersSchedule: an answer of one endpoint does not change the schedule of another,
// after any kind of failure. The exception are two 429: the endpoints may have one limit.
func TestNoOthersSchedule(t *testing.T) {
	for _, before := range append(schedules, schedules[0]) {
		for _, row := range schedules {
			for _, retryAfter := range []time.Duration{0, time.Hour} {
				d := newDriver(t, 2, most)
				theirs := before.classes[0]
				d.fakes[0].err = failure(theirs, 0)
				d.next()
				want := planOf(d.endpoints[0])
				d.fakes[1].err = failure(row.classes[0], retryAfter)
				if i, _ := d.next(); i != 1 {
					t.Fatalf("endpoint %d was asked", i)
				}
				got := planOf(d.endpoints[0])
				if theirs == qrypt.ErrRateLimited && row.classes[0] == qrypt.ErrRateLimited {
					if got.notBefore.Before(want.notBefore) || got.notBefore.Sub(d.now) > RateWindow+2*shortFrame {
						t.Errorf("after two 429, the second with Retry-After %v, the first is asked in %v", retryAfter, got.notBefore.Sub(d.now))
					}
					got.notBefore = want.notBefore
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%v of another, Retry-After %v: after %v %+v, and before that %+v", row.classes[0], retryAfter, theirs, got, want)
				}
			}
		}
	}
}

// TestToken: a refused token is compared with the current one every 15 to 45 s, and
// at once for somebody who waits. The same one changes nothing, another one is tried
// at once. After a failure of another kind, nothing waits for a token.
func TestToken(t *testing.T) {
	for _, random := range []func(time.Duration) time.Duration{least, most} {
		d := newDriver(t, 1, random)
		e := d.endpoints[0]
		d.fakes[0].err = failure(qrypt.ErrUnauthorized, 0)
		d.next()
		probe := e.notBefore
		for i := range 5 {
			act, request := d.Next(8, d.now)
			if wait := act.Sub(d.now); i < 4 && (wait < TokenInterval/2 || wait > TokenInterval*3/2) || !request.Equal(probe) {
				t.Errorf("after a 401 the token is looked at in %v, and the next request is due at %v, want %v", act.Sub(d.now), request, probe)
			}
			if d.now = act.Add(-1); d.endpoints[0].state != idle {
				t.Fatal("a request is under way")
			}
			if d.Act(t.Context(), 8, d.now); e.state != idle {
				t.Error("the token is looked at before it is time")
			}
			d.now = act
			if i == 3 { // somebody waits
				if d.now = act.Add(-TokenInterval / 4); !d.SkipWaits(d.now) {
					t.Error("nothing is tried for somebody who waits")
				}
			}
			d.fakes[0].fresh = i == 4
			d.Act(t.Context(), 8, d.now)
			if e.state != checking {
				t.Fatalf("the token is not looked at: %v", e.state)
			}
			if act, request := d.Next(8, d.now); !act.Equal(d.now.Add(HangLimit)) || !request.Equal(probe) || d.held(d.now, false) {
				t.Errorf("while the token is looked at there is something to do at %v, want when it hangs, and the next request is due at %v, want %v; nothing is tried: %v", act, request, probe, d.held(d.now, false))
			}
			o := d.Handle(<-d.Answers(), d.now)
			if o.Held == d.fakes[0].fresh || o.Number != 0 || o.Err != nil {
				t.Errorf("another token %v: %+v", d.fakes[0].fresh, o)
			}
		}
		if _, request := d.Next(8, d.now); request.After(d.now) || !e.tokenAt.IsZero() || len(d.fakes[0].asked) != 1 {
			t.Errorf("a new token is tried in %v", request.Sub(d.now))
		}
		d.fakes[0].fresh = false
		d.next() // it is refused, too
		d.fakes[0].err = failure(qrypt.ErrServer, 0)
		d.next() // the probe an hour later
		if act, _ := d.Next(8, d.now); !e.tokenAt.IsZero() || act.Sub(d.now) >= time.Second {
			t.Error("after a 500 a token is waited for")
		}
	}
}

// TestPreference: the first endpoint is asked while it answers. When it fails, the next one
// is asked, at our own pace. The first is tried again 2 to 4 min after its failure, if its
// schedule allows that and nobody waits for a block.
func TestPreference(t *testing.T) {
	for _, random := range []func(time.Duration) time.Duration{least, most} {
		d := newDriver(t, 3, random)
		expect := func(want int) {
			t.Helper()
			if got, _ := d.next(); got != want {
				t.Fatalf("endpoint %d was asked, want %d", got, want)
			}
		}
		expect(0)
		d.SkipWaits(d.now)
		expect(0)
		d.fakes[0].err, d.fakes[1].err = failure(qrypt.ErrServer, 0), failure(qrypt.ErrServer, 5*time.Minute)
		expect(0)
		began := d.now
		for _, want := range []int{1, 2, 2, 2} {
			before := d.now
			expect(want)
			if d.now.Sub(before) > time.Second {
				t.Errorf("endpoint %d was asked %v after the one before it failed", want, d.now.Sub(before))
			}
		}
		d.now = began.Add(2*time.Minute - 1)
		expect(2)
		if random(2) == 1 {
			d.now = began.Add(4*time.Minute - 2)
			expect(2)
		}
		d.now = began.Add(4 * time.Minute)
		d.SkipWaits(d.now)
		expect(2)
		expect(0) // since nobody waits any more; it fails again
		again := d.now
		d.fakes[0].err, d.fakes[1].err = nil, nil
		d.now = began.Add(5*time.Minute + 32*time.Second) // by when the second wanted to be asked again
		expect(1)
		d.now = again.Add(4 * time.Minute)
		expect(0)
		expect(0)
	}
	// An endpoint that failed is not tried again before one that answers and is preferred.
	d := newDriver(t, 2, least)
	d.fakes[0].err, d.fakes[1].err = failure(qrypt.ErrServer, 0), failure(qrypt.ErrServer, 0)
	d.next()
	d.next()
	d.fakes[0].err = nil
	d.next()
	d.now = d.now.Add(10 * time.Minute)
	if got, _ := d.next(); got != 0 {
		t.Errorf("endpoint %d was asked, want the first, which answers", got)
	}
	// Where none answers, they are asked in turn as soon as each may be.
	d = newDriver(t, 3, least)
	for _, f := range d.fakes {
		f.err = failure(qrypt.ErrServer, 0)
	}
	for i := range 12 {
		if got, _ := d.next(); got != i%3 {
			t.Fatalf("request %d went to endpoint %d", i, got)
		}
	}
}

// TestSkippedWaitsAreTriedOnce: who skips the waits of two endpoints sees each of them fail
// once more. Then nothing is tried without a wait, even where that is over already.
func TestSkippedWaitsAreTriedOnce(t *testing.T) {
	for name, random := range map[string]func(time.Duration) time.Duration{"waits that are over": least, "waits that are not": most} {
		d := newDriver(t, 2, random)
		for _, f := range d.fakes {
			f.err = failure(qrypt.ErrNoSupply, 0)
		}
		d.next()
		d.next()
		if !d.SkipWaits(d.now) {
			t.Fatalf("%s: none is skipped", name)
		}
		first, o := d.next()
		if o.Held {
			t.Errorf("%s: the second endpoint is not tried", name)
		}
		if second, o := d.next(); second == first || !o.Held {
			t.Errorf("%s: endpoints %d and %d are asked, held %v", name, first, second, o.Held)
		}
	}
}

// TestNewTokenIsTried: while one endpoint is asked, there is a new token for another. The
// failure of the first does not mean that nothing is tried.
func TestNewTokenIsTried(t *testing.T) {
	d := newDriver(t, 2, least)
	d.fakes[0].err, d.fakes[1].err = failure(qrypt.ErrUnauthorized, 0), failure(qrypt.ErrNoSupply, 0)
	d.next()
	d.next()
	d.fakes[1].calls = make(chan call, 1)
	d.now = d.endpoints[0].tokenAt.Add(-1)
	d.Act(t.Context(), 8, d.now)
	under := <-d.fakes[1].calls
	d.fakes[0].fresh = true
	d.now = d.now.Add(1)
	d.Act(t.Context(), 8, d.now)
	d.Handle(<-d.Answers(), d.now)
	under.end <- failure(qrypt.ErrNoSupply, 0)
	if o := d.Handle(<-d.Answers(), d.now); o.Err == nil || o.Held {
		t.Errorf("a new token is not tried: %+v", o)
	}
}

// TestHopeless: a token function that failed may succeed the next time. It is hopeless to
// wait only when it has been called again and there is still no token.
func TestHopeless(t *testing.T) {
	d := newDriver(t, 1, least)
	f := d.fakes[0]
	noToken := failure(qrypt.ErrNoToken, 0)
	fails := func(when string, err error) {
		t.Helper()
		f.err = err
		if _, o := d.next(); o.Hopeless {
			t.Errorf("hopeless %s", when)
		}
	}
	compare := func(when string, want bool) {
		t.Helper()
		d.now = d.endpoints[0].tokenAt
		d.Act(t.Context(), 8, d.now)
		if o := d.Handle(<-d.Answers(), d.now); o.Number != 0 || o.Hopeless != want {
			t.Errorf("hopeless %v %s: %+v", o.Hopeless, when, o)
		}
	}
	fails("at first", noToken)
	compare("when there is still no token", true)
	f.fresh = true
	compare("when there is a token", false)
	f.fresh = false
	fails("when the new token cannot be read", noToken)
	compare("when there is still none", true)
	fails("after another failure", failure(qrypt.ErrNoSupply, 0))
	fails("when the token is missing again", noToken)
}

// TestSkipWaits: it is enough that the wait of one endpoint may be skipped. Where nothing
// failed, or a request is under way, something is tried anyway.
func TestSkipWaits(t *testing.T) {
	ours, theirs := failure(qrypt.ErrServer, 0), failure(qrypt.ErrBadRequest, 0)
	for _, test := range []struct {
		first, second error
		want          bool
	}{{ours, theirs, true}, {theirs, ours, true}, {theirs, theirs, false}, {nil, nil, true}} {
		d := newDriver(t, 2, most)
		d.fakes[0].err, d.fakes[1].err = test.first, test.second
		d.next()
		d.next()
		if got := d.SkipWaits(d.now); got != test.want {
			t.Errorf("after %v and %v, SkipWaits returns %v", test.first, test.second, got)
		}
		if d.now = d.now.Add(time.Second); test.want {
			if d.Act(t.Context(), 8, d.now); !d.busy(d.now) || !d.SkipWaits(d.now) {
				t.Errorf("after %v and %v nothing is tried at once", test.first, test.second)
			}
			d.Handle(<-d.Answers(), d.now)
		}
	}
}

// TestIsNil: a nil is recognised in an interface of any kind, and nothing else is.
func TestIsNil(t *testing.T) {
	var (
		none   io.Reader
		buffer *bytes.Buffer
		reader io.Reader = buffer
	)
	for name, v := range map[string]any{
		"nil":                        nil,
		"interface":                  none,
		"pointer":                    buffer,
		"pointer in an interface":    reader,
		"func":                       (func())(nil),
		"map":                        map[string]int(nil),
		"chan":                       (chan int)(nil),
		"slice":                      []byte(nil),
		"pointer to a pointer, none": (**int)(nil),
	} {
		if !isNil(v) {
			t.Errorf("a nil %s is not recognised", name)
		}
	}
	var inner *int
	for name, v := range map[string]any{
		"pointer":                new(bytes.Buffer),
		"func":                   func() {},
		"map":                    map[string]int{},
		"chan":                   make(chan int),
		"slice":                  []byte{},
		"pointer to a nil":       &inner,
		"struct":                 struct{}{},
		"struct with a nil":      struct{ r io.Reader }{},
		"number":                 0,
		"text":                   "",
		"array of nil pointers":  [1]*int{},
		"pointer to a nil slice": new([]byte),
	} {
		if isNil(v) {
			t.Errorf("a %s is taken for nil", name)
		}
	}
}
