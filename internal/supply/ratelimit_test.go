package supply

import (
	mathrand "math/rand/v2"
	"testing"
	"time"

	"example.com/qrand/qrypt"
)

func near(a, b time.Duration) bool { return (a - b).Abs() < time.Millisecond }

// TestPace: after a 429 requests are a fifth less frequent, but never less than one in a
// window. Soon they are nearly as frequent as before, and stay so for half a minute. If
// nobody else asks, the whole limit is used within three minutes.
func TestPace(t *testing.T) {
	p := pace{rate: RateLimit}
	after := func(d time.Duration) float64 { // the rate when all requests have been answered for so long
		for ; d > 0; d -= p.spacing() {
			p.answered()
		}
		return p.rate
	}
	within := func(what string, low, high float64) {
		t.Helper()
		if p.rate < low || p.rate > high || !near(p.spacing(), time.Duration(1.01*float64(RateWindow)/p.rate)) {
			t.Errorf("%s %.2f requests in a window, with %v between them; want %v to %v", what, p.rate, p.spacing(), low, high)
		}
	}
	within("at first", RateLimit, RateLimit)
	p.rate = 15
	p.refused()
	within("after a 429 at 15", 11.5, 12.5)
	after(5 * time.Second)
	within("5 s later", 13.5, 14.5)
	after(25 * time.Second)
	within("30 s later", 13.5, 15)
	after(150 * time.Second)
	within("3 min later", RateLimit, RateLimit)
	for range 100 {
		p.refused()
	}
	within("after 100 times 429", 1, 1.01)
	after(3 * time.Minute)
	within("3 min later", RateLimit, RateLimit)

	// A Supply keeps the pace: 429s and answers change it, and no window has more requests than are allowed.
	d := newDriver(t, 1, least)
	d.fakes[0].err = failure(qrypt.ErrRateLimited, 0)
	if d.next(); d.pace.rate > RateLimit*0.9 || d.endpoints[0].limit.began != d.now {
		t.Errorf("after a 429 %v in a window", d.pace.rate)
	}
	d.fakes[0].err = nil
	refused := d.pace.rate
	if d.next(); d.pace.rate <= refused || !d.endpoints[0].limit.began.IsZero() {
		t.Errorf("after an answer %v in a window", d.pace.rate)
	}
	d = newDriver(t, 2, least)
	var times []time.Time
	for i := range 100 {
		_, o := d.next()
		times = append(times, d.now)
		if o.Next != d.now.Add(d.pace.spacing()) {
			t.Fatalf("the next request is told for %v, at %v", o.Next, d.now)
		}
		if i >= RateLimit && times[i].Sub(times[i-RateLimit]) <= RateWindow {
			t.Fatalf("31 requests in %v", times[i].Sub(times[i-RateLimit]))
		}
	}
}

// frames are what the comment on sharedLimit promises, in seconds: short ones first, then
// longer and longer ones. Each is followed by two of a quarter and a sixteenth of it, but
// none is shorter than the short ones.
var frames = []int{20, 20, 20, 20, 20, 20, 40, 160, 40, 20, 320, 80, 20, 640, 160, 40, 1280, 320, 80, 1280, 320, 80, 1280, 320, 80}

// TestFrames: the frames follow each other without a gap, and a process that is refused in
// one waits for the next.
func TestFrames(t *testing.T) {
	var begin time.Duration
	for i, seconds := range frames[:len(frames)-1] {
		end := begin + time.Duration(seconds)*time.Second
		after := end + time.Duration(frames[i+1])*time.Second
		for _, refused := range []time.Duration{begin, begin + 1, (begin + end) / 2, end - 1} {
			if from, to := nextFrame(refused); from != end || to != after {
				t.Errorf("refused in frame %d at %v, the next is %v to %v, want %v to %v", i, refused, from, to, end, after)
			}
		}
		begin = end
	}
}

// TestTurns: a process that is refused again and again asks once in each frame, at any time
// of that, but never in the window in which it was refused. It does not ask once for each
// of its endpoints: those take turns.
func TestTurns(t *testing.T) {
	for _, endpoints := range []int{1, 3} {
		random := mathrand.New(mathrand.NewPCG(1, uint64(endpoints)))
		early, late := false, false
		for range 300 {
			d := newDriver(t, endpoints, func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) })
			for i, f := range d.fakes { // of one client
				f.err = failure(qrypt.ErrRateLimited, 0)
				d.endpoints[i].limit = d.endpoints[0].limit
			}
			for range endpoints { // each finds out for itself
				d.next()
			}
			since := d.endpoints[0].limit.since
			end := d.now.Sub(since)
			last := d.now
			for turn := range 20 {
				_, request := d.Next(8, d.now)
				from, to := nextFrame(end)
				at := request.Sub(since)
				if turn == 0 { // the first wait is the first short frame's, after the window
					from, to = time.Second, RateWindow+time.Duration(endpoints)*shortFrame
				}
				if at < from || at > max(to, from+shortFrame+RateWindow) || request.Sub(last) < time.Second {
					t.Fatalf("%d endpoints: refused at %v, the next request is at %v, want %v to %v", endpoints, end, at, from, to)
				}
				if to-from > 10*shortFrame {
					early, late = early || at < from+(to-from)/5, late || at > to-(to-from)/5
				}
				d.next()
				last, end = d.now, d.now.Sub(since)
			}
			for i, f := range d.fakes {
				if n, all := len(f.asked), 20+endpoints; n < all/endpoints-1 || n > all/endpoints+1 {
					t.Fatalf("of %d requests endpoint %d got %d", all, i, n)
				}
			}
		}
		if !early || !late {
			t.Errorf("%d endpoints: the long frames are not used from begin to end", endpoints)
		}
	}
}

// TestPlaceIsKept: a process that was answered within the last window, and is refused once,
// slows down and asks again soon. Refused again, it lets a short frame pass, as does one that
// was answered longer ago.
func TestPlaceIsKept(t *testing.T) {
	const asked = 3 * time.Second
	for _, random := range []func(time.Duration) time.Duration{least, most} {
		d := newDriver(t, 1, random)
		e, now := d.endpoints[0], start
		refused := func(after time.Duration) (wait time.Duration) {
			now = now.Add(after)
			err := failure(qrypt.ErrRateLimited, asked)
			d.refused(e, rowOf(err), err, now)
			return e.notBefore.Sub(now)
		}
		soon := func() time.Duration { return asked + random(2*d.pace.spacing()) }
		frame := asked + random(shortFrame)
		for i, step := range []struct {
			answered bool
			after    time.Duration
			want     func() time.Duration
		}{
			{true, RateWindow - 1, soon},
			{false, asked, func() time.Duration { return frame }},
			{true, RateWindow, func() time.Duration { return frame }},
		} {
			if step.answered {
				e.limit.answered(now)
			}
			if got, want := refused(step.after), step.want(); !near(got, want) {
				t.Errorf("refusal %d: the next request is due in %v, want %v", i+1, got, want)
			}
			if e.limit.last != now {
				t.Errorf("refusal %d: the Supply knows of none at %v", i+1, now)
			}
		}
	}
}

// TestJoins: an endpoint that answers 429 while another one of its client does waits for the
// other one's turn, if that comes soon in a streak that is young. Any other one may have a
// limit of its own. It waits as it was asked to, and for itself.
func TestJoins(t *testing.T) {
	const asked = 3 * time.Second
	for name, test := range map[string]struct {
		change   func(a, b *endpoint)
		after    time.Duration // from the first 429 of a to that of b
		together bool
	}{
		"at once":                       {func(a, b *endpoint) {}, time.Second, true},
		"as the first short frames end": {func(a, b *endpoint) { a.notBefore = start.Add(2 * time.Minute) }, 2*time.Minute - 1, true},
		"in an old streak":              {func(a, b *endpoint) { a.notBefore = start.Add(2*time.Minute + 1) }, 2 * time.Minute, false},
		"the turn is just near enough":  {func(a, b *endpoint) { a.notBefore = start.Add(time.Second + asked + shortFrame) }, time.Second, true},
		"the turn is far away":          {func(a, b *endpoint) { a.notBefore = start.Add(time.Second + asked + shortFrame + 1) }, time.Second, false},
		"the turn is now":               {func(a, b *endpoint) { a.notBefore = start.Add(time.Second) }, time.Second, false},
		"the other one asked for more":  {func(a, b *endpoint) { a.heldUntil = start.Add(2 * time.Second) }, time.Second, false},
		"it asked for that long":        {func(a, b *endpoint) { a.heldUntil = start.Add(time.Second) }, time.Second, true},
		"the other one is down now":     {func(a, b *endpoint) { a.retry = &backOff }, time.Second, false},
		"the other one is being asked":  {func(a, b *endpoint) { a.state = asking }, time.Second, false},
		"the other one's 429 is old":    {func(a, b *endpoint) { a.refused = start.Add(-1) }, time.Second, false},
	} {
		d := newDriver(t, 2, most)
		a, b := d.endpoints[0], d.endpoints[1]
		b.limit = a.limit
		err := failure(qrypt.ErrRateLimited, asked)
		d.refused(a, rowOf(err), err, start)
		if want := start.Add(asked + most(shortFrame)); a.notBefore != want {
			t.Fatalf("the first 429 is waited out until %v, want %v", a.notBefore, want)
		}
		test.change(a, b)
		turn, now := a.notBefore, start.Add(test.after)
		d.refused(b, rowOf(err), err, now)
		want := now.Add(asked + most(shortFrame))
		if test.together {
			want = turn
		}
		if b.notBefore != want || a.notBefore != turn {
			t.Errorf("%s: it waits until %v, want %v; the other one until %v, which was %v", name, b.notBefore, want, a.notBefore, turn)
		}
		// A later 429 of a: b waits with it, if it joined its turn.
		now = turn.Add(time.Minute)
		a.state, a.retry, a.refused = idle, &slowDown, start
		d.refused(a, rowOf(err), err, now)
		if waits := b.notBefore == a.notBefore; waits != test.together {
			t.Errorf("%s: after another 429 it waits until %v, the other one until %v", name, b.notBefore, a.notBefore)
		}
	}

	// Another client's limit is another one, whose turn is not waited for.
	d := newDriver(t, 3, most)
	a, b, c := d.endpoints[0], d.endpoints[1], d.endpoints[2]
	c.limit = b.limit
	err := failure(qrypt.ErrRateLimited, asked)
	d.refused(a, rowOf(err), err, start)
	d.refused(b, rowOf(err), err, start.Add(time.Second))
	if turn := b.notBefore; !turn.After(a.notBefore) {
		t.Fatal("the other client's turn must come first")
	} else if d.refused(c, rowOf(err), err, start.Add(2*time.Second)); c.notBefore != turn {
		t.Errorf("it waits until %v, and %v is the turn of its client", c.notBefore, turn)
	}
	// An endpoint that is in the streak does not join it again.
	d.refused(b, rowOf(err), err, start.Add(3*time.Second))
	if c.notBefore != b.notBefore || !b.notBefore.After(start.Add(3*time.Second+asked+shortFrame)) {
		t.Errorf("after a second 429 it waits until %v, the other one until %v", b.notBefore, c.notBefore)
	}
}

// TestStreakIsRemembered: a process that was served, and is soon refused again, goes on
// with a frame of the length that served it. Each answer halves that, and a day of
// refusals counts as 20 minutes.
func TestStreakIsRemembered(t *testing.T) {
	for _, test := range []struct {
		took    time.Duration
		answers int
		want    time.Duration // since the first refusal, as if the streak went on
	}{
		{0, 1, 0},
		{time.Second, 1, time.Second},
		{10 * time.Minute, 1, 10 * time.Minute},
		{10 * time.Minute, 2, 5 * time.Minute},
		{10 * time.Minute, 4, 75 * time.Second},
		{24 * time.Hour, 1, mostMemory},
	} {
		var c sharedLimit
		c.refused(time.Second, start)
		now := start.Add(test.took)
		for range test.answers {
			c.answered(now)
		}
		from, to := c.refused(time.Second, now)
		wantFrom, wantTo := nextFrame(test.want)
		if test.want == 0 {
			wantFrom, wantTo = time.Second, time.Second+shortFrame
		} else {
			wantFrom, wantTo = max(wantFrom-test.want, time.Second), wantTo-test.want
			wantTo = max(wantTo, wantFrom+shortFrame)
		}
		if from.Sub(now) != wantFrom || to.Sub(now) != wantTo {
			t.Errorf("refused for %v, then %d answers: the next wait is %v to %v, want %v to %v", test.took, test.answers, from.Sub(now), to.Sub(now), wantFrom, wantTo)
		}
	}

	s := New(Config{Source: &fake{}})
	s.endpoints[0].limit.refused(time.Second, start)
	if s.RateLimited(start.Add(time.Hour)) || !s.RateLimited(start.Add(time.Hour-1)) || New(Config{Source: &fake{}}).RateLimited(start) {
		t.Error("RateLimited does not mean a 429 in the last hour")
	}
}

// TestWindowLeft: after a 429 without Retry-After, the next request waits until the oldest
// one that still counts is 10 s old.
func TestWindowLeft(t *testing.T) {
	d := newDriver(t, 1, least)
	for range 3 {
		d.next()
		d.now = d.now.Add(4 * time.Second)
	}
	d.fakes[0].err = failure(qrypt.ErrRateLimited, 0)
	d.next() // those before were 12, 8 and 4 s ago
	if _, request := d.Next(8, d.now); request.Sub(d.now) != 2*time.Second {
		t.Errorf("the next request is due in %v, want 2 s", request.Sub(d.now))
	}
	d.now = d.now.Add(time.Hour)
	d.Act(t.Context(), 8, d.now)
	d.now = d.now.Add(20 * time.Second) // the refusal takes its time
	d.Handle(<-d.Answers(), d.now)
	if left := d.windowLeft(d.now); left != 0 || d.endpoints[0].notBefore.Sub(d.now) < time.Second {
		t.Errorf("of a request 20 s ago %v are left; the next is due in %v", left, d.endpoints[0].notBefore.Sub(d.now))
	}
}
