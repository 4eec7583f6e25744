package supply

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/health"
	"example.com/qrand/internal/turn"
	"example.com/qrand/internal/verbs"
	"example.com/qrand/qrypt"
)

// TestHang: a call that takes a minute is cancelled, and reported once. Meanwhile the other
// endpoints are asked, and this one is not. Good blocks that it returns in the end are
// used; another failure of it is not reported.
func TestHang(t *testing.T) {
	stuck := make([]byte, 6)
	for _, test := range []struct {
		name string
		end  func() any
		good bool
	}{
		{"blocks", func() any { return []qrypt.Block{newBlock(t, qrypt.Origin{})} }, true},
		{"bad blocks", func() any { return []qrypt.Block{newBlock(t, qrypt.Origin{}, stuck...)} }, false},
		{"an error", func() any { return failure(qrypt.ErrQuota, 0) }, false},
	} {
		hanging, other := &fake{calls: make(chan call, 1)}, &fake{t: t}
		d := &driver{t: t, now: start, Supply: New(Config{
			Source: Preferred{hanging, other}, MaxBlocks: 8, Memory: health.NewMemory(make([]byte, 32), health.Remembered), Random: most,
		})}
		d.Act(t.Context(), 8, d.now)
		under := <-hanging.calls
		act, request := d.Next(8, d.now)
		if act.Sub(d.now) != HangLimit || !request.IsZero() {
			t.Errorf("%s: with a request under way there is something to do in %v, and another due at %v", test.name, act.Sub(d.now), request)
		}
		if d.Act(t.Context(), 8, act.Add(-1)).Err != nil || under.ctx.Err() != nil || d.held(d.now, false) || d.Begun() != 1 {
			t.Errorf("%s: given up too soon, or %d requests at a time", test.name, d.Begun())
		}
		d.now = act
		o := d.Act(t.Context(), 8, d.now)
		if o.Err != ErrHangs || o.Reason != "timed_out" || o.Number != 1 || !o.Sent || o.Degraded || o.Held || under.ctx.Err() == nil {
			t.Errorf("%s: after a minute %+v, and the call is cancelled: %v", test.name, o, under.ctx.Err())
		}
		for i := range 20 {
			if i > 0 {
				d.now = d.now.Add(time.Minute)
			}
			if got, o := d.act(8); got != 1 || o.Err != nil || o.Number != i+2 {
				t.Fatalf("%s: endpoint %d is asked while the other hangs: %+v", test.name, got, o)
			}
		}
		other.err = failure(qrypt.ErrServer, 0)
		if _, o := d.next(); !o.Degraded || !o.Held || !o.Next.Equal(d.endpoints[1].notBefore) || d.endpoints[0].skipWait(d.now) || !d.SkipWaits(d.now) {
			t.Errorf("%s: the only one that does not hang fails: %+v", test.name, o)
		}
		end := test.end()
		under.end <- end
		o = d.Handle(<-d.Answers(), d.now)
		blocks, _ := end.([]qrypt.Block)
		if o.Err != nil || o.Sent || o.Warn || (len(o.Blocks) == 1) != test.good || !test.good && o.Refused != len(blocks) {
			t.Errorf("%s come late: %+v", test.name, o)
		}
		if len(blocks) > 0 && wiped(blocks[0]) == test.good {
			t.Errorf("%s come late: wiped: %v", test.name, !test.good)
		}
		if e := d.endpoints[0]; e.failing() == test.good || e.state != idle || !test.good && e.err != ErrHangs {
			t.Errorf("%s come late: %+v", test.name, e)
		}
	}
}

// TestQueueIsNoHang: time in this process's own queue does not count.
func TestQueueIsNoHang(t *testing.T) {
	var begin, end chan bool
	source := &fake{t: t, blocks: func(ctx context.Context, _ int) ([]qrypt.Block, error) {
		for waiting := range begin {
			turn.Report(ctx, waiting)
			end <- true
		}
		return nil, ctx.Err()
	}}
	report := func(waiting bool) {
		begin <- waiting
		<-end
	}
	begin, end = make(chan bool), make(chan bool)
	s := New(Config{Source: source, MaxBlocks: 8})
	s.Act(t.Context(), 8, start)
	report(true)
	minute := func(n float64) time.Time { return start.Add(time.Duration(n * float64(HangLimit))) }
	for n := range 10 {
		if o := s.Act(t.Context(), 8, minute(float64(n))); o.Err != nil {
			t.Fatalf("a failure while it waits its turn: %v", o.Err)
		}
		if act, _ := s.Next(8, minute(float64(n))); !act.After(minute(float64(n))) {
			t.Errorf("while it waits its turn there is something to do %v ago", minute(float64(n)).Sub(act))
		}
	}
	report(false) // after 9.5 minutes
	if o := s.Act(t.Context(), 8, minute(10)); o.Err != nil {
		t.Errorf("half a minute after its turn: %v", o.Err)
	}
	if o := s.Act(t.Context(), 8, minute(11)); o.Err != ErrHangs {
		t.Errorf("one and a half minutes after its turn: %v", o.Err)
	}
	report(true) // it is given up while it waits
	close(begin)
	s.Handle(<-s.Answers(), minute(11))
	begin = make(chan bool)
	s.Act(t.Context(), 8, minute(12))
	if o := s.Act(t.Context(), 8, minute(13)); o.Err != ErrHangs {
		t.Errorf("a minute after the next request, which does not wait: %v", o.Err)
	}
	close(begin)
	s.Handle(<-s.Answers(), minute(13))
}

// A user wants the number of blocks that its field says.
type user struct {
	mu sync.Mutex
	seen
	again time.Duration   // after each look
	late  func(looks int) // is called in each, and may take its time
}

// seen is what a user has seen.
type seen struct {
	want  int // blocks
	looks int
	got   []Outcome
	due   time.Time // the next request
}

func (u *user) Want(now time.Time) (n int, again time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.looks++
	if u.late != nil {
		u.late(u.looks)
	}
	if u.again != 0 {
		again = now.Add(u.again)
	}
	return u.want, again
}

func (u *user) Handle(o Outcome, _ time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.got = append(u.got, o)
	u.want -= len(o.Blocks)
}

func (u *user) Waiting(due time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.due = due
}

// saw waits until nothing happens any more, and returns what the user has seen.
func (u *user) saw() seen {
	synctest.Wait()
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.seen
}

// run starts Run, and returns a function that ends it and waits for it.
func run(t *testing.T, s *Supply, u *user) (wake chan struct{}, end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	wake, done := make(chan struct{}), make(chan bool)
	go func() {
		s.Run(ctx, u, wake)
		s.Close()
		close(done)
	}()
	return wake, func() {
		cancel()
		<-done
	}
}

// TestRun: the loop asks the user when it is woken, when the user said, and when the Supply
// has something to do, and at no other time.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		source := &fake{blocks: func(_ context.Context, n int) (blocks []qrypt.Block, err error) {
			if time.Since(begin) < 37*time.Second {
				return nil, failure(qrypt.ErrServer, 37*time.Second)
			}
			for range n {
				blocks = append(blocks, newBlock(t, qrypt.Origin{}))
			}
			return blocks, nil
		}}
		u := &user{seen: seen{want: 3}}
		s := New(Config{Source: source, MaxBlocks: 2, Memory: health.NewMemory(make([]byte, 32), health.Remembered), Random: least})
		wake, end := run(t, s, u)
		saw := u.saw()
		if len(saw.got) != 1 || saw.got[0].Err == nil || saw.looks != 2 || !saw.due.Equal(begin.Add(37*time.Second)) {
			t.Errorf("after a failure that asks for 37 s it has seen %+v", saw)
		}
		wake <- struct{}{}
		if saw = u.saw(); saw.looks != 3 || len(saw.got) != 1 {
			t.Errorf("when it is woken it has seen %+v", saw)
		}
		time.Sleep(38 * time.Second)
		if saw = u.saw(); saw.want != 0 || !slices.Equal(source.asked, []int{2, 2, 1}) || !saw.got[1].Recovered || !saw.due.IsZero() {
			t.Errorf("asked for %d, it has seen %+v", source.asked, saw)
		}
		looks := saw.looks
		time.Sleep(time.Hour)
		if saw = u.saw(); saw.looks != looks {
			t.Errorf("%d looks in an hour in which nothing happens", saw.looks-looks)
		}
		u.again = time.Minute
		wake <- struct{}{}
		time.Sleep(time.Hour + time.Second)
		if got := u.saw().looks - looks; got != 61 {
			t.Errorf("%d looks in an hour, want one a minute", got)
		}
		end()
	})
}

// TestCalm: the user hears that the outage of a service that flaps is over, though no block
// comes and none is wanted.
func TestCalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		source := &fake{blocks: func(context.Context, int) ([]qrypt.Block, error) {
			if asked++; asked%2 == 1 {
				return nil, failure(qrypt.ErrServer, 0)
			}
			return []qrypt.Block{newBlock(t, qrypt.Origin{})}, nil
		}}
		u := &user{seen: seen{want: 2}}
		_, end := run(t, New(Config{Source: source, MaxBlocks: 1, Memory: health.NewMemory(make([]byte, 32), health.Remembered)}), u)
		time.Sleep(quietTime)
		if saw := u.saw(); len(saw.got) != 4 || !saw.got[1].Recovered || !saw.got[2].Again || saw.got[3].Recovered {
			t.Errorf("of a service that flaps the user is told %+v", saw.got)
		}
		time.Sleep(time.Hour)
		if saw := u.saw(); len(saw.got) != 5 || !saw.got[4].Recovered || saw.got[4].Blocks != nil {
			t.Errorf("when it is calm again the user is told %+v", saw.got)
		}
		end()
	})
}

// TestSlowUser: an answer that came while the user was busy did not hang. One that came when
// ctx ended is wiped, and the user does not get it.
func TestSlowUser(t *testing.T) {
	for range 20 { // which of two things that are so is seen first is chance
		synctest.Test(t, func(t *testing.T) {
			came := newBlock(t, qrypt.Origin{})
			source := &fake{blocks: func(ctx context.Context, _ int) ([]qrypt.Block, error) {
				time.Sleep(time.Second)
				return []qrypt.Block{came}, nil
			}}
			u := &user{seen: seen{want: 1}, again: time.Second / 2}
			u.late = func(looks int) {
				if looks == 2 {
					time.Sleep(2 * HangLimit)
				}
			}
			_, end := run(t, New(Config{Source: source, MaxBlocks: 1, Memory: health.NewMemory(make([]byte, 32), health.Remembered)}), u)
			time.Sleep(3 * HangLimit)
			if saw := u.saw(); len(saw.got) != 1 || saw.got[0].Err != nil || saw.want != 0 {
				t.Errorf("the user took its time, and is told %+v", saw.got)
			}
			u.mu.Lock()
			u.want = 1
			came = newBlock(t, qrypt.Origin{})
			u.late = func(int) { time.Sleep(2 * time.Second) }
			u.mu.Unlock()
			time.Sleep(3750 * time.Millisecond) // in the look after the request, when its answer has come
			end()
			if saw := u.saw(); len(saw.got) != 1 || !wiped(came) {
				t.Errorf("after the end the user is told %+v; what came is wiped: %v", saw.got[1:], wiped(came))
			}
		})
	}
}

// TestClose: Close waits until no call is under way any more. What they return is wiped, and
// the user does not get it.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := &fake{calls: make(chan call, 1)}, &fake{calls: make(chan call, 1)}
		u := &user{seen: seen{want: 2}}
		s := New(Config{Source: Preferred{first, second, &fake{t: t, err: failure(qrypt.ErrUnauthorized, 0)}}, MaxBlocks: 8, Random: least})
		_, end := run(t, s, u)
		time.Sleep(HangLimit + time.Second)
		hanging, asking := <-first.calls, <-second.calls // one is given up, one under way
		before := len(u.saw().got)
		if before != 1 || u.saw().got[0].Err != ErrHangs {
			t.Errorf("a call hangs, and the user was told %+v", u.saw().got)
		}
		var ended atomic.Bool
		go func() {
			end()
			ended.Store(true)
		}()
		synctest.Wait()
		blocks := []qrypt.Block{newBlock(t, qrypt.Origin{}), newBlock(t, qrypt.Origin{})}
		for i, c := range []call{hanging, asking} {
			if ended.Load() || c.ctx.Err() == nil {
				t.Errorf("%d calls have ended; Run has returned: %v; the next is cancelled: %v", i, ended.Load(), c.ctx.Err())
			}
			c.end <- blocks[i : i+1]
			synctest.Wait()
		}
		if !ended.Load() || !wiped(blocks[0]) || !wiped(blocks[1]) || len(u.saw().got) != before {
			t.Errorf("Run has returned: %v; wiped: %v, %v; the user was told of %d", ended.Load(), wiped(blocks[0]), wiped(blocks[1]), len(u.saw().got)-before)
		}
	})
}

// TestNothingAfterTheEnd: nothing begins under a context that is done.
func TestNothingAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := newDriver(t, 1, least)
	if o := d.Act(ctx, 8, d.now); o.Err != nil || d.Begun() != 0 {
		t.Errorf("%+v, %d requests", o, d.Begun())
	}
}

// TestPrinted: no verb prints a block that is in an answer, an outcome or a Supply.
func TestPrinted(t *testing.T) {
	const mark = "a-mark-that-every-block-carries."
	block := func() qrypt.Block {
		p := make([]byte, qrypt.BlockSize)
		noise.Read(p)
		copy(p[500:], mark)
		b, err := qrypt.NewBlock(p, qrypt.Origin{Endpoint: "https://service.example"})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	source := &fake{blocks: func(context.Context, int) ([]qrypt.Block, error) { return []qrypt.Block{block(), block()}, nil }}
	s := New(Config{Source: source, MaxBlocks: 8, Memory: health.NewMemory(make([]byte, 32), health.Remembered)})
	s.Act(t.Context(), 8, start)
	a := <-s.Answers()
	o := s.Handle(a, start)
	s.answers <- a
	if o.Err != nil || len(o.Blocks) != 2 {
		t.Fatal(o.Err)
	}
	for name, v := range map[string]any{
		"answer":              a,
		"answer in a field":   struct{ a *Answer }{&a},
		"outcome":             o,
		"pointer to outcome":  &o,
		"outcome in a field":  struct{ o any }{o},
		"Supply":              s,
		"copy of a Supply":    *s,
		"Supply in a field":   struct{ s *Supply }{s},
		"endpoint":            s.endpoints[0],
		"channel of the rest": s.Answers(),
	} {
		if shown := verbs.Showing(v, mark); shown != nil {
			t.Errorf("%s: the block is shown by %v", name, shown)
		}
	}
}
