package supply

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/qrand/internal/health"
	"example.com/qrand/qrypt"
)

// TestInspect: an answer with one bad block is refused and wiped as a whole, and none of its
// blocks is accepted if it comes again.
func TestInspect(t *testing.T) {
	block := func(spoil ...byte) qrypt.Block { return newBlock(t, qrypt.Origin{Received: start}, spoil...) }
	stuck := make([]byte, 6)
	old := newBlock(t, qrypt.Origin{Received: start.Add(-time.Minute - 1)})
	aging := newBlock(t, qrypt.Origin{Received: start.Add(-time.Minute)})
	emulated := newBlock(t, qrypt.Origin{Received: start, Emulated: true})
	known, twice := block(), block()
	for _, test := range []struct {
		name   string
		blocks []qrypt.Block
		want   error
	}{
		{"as many as asked for", []qrypt.Block{block(), block()}, nil},
		{"fewer", []qrypt.Block{block()}, nil},
		{"as old as may be", []qrypt.Block{block(), aging}, nil},
		{"none", nil, ErrBlockCount},
		{"too many", []qrypt.Block{block(), block(), block()}, ErrBlockCount},
		{"an empty one", []qrypt.Block{block(), {}}, ErrBlockCount},
		{"a stuck one", []qrypt.Block{block(stuck...), block()}, health.ErrUnhealthy},
		{"a stuck one behind", []qrypt.Block{block(), block(stuck...)}, health.ErrUnhealthy},
		{"one from before", []qrypt.Block{block(), known}, health.ErrRepeated},
		{"one twice", []qrypt.Block{twice, twice}, health.ErrRepeated},
		{"too old", []qrypt.Block{block(), old}, ErrTooOld},
		{"emulated", []qrypt.Block{block(), emulated}, ErrEmulated},
	} {
		memory := health.NewMemory(make([]byte, 32), health.Remembered)
		memory.Add(known.Bytes())
		var under context.Context
		source := &fake{blocks: func(ctx context.Context, _ int) ([]qrypt.Block, error) {
			under = ctx
			return test.blocks, nil
		}}
		s := New(Config{Source: source, Memory: memory, MaxBlocks: 2, MaxAge: time.Minute, RefuseEmulated: true})
		var copies []qrypt.Block
		for _, b := range test.blocks {
			if b.Bytes() != nil {
				again, _ := qrypt.NewBlock(b.Bytes(), b.Origin())
				copies = append(copies, again)
			}
		}
		s.Act(t.Context(), 2, start)
		o := s.Handle(<-s.Answers(), start)
		if under.Err() == nil {
			t.Errorf("%s: the context of the request is not released", test.name)
		}
		if !errors.Is(o.Err, test.want) || test.want == nil && o.Err != nil {
			t.Errorf("%s: %v, want %v", test.name, o.Err, test.want)
		}
		if o.Err == nil {
			if !slices.Equal(o.Blocks, test.blocks) || o.Refused != 0 || slices.ContainsFunc(o.Blocks, wiped) {
				t.Errorf("%s: %d of %d blocks, %d refused", test.name, len(o.Blocks), len(test.blocks), o.Refused)
			}
			continue
		}
		if o.Blocks != nil || o.Refused != len(test.blocks) || slices.ContainsFunc(test.blocks, func(b qrypt.Block) bool { return !wiped(b) }) {
			t.Errorf("%s: %d of %d blocks refused, or not all are wiped", test.name, o.Refused, len(test.blocks))
		}
		for _, again := range copies {
			if test.want != ErrBlockCount && memory.Add(again.Bytes()) == nil {
				t.Errorf("%s: a block of it would be taken next time", test.name)
			}
		}
	}
	// Without MaxAge and RefuseEmulated, such blocks are accepted.
	s := New(Config{Source: &fake{}, Memory: health.NewMemory(make([]byte, 32), health.Remembered), MaxBlocks: 2})
	ancient := newBlock(t, qrypt.Origin{Received: start.Add(-1000 * time.Hour), Emulated: true})
	if err := s.inspect([]qrypt.Block{ancient}, 2, start); err != nil {
		t.Errorf("an old, emulated block: %v", err)
	}
}

// TestCheck: a nil is found at any place, and nothing else is refused.
func TestCheck(t *testing.T) {
	good := &fake{}
	for _, test := range []struct {
		name   string
		source BlockSource
		ok     bool
	}{
		{"one", good, true},
		{"of preference", Preferred{good, good}, true},
		{"nested", Preferred{good, Preferred{Preferred{good}, good}}, true},
		{"nil", nil, false},
		{"a nil pointer", (*plain)(nil), false},
		{"a nil Client", (*qrypt.Client)(nil), false},
		{"no preference", Preferred(nil), false},
		{"empty", Preferred{}, false},
		{"a nil behind", Preferred{good, nil}, false},
		{"a nil pointer behind", Preferred{good, (*plain)(nil)}, false},
		{"an empty one nested", Preferred{good, Preferred{Preferred{}, good}}, false},
		{"a nil nested", Preferred{good, Preferred{good, Preferred{nil}}}, false},
	} {
		if err := Check(test.source); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// TestEndpoints: each endpoint of a Client has a schedule, and so has each other source,
// which need not have a name or a token.
func TestEndpoints(t *testing.T) {
	client := func(endpoints ...string) *qrypt.Client {
		c, err := qrypt.New(qrypt.Config{Endpoints: endpoints, Token: qrypt.StaticToken("a token")})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	other := &plain{failure(qrypt.ErrUnauthorized, 0)}
	source := Preferred{client("https://a.example", "https://b.example"), Preferred{other, client("https://c.example")}}
	s := New(Config{Source: source, MaxBlocks: 8})
	if got := s.Endpoints(); len(s.endpoints) != 4 || s.endpoints[2].source != other || !slices.Equal(got, []string{"https://a.example", "https://b.example", "https://c.example"}) {
		t.Errorf("%d endpoints, among them %q", len(s.endpoints), got)
	}
	for i, e := range s.endpoints {
		if c, ok := e.source.(*qrypt.Client); i != 2 && (!ok || !slices.Equal(c.Endpoints(), []string{e.name})) {
			t.Errorf("%s would ask %v", e.name, e.source)
		}
	}
	if _, err := (Preferred{other, nil}).Blocks(t.Context(), 1); err != other.err {
		t.Errorf("a Preferred that is asked itself returns %v, want what its first one does", err)
	}

	s = New(Config{Source: &qrypt.Client{}, MaxBlocks: 8})
	s.Act(t.Context(), 1, start)
	if o := s.Handle(<-s.Answers(), start); o.Err == nil {
		t.Error("a zero Client is no failure")
	}

	s = New(Config{Source: other, MaxBlocks: 8, Random: least})
	s.Act(t.Context(), 1, start)
	s.Handle(<-s.Answers(), start)
	s.Act(t.Context(), 1, start.Add(TokenInterval)) // the token is looked at
	if o := s.Handle(<-s.Answers(), start.Add(TokenInterval)); !o.Held {
		t.Error("a source without a token has another one now")
	}
}

// TestNilError: a source may return a nil Error in an error that is not nil.
func TestNilError(t *testing.T) {
	s := New(Config{Source: plain{(*qrypt.Error)(nil)}, MaxBlocks: 8})
	s.Act(t.Context(), 1, start)
	if o := s.Handle(<-s.Answers(), start); o.Err == nil || o.Reason != unknown.Reason {
		t.Errorf("%+v", o)
	}
}

// TestJitter: the random parts come from all of [0, d) or of [d/2, 3d/2), and are zero if d
// is not positive.
func TestJitter(t *testing.T) {
	var d jitter
	for _, none := range []time.Duration{0, -1, -time.Hour} {
		if got := d.upTo(none); got != 0 {
			t.Errorf("up to %v: %v", none, got)
		}
	}
	for name, draw := range map[string]func() time.Duration{
		"up to":  func() time.Duration { return d.upTo(time.Minute) },
		"around": func() time.Duration { return d.around(time.Minute) - time.Minute/2 },
	} {
		low, high := time.Hour, -time.Hour
		for range 1000 {
			got := draw()
			low, high = min(low, got), max(high, got)
		}
		if low < 0 || low > 3*time.Second || high < 57*time.Second || high >= time.Minute {
			t.Errorf("%s: of 1000 draws the least is %v, the most %v", name, low, high)
		}
	}
}

// TestOutcomes: what the user hears of each request in an outage of two endpoints.
func TestOutcomes(t *testing.T) {
	d := newDriver(t, 2, most)
	first, second, third := failure(qrypt.ErrServer, 0), failure(qrypt.ErrUnauthorized, 0), failure(qrypt.ErrUnauthorized, 0)
	tell := func(what string, endpoint int, want Outcome) {
		t.Helper()
		got, o := d.next()
		if got != endpoint {
			t.Fatalf("%s: endpoint %d was asked", what, got)
		}
		if want.Reason != "" {
			want.Err = d.fakes[got].err
		}
		if want.Err == nil {
			want.Next = d.now.Add(d.pace.spacing())
		} else {
			_, want.Next = d.Next(8, d.now)
		}
		want.Number, want.Blocks, o.Blocks = d.Begun(), nil, nil
		if !reflect.DeepEqual(o, want) {
			t.Errorf("%s: it is told that %+v, want %+v", what, o, want)
		}
	}
	d.fakes[0].err, d.fakes[1].err = first, second
	tell("one fails, the other is asked at once", 0, Outcome{Reason: "server_error", Sent: true})
	if d.Failing() || d.Err() != first {
		t.Errorf("failing %v, because %v", d.Failing(), d.Err())
	}
	tell("both fail", 1, Outcome{Reason: "unauthorized", Sent: true, Held: true, Degraded: true, Warn: true})
	if err := d.Err(); !d.Failing() || !errors.Is(err, first) || !errors.Is(err, second) || !strings.Contains(err.Error(), "; ") {
		t.Errorf("failing %v, because of %v, want of both", d.Failing(), err)
	}
	tell("another reason", 0, Outcome{Reason: "server_error", Sent: true, Held: true, Degraded: true, Warn: true})
	d.fakes[0].err = third
	tell("a reason that was told", 0, Outcome{Reason: "unauthorized", Sent: true, Held: true, Degraded: true, NoToken: true, Hopeless: true})
	if err := d.Err(); !errors.Is(err, third) || errors.Is(err, first) {
		t.Errorf("because of %v, want the last failures", err)
	}
	d.fakes[1].err = failure(qrypt.ErrNoToken, 0)
	tell("no request", 1, Outcome{Reason: NoToken, Held: true, Degraded: true, NoToken: true, Hopeless: true, Warn: true})

	// One block is asked for to see the end of an outage, though nobody wants it.
	_, d.now = d.Next(0, d.now)
	d.fakes[0].err = nil
	_, o := d.act(0)
	if asked := d.fakes[0].asked; len(o.Blocks) != 1 || !o.Recovered || !o.Sent || o.Moved || asked[len(asked)-1] != 1 || !d.Answered().Equal(d.now) {
		t.Errorf("the end of the outage: asked for %v, %+v", asked, o)
	}
	d.now = d.now.Add(time.Minute)
	if act, request := d.Next(0, d.now); !act.IsZero() || !request.IsZero() {
		t.Errorf("nobody wants a block, and there is something to do at %v, a request at %v", act, request)
	}
	if endpoint, _ := d.act(0); endpoint >= 0 {
		t.Error("a request that nobody wants")
	}

	// Another outage soon after: its end is reported when the service has answered for a while.
	d.fakes[0].err = first
	tell("so soon after", 0, Outcome{Reason: "server_error", Sent: true, Held: true, Degraded: true, Warn: true, Again: true})
	d.fakes[0].err = nil
	tell("it answers", 0, Outcome{Sent: true})
	act, _ := d.Next(0, d.now)
	if act.Sub(d.now) != quietTime {
		t.Errorf("the end of the outage is told in %v, want %v", act.Sub(d.now), quietTime)
	}
	if o := d.Act(t.Context(), 0, act.Add(-1)); o.Recovered {
		t.Error("the end of the outage is told too soon")
	}
	if o := d.Act(t.Context(), 0, act); !o.Recovered || d.Act(t.Context(), 0, act).Recovered {
		t.Error("the end of the outage is not told, or twice")
	}
}

// TestMoved: the log says at most every ten minutes where blocks come from. In the end, what
// it said last is true.
func TestMoved(t *testing.T) {
	d := newDriver(t, 2, least)
	told, lines, last := -1, 0, 0
	for minute := range 120 {
		d.now = start.Add(time.Duration(minute) * time.Minute)
		d.fakes[0].err = nil
		if minute > 2 && minute < 20 && minute%4 == 0 || minute == 60 {
			d.fakes[0].err = failure(qrypt.ErrServer, 0)
		}
		from, o := d.next()
		if o.Err != nil {
			from, o = d.next()
		}
		if told < 0 {
			told = from
		}
		if o.Moved {
			if lines > 0 && minute-last < 10 {
				t.Errorf("lines in minute %d and %d", last, minute)
			}
			told, lines, last = from, lines+1, minute
		}
		if (minute < 4 || minute == 4 && told != 1 || minute > 35 && minute < 60 || minute > 75) && (from != 0 || told != 0) {
			t.Errorf("minute %d: blocks come from endpoint %d, and what was told is %d", minute, from, told)
		}
	}
	if lines < 2 || lines > 6 {
		t.Errorf("%d lines", lines)
	}
}

// TestRetry: when a person says that the cause is gone, each endpoint that failed is asked at
// once, whatever it asked for. Those that answer, or are being asked, are left alone.
func TestRetry(t *testing.T) {
	d := newDriver(t, 4, least)
	for i, err := range []error{failure(qrypt.ErrUnauthorized, 0), failure(qrypt.ErrQuota, 5*time.Hour), failure(qrypt.ErrRateLimited, 10*time.Minute)} {
		e := d.endpoints[i]
		d.failed(e, err, start)
		if e.notBefore.Before(start.Add(10 * time.Minute)) {
			t.Fatalf("%v is waited out until %v", err, e.notBefore)
		}
	}
	d.endpoints[2].state = asking
	now := start.Add(time.Minute)
	before := [4]time.Time{2: d.endpoints[2].notBefore, 3: d.endpoints[3].notBefore}
	d.Retry(now)
	for i, e := range d.endpoints {
		switch untouched := e.notBefore == before[i] && !e.retryNow; {
		case i < 2 && (e.dueAt(true) != now || e.dueAt(false) != now || !e.heldUntil.IsZero() || !e.retryNow):
			t.Errorf("endpoint %d is due at %v, held until %v", i, e.dueAt(true), e.heldUntil)
		case i >= 2 && !untouched:
			t.Errorf("endpoint %d was touched: due at %v", i, e.notBefore)
		}
	}
}

// TestRateLimited: what counts is the endpoint that would be asked now: the first that
// answers, or the first one if none does.
func TestRateLimited(t *testing.T) {
	d := newDriver(t, 2, least)
	a, b := d.endpoints[0], d.endpoints[1]
	a.limit.last = start
	limited := func(when string, want bool) {
		t.Helper()
		if d.RateLimited(start.Add(time.Minute)) != want {
			t.Errorf("%s it is %v that a 429 came lately", when, !want)
		}
	}
	limited("while both answer", true)
	d.failed(a, failure(qrypt.ErrNetwork, 0), start)
	limited("while only the other one answers", false)
	d.failed(b, failure(qrypt.ErrNetwork, 0), start)
	limited("while none answers", true)
}

// TestPatience: a request to an endpoint that failed delays one to an endpoint that answers
// by 5 s and no more, even if it hangs.
func TestPatience(t *testing.T) {
	d := newDriver(t, 2, least)
	d.fakes[0].err = failure(qrypt.ErrNetwork, 0)
	for range 2 { // it fails, and then the other one answers
		d.next()
	}
	d.fakes[0].calls = make(chan call, 1)
	d.now = d.endpoints[0].returnAt
	d.Act(t.Context(), 8, d.now)
	hanging := <-d.fakes[0].calls
	asked := len(d.fakes[1].asked)
	act, request := d.Next(8, d.now)
	if want := d.now.Add(5 * time.Second); act != want || !request.IsZero() {
		t.Errorf("there is something to do at %v, want %v; a request at %v, want none", act, want, request)
	}
	d.now = d.now.Add(5*time.Second - 1)
	if d.Act(t.Context(), 8, d.now); d.endpoints[1].state != idle {
		t.Error("the one that answers is asked too soon")
	}
	d.now = d.now.Add(1)
	if _, request = d.Next(8, d.now); request.IsZero() || request.After(d.now) {
		t.Errorf("a request is due at %v, want %v", request, d.now)
	}
	d.Act(t.Context(), 8, d.now)
	answer := <-d.Answers()
	if d.Handle(answer, d.now); len(d.fakes[1].asked) != asked+1 {
		t.Error("the one that answers is not asked")
	}
	if act, _ := d.Next(8, d.now); act != d.soonest() {
		t.Errorf("there is something to do at %v, want %v", act, d.soonest())
	}
	hanging.end <- failure(qrypt.ErrNetwork, 0)
	d.Handle(<-d.Answers(), d.now)
}

// TestOneAtATime: where no endpoint answers, they are asked one after the other, and no request
// is told of while one is under way.
func TestOneAtATime(t *testing.T) {
	d := newDriver(t, 2, least)
	a, b := d.endpoints[0], d.endpoints[1]
	d.failed(a, failure(qrypt.ErrNetwork, 0), start)
	d.failed(b, failure(qrypt.ErrNetwork, 0), start)
	a.state, a.asked, a.cancel = asking, start, func() {}
	d.Act(t.Context(), 8, start.Add(2*patience))
	if _, request := d.Next(8, start.Add(2*patience)); b.state != idle || !request.IsZero() {
		t.Errorf("while one is asked, the other one is asked, too, or due at %v", request)
	}
	b.state, b.asked = checking, start
	if _, request := d.Next(8, start.Add(2*patience)); !request.IsZero() {
		t.Errorf("while one is asked, and the token of the other one compared, a request is due at %v", request)
	}
}

// TestHeldAfterAComparison: after a comparison of tokens nothing is held while another endpoint
// is due, though it failed.
func TestHeldAfterAComparison(t *testing.T) {
	d := newDriver(t, 2, least)
	d.failed(d.endpoints[0], failure(qrypt.ErrUnauthorized, 0), start)
	d.failed(d.endpoints[1], failure(qrypt.ErrNetwork, 0), start)
	for wait, held := range map[time.Duration]bool{0: false, time.Minute: true} {
		now := start.Add(time.Hour / 2)
		d.endpoints[1].notBefore = now.Add(wait)
		if o := d.Handle(Answer{from: d.endpoints[0]}, now); o.Held != held {
			t.Errorf("another endpoint is due in %v, and Held is %v", wait, o.Held)
		}
	}
}
