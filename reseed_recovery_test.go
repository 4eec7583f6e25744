package qrand

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// This file has what went wrong once where endpoints fail in different ways, or
// where many Sources ask: each as it was seen, and what is promised instead.

// requestsTo lists when a region was asked.
func (w *world) requestsTo(region string) (times []time.Duration) {
	for _, r := range w.Requests() {
		if r.Region == region {
			times = append(times, r.Time.Sub(w.begin))
		}
	}
	return times
}

// always is a fault that stays.
func always(status int, retryAfter time.Duration) qrypttest.Fault {
	return qrypttest.Fault{Kind: qrypttest.Status, Status: status, RetryAfter: retryAfter, Times: -1}
}

// TestAnHourIsItsOwn: an endpoint that answers 404, which is asked once an hour,
// does not keep a Source from another one that was out for two seconds.
func TestAnHourIsItsOwn(t *testing.T) {
	for range 20 {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
			s := w.source(t, Config{})
			waitSeeded(t, s)
			w.ScriptRegion("api-eus", always(503, 0))
			w.ScriptRegion("api-weu", always(404, 0))
			s.Reseed(t.Context())
			time.Sleep(2 * time.Second)
			w.ClearScript()
			w.ScriptRegion("api-weu", always(404, 0))
			time.Sleep(30 * time.Second) // it was out for 2 s: our own waits are 4 s at most by then
			if st := s.Status(); st.State != Seeded || st.LastEndpoint != "http://127.0.0.1" {
				t.Errorf("half a minute after an outage of 2 s: %v", st)
			}
			if err := s.Reseed(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAnothersRefusal: whatever an endpoint says of the token, the quota or the rate,
// it is that endpoint's word: relays have lists of their own.
func TestAnothersRefusal(t *testing.T) {
	for _, fault := range []qrypttest.Fault{
		always(401, 0), always(403, 0), always(403, 10*time.Hour), always(429, 0), always(429, time.Hour), always(404, 0), always(503, time.Hour), always(500, 0),
		{Kind: qrypttest.HTML, Times: -1}, {Kind: qrypttest.Redirect, Times: -1}, {Kind: qrypttest.Hang, Times: -1}, {Kind: qrypttest.Stuck, Times: -1},
	} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
			w.ScriptRegion("api-eus", fault)
			s := w.source(t, Config{})
			time.Sleep(time.Minute)
			wantState(t, s, Seeded, "")
			for range 24 * 60 {
				mustRead(t, s, 1)
				time.Sleep(time.Minute)
			}
			st := s.Status()
			if st.State != Seeded || st.OSReseeds > 2 || st.LastEndpoint != "http://127.0.0.2" {
				t.Errorf("%v %d: after a day %v", fault.Kind, fault.Status, st)
			}
			wantLogs(t, w, 0, 0) // there is no outage
		})
	}
}

// agedHandler is what a relay says of blocks that it has kept.
type agedTransport struct {
	http.RoundTripper
	host string
	age  string
}

func (a agedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := a.RoundTripper.RoundTrip(r)
	if err == nil && r.URL.Host == a.host {
		res.Header.Set("Age", a.age)
	}
	return res, err
}

// agedWorld is one in which the first endpoint's blocks have an Age.
func agedWorld(t *testing.T, age string) *world {
	w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
	client := qrypt.NewHTTPClient()
	client.Transport = agedTransport{w.transport, "127.0.0.1", age}
	var err error
	w.client, err = qrypt.New(qrypt.Config{Endpoints: []string{"http://127.0.0.1", "http://127.0.0.2"}, Token: qrypt.StaticToken(testToken), HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestAnotherIsFresher: where one endpoint's blocks are too old, the other is asked.
func TestAnotherIsFresher(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := agedWorld(t, "700")
		s := w.source(t, Config{Policy: RequireFresh, AllowEmulated: true})
		time.Sleep(time.Minute)
		wantState(t, s, Seeded, "")
		for range 60 {
			mustRead(t, s, 1)
			time.Sleep(time.Minute)
		}
		if st := s.Status(); st.LastEndpoint != "http://127.0.0.2" || len(w.requestsTo("api-eus")) > 60 || st.RefusedBlocks > 60+7 {
			t.Errorf("%d requests to the stale one: %v", len(w.requestsTo("api-eus")), st)
		}
	})
}

// TestQuotaBeginsAnew: a 403 that says when is believed, and not for longer.
func TestQuotaBeginsAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{Regions: []string{"relay"}}, qrypt.DialectQuantumEntropy)
		w.Script(qrypttest.Fault{Kind: qrypttest.Status, Status: 403, RetryAfter: 37 * time.Second})
		s := w.source(t, Config{})
		time.Sleep(37*time.Second + 20*time.Second + time.Second) // and a spread of 20 s
		wantState(t, s, Seeded, "")
		if got := w.times(); got[1] < 37*time.Second {
			t.Errorf("requests at %v", got)
		}
	})
}

// TestBackToThePreferred: after its outage the first endpoint is used again.
func TestBackToThePreferred(t *testing.T) {
	for _, batch := range []int{1, 8} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
			s := w.source(t, Config{BatchBlocks: batch})
			waitSeeded(t, s)
			w.ScriptRegion("api-eus", always(502, 0))
			s.Reseed(t.Context())
			if at := s.Status().LastEndpoint; at != "http://127.0.0.2" {
				t.Errorf("during the outage the block came from %s", at)
			}
			w.ClearScript()
			for range 10 {
				mustRead(t, s, 1)
				time.Sleep(time.Minute)
			}
			if err := s.Reseed(t.Context()); err != nil {
				t.Error(err)
			}
			if at := s.Status().LastEndpoint; at != "http://127.0.0.1" {
				t.Errorf("ten minutes after the outage the block came from %s", at)
			}
			if moved := w.logged.moved.Load(); moved < 1 || moved > 2 {
				t.Errorf("that another endpoint gives blocks was told %d times", moved)
			}
		})
	}
}

// TestQueueIsNoHang: that 600 Sources of a process wait for each other is no failure
// of the service.
func TestQueueIsNoHang(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{Regions: []string{"api-eus"}, Record: 1}, qrypt.DialectQuantumEntropy)
		var failed atomic.Int32
		var all []*Source
		for range 600 {
			all = append(all, w.source(t, Config{OnEvent: func(e Event) {
				if e.Kind == RequestFailed {
					failed.Add(1)
				}
			}}))
		}
		time.Sleep(210 * time.Second) // 600 requests, 30 in 10 s
		for i, s := range all {
			if st := s.Status(); st.State != Seeded {
				t.Fatalf("Source %d: %v", i, st)
			}
		}
		if failed.Load() != 0 {
			t.Errorf("%d requests failed", failed.Load())
		}
	})
}

// TestAgeAtTheRead: under RequireFresh no Read succeeds with a newest block older
// than MaxAge, however its age is made up of time in stock and time in the key.
func TestAgeAtTheRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		blocks := &fakeBlocks{}
		var came atomic.Int64 // the newest block
		s := newTestSource(t, Config{Policy: RequireFresh, Blocks: blockFunc(func(_ context.Context, n int) ([]qrypt.Block, error) {
			got, err := blocks.Blocks(t.Context(), n)
			if err == nil {
				came.Store(time.Now().UnixNano())
			}
			return got, err
		})}, 1)
		waitSeeded(t, s)
		p := make([]byte, 1)
		for i := range 4000 {
			switch i {
			case 300:
				blocks.setErr(errors.New("out"))
			case 1200:
				blocks.setErr(nil)
			case 1201, 2000, 3000:
				time.Sleep(9*time.Minute + 40*time.Second) // nobody reads
			}
			if _, err := s.Read(p); err == nil {
				if age := time.Since(time.Unix(0, came.Load())); age > defaultMaxAge {
					t.Fatalf("read %d with a newest block of %v", i, age)
				}
			}
			time.Sleep(time.Second)
		}
	})
}

// TestFreshAndSparing: a healthy service that takes 2 s is never stale, and next to
// nothing of what it gives is thrown away.
func TestFreshAndSparing(t *testing.T) {
	for _, maxAge := range []time.Duration{61 * time.Second, 90 * time.Second, 3 * time.Minute, 10 * time.Minute} {
		bubble(t, func(t *testing.T) {
			given := uint64(0)
			s := newTestSource(t, Config{Policy: RequireFresh, MaxAge: maxAge, Blocks: blockFunc(func(_ context.Context, n int) (blocks []qrypt.Block, _ error) {
				for range n {
					given++
					blocks = append(blocks, newTestBlock(given))
				}
				time.Sleep(2 * time.Second)
				return blocks, nil
			})}, 1)
			waitSeeded(t, s)
			for i := range 24 * 60 * 10 {
				if _, err := s.Read(make([]byte, 1)); err != nil {
					t.Fatalf("MaxAge %v: Read %d: %v", maxAge, i, err)
				}
				time.Sleep(6 * time.Second)
			}
			st := s.Status()
			if st.RefusedBlocks*20 > int64(given) || int64(given) > 24*60*60/30 {
				t.Errorf("MaxAge %v: %d blocks in a day, of which %d were thrown away", maxAge, given, st.RefusedBlocks)
			}
		})
	}
}

// TestFreshAfterARefusal: one 429 makes a Source ask less often, and never so seldom
// that a healthy service leaves it stale.
func TestFreshAfterARefusal(t *testing.T) {
	for _, tc := range []struct {
		interval, pause time.Duration
		bytes           int
	}{{10 * time.Second, time.Second, 100}, {time.Minute, 10 * time.Second, 1 << 20}, {time.Minute, 25 * time.Second, 1 << 20}} {
		bubble(t, func(t *testing.T) {
			blocks := &fakeBlocks{}
			s := newTestSource(t, Config{Policy: RequireFresh, ReseedInterval: tc.interval, Blocks: blocks}, 1)
			waitSeeded(t, s)
			blocks.setErr(&qrypt.Error{Class: qrypt.ErrRateLimited})
			s.Reseed(t.Context())
			blocks.setErr(nil)
			p := make([]byte, tc.bytes)
			for begin := time.Now(); time.Since(begin) < 50*time.Minute; time.Sleep(tc.pause) {
				if _, err := s.Read(p); err != nil {
					t.Fatalf("%+v: after %v %v", tc, time.Since(begin), err)
				}
			}
		})
	}
}

// TestStockIsBounded: what comes for calls of Reseed that have given up does not pile
// up, and a Reseed makes its request whatever is in stock.
func TestStockIsBounded(t *testing.T) {
	for _, batch := range []int{1, 2, 8} {
		bubble(t, func(t *testing.T) {
			blocks := &fakeBlocks{}
			s := newTestSource(t, Config{BatchBlocks: batch, Blocks: blockFunc(func(_ context.Context, n int) ([]qrypt.Block, error) {
				time.Sleep(time.Second)
				return blocks.Blocks(t.Context(), n)
			})}, 1)
			waitSeeded(t, s)
			for range 20 {
				gone, cancel := context.WithTimeout(t.Context(), time.Second/2) // while the request is under way
				s.Reseed(gone)
				cancel()
				time.Sleep(5 * time.Second)
				if st := s.Status(); st.Stock > batch || batch == 1 && st.Stock > 0 {
					t.Errorf("%d blocks in a stock of %d", st.Stock, batch)
				}
			}
			if err := s.Reseed(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// aged gives blocks that a relay has kept for so long.
func aged(numbers *uint64, age time.Duration) blockFunc {
	return func(_ context.Context, n int) (blocks []qrypt.Block, err error) {
		for range n {
			*numbers++
			b, err := qrypt.NewBlock(newTestBlock(*numbers).Bytes(), qrypt.Origin{Endpoint: fmt.Sprint(age), Received: time.Now().Add(-age)})
			if err != nil {
				return nil, err
			}
			blocks = append(blocks, b)
		}
		return blocks, nil
	}
}

// TestNearlyTooOld: a block that will be too old before another one can come is as good
// as one that is: the endpoint that has fresher ones is asked.
func TestNearlyTooOld(t *testing.T) {
	for _, age := range []time.Duration{5 * time.Minute, 9*time.Minute + 30*time.Second, 9*time.Minute + 59*time.Second, 10*time.Minute - 1} {
		bubble(t, func(t *testing.T) {
			var numbers uint64
			asked := 0
			relay := blockFunc(func(ctx context.Context, n int) ([]qrypt.Block, error) {
				asked++
				return aged(&numbers, age)(ctx, n)
			})
			s := newTestSource(t, Config{Policy: RequireFresh, Blocks: Prefer(relay, aged(&numbers, 0))}, 1)
			waitSeeded(t, s)
			for i := range 30 * 60 {
				if _, err := s.Read(make([]byte, 1)); err != nil {
					t.Fatalf("age %v: after %d s %v", age, i, err)
				}
				time.Sleep(time.Second)
			}
			if asked > 35 {
				t.Errorf("age %v: %d requests in half an hour", age, asked)
			}
		})
	}
}

// TestAnothersRetryAfter: that one endpoint asks us to wait for long holds no other,
// though both say 429 and may have one limit.
func TestAnothersRetryAfter(t *testing.T) {
	for _, first := range []qrypttest.Fault{always(429, 10*time.Minute), always(429, 0)} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
			w.ScriptRegion("api-eus", first)
			w.ScriptRegion("api-weu", qrypttest.Fault{Kind: qrypttest.Reset, Times: 20}, qrypttest.Fault{Kind: qrypttest.Status, Status: 429, Times: 1})
			s := w.source(t, Config{})
			if err := s.WaitSeeded(t.Context()); err != nil { // by when the first one has refused us for an hour
				t.Error(err)
			}
			weu := w.requestsTo("api-weu")
			if wait := weu[21] - weu[20]; wait > time.Minute {
				t.Errorf("a healthy endpoint that refused us once was asked after %v", wait)
			}
		})
	}
}

// TestSlowProbe: that an endpoint gives no answer keeps nobody from the one that does.
func TestSlowProbe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		w.ScriptRegion("api-eus", qrypttest.Fault{Kind: qrypttest.Hang, Times: -1})
		s := w.source(t, Config{Policy: RequireFresh, MaxAge: 61 * time.Second, AllowEmulated: true})
		waitSeeded(t, s)
		for i := range 2 * 60 * 60 {
			if _, err := s.Read(make([]byte, 1)); err != nil {
				t.Fatalf("after %d s %v", i, err)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(3 * time.Minute)
		for range 20 {
			begin := time.Now()
			if err := s.Reseed(t.Context()); err != nil || time.Since(begin) > 6*time.Second {
				t.Errorf("after %v Reseed returned %v", time.Since(begin), err)
			}
			time.Sleep(time.Minute)
		}
	})
}

// TestTokenFunctionHangs: then a Reseed is told so, and Close has wiped the keys
// before it waits.
func TestTokenFunctionHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		s := newTestSource(t, Config{Blocks: refusedToken(func(context.Context) { <-release })}, 1)
		time.Sleep(time.Second)
		begin := time.Now()
		if err := s.Reseed(t.Context()); err == nil || time.Since(begin) > 2*time.Minute {
			t.Errorf("after %v Reseed returned %v", time.Since(begin), err)
		}
		done := make(chan error)
		go func() { done <- s.Close() }()
		synctest.Wait()
		sh := s.shards[0]
		sh.mu.Lock()
		if !sh.closed || !allZero(sh.gen.Load().key[:]) {
			t.Error("Close waits with a key in memory")
		}
		sh.mu.Unlock()
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestOutOfStep: Sources that started together do not ask together from then on.
func TestOutOfStep(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const n = 100
		inSecond := map[time.Duration]int{}
		begin := time.Now()
		var all []*Source
		var numbers uint64
		var mu sync.Mutex
		for range n {
			s, err := New(Config{Logger: slog.New(slog.DiscardHandler), Blocks: blockFunc(func(ctx context.Context, n int) ([]qrypt.Block, error) {
				mu.Lock()
				defer mu.Unlock()
				if at := time.Since(begin).Truncate(time.Second); at > 0 {
					inSecond[at]++
				}
				return aged(&numbers, 0)(ctx, n)
			})})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
		for range 600 {
			for _, s := range all {
				s.Read(make([]byte, 1))
			}
			time.Sleep(time.Second)
		}
		for _, s := range all {
			s.Close()
		}
		for at, requests := range inSecond {
			if requests > n/10+5 {
				t.Errorf("%d of %d Sources ask in the second after %v", requests, n, at)
			}
		}
	})
}

// textLog keeps the lines of a log.
type textLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *textLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *textLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *textLog) WithGroup(string) slog.Handler            { return l }
func (l *textLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, r.Level.String()+" "+r.Message)
	return nil
}

// has reports whether a line has all of these.
func (l *textLog) has(words ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		all := true
		for _, word := range words {
			all = all && strings.Contains(line, word)
		}
		if all {
			return true
		}
	}
	return false
}

// TestSeededIsTold: the first block is worth a line, which says what went out before.
func TestSeededIsTold(t *testing.T) {
	for _, reads := range []int{0, 3} {
		bubble(t, func(t *testing.T) {
			log := &textLog{}
			s := newTestSource(t, Config{Logger: slog.New(log), Blocks: blockFunc(func(context.Context, int) ([]qrypt.Block, error) {
				time.Sleep(1200 * time.Millisecond)
				return []qrypt.Block{newTestBlock(1)}, nil
			})}, 2)
			for range reads {
				mustRead(t, s, 27)
			}
			time.Sleep(time.Hour)
			want := "before any byte was read"
			if reads > 0 {
				want = fmt.Sprintf("%d bytes in %d reads went out before it", 27*reads, reads)
			}
			if !log.has("INFO", "qrand: seeded", "after 1.2s", want) {
				t.Errorf("the log is %q", log.lines)
			}
		})
	}
}

// TestWarnSaysWhatFollows: the line of an outage says what Reads do now, by Policy.
func TestWarnSaysWhatFollows(t *testing.T) {
	for _, tc := range []struct {
		policy Policy
		seeded bool
		want   string
	}{
		{Augment, false, "reads go on with crypto/rand alone"},
		{Augment, true, "reads go on with crypto/rand and the blocks that came before"},
		{RequireInitial, false, "reads fail until a block comes"},
		{RequireInitial, true, "reads go on with crypto/rand and the blocks that came before"},
		{RequireFresh, false, "reads fail until a block comes"},
		{RequireFresh, true, "reads go on for 9m0s, then they fail"},
	} {
		bubble(t, func(t *testing.T) {
			log, blocks := &textLog{}, &fakeBlocks{}
			if !tc.seeded {
				blocks.err = errors.New("out")
			}
			s := newTestSource(t, Config{Policy: tc.policy, Logger: slog.New(log), Blocks: blocks}, 1)
			time.Sleep(time.Minute)
			blocks.setErr(errors.New("out"))
			s.Reseed(t.Context())
			if !log.has("WARN", "degraded", tc.want) {
				t.Errorf("%v, seeded %v: the log is %q", tc.policy, tc.seeded, log.lines)
			}
		})
	}
}

// TestHopeless: where a person must act before a block can come, whoever waits is
// told at once, and so is the log. Who calls again and again waits for the next look.
func TestHopeless(t *testing.T) {
	for _, token := range []string{testToken2, ""} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
			w.token.Store(token)
			log := &textLog{}
			s := newTestSource(t, Config{Blocks: w.client, Logger: slog.New(log)}, 1)
			begin := time.Now()
			err := s.WaitSeeded(t.Context())
			want := qrypt.ErrUnauthorized
			if token == "" {
				want = qrypt.ErrNoToken
			}
			took, most := time.Since(begin), time.Second
			if token == "" { // which may come by itself: there is a second look
				most = time.Minute
			}
			if !errors.Is(err, want) || took > most {
				t.Errorf("after %v WaitSeeded returned %v", took, err)
			}
			calls := 0
			for again := time.Now(); time.Since(again) < time.Hour && calls < 1000; calls++ {
				s.WaitSeeded(t.Context())
			}
			if calls > 600 { // two endpoints, each looked at every 15 to 45 s
				t.Errorf("%d calls of WaitSeeded in an hour", calls)
			}
			if !log.has("WARN", "somebody must act") {
				t.Errorf("the log is %q", log.lines)
			}
			w.token.Store(testToken)
			time.Sleep(time.Minute)
			if err := s.WaitSeeded(t.Context()); err != nil {
				t.Errorf("with a new token WaitSeeded returned %v", err)
			}
			w.token.Store(testToken2)
			s.Reseed(t.Context())
			if err := s.WaitSeeded(t.Context()); err != nil {
				t.Errorf("once seeded WaitSeeded returned %v", err)
			}
		})
	}
}

// TestWaitSeededSaysWhy: its error wraps the failure.
func TestWaitSeededSaysWhy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newTestSource(t, Config{Blocks: &fakeBlocks{err: &qrypt.Error{Class: qrypt.ErrNoSupply}}}, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.WaitSeeded(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, qrypt.ErrNoSupply) {
			t.Errorf("WaitSeeded returned %v", err)
		}
	})
}

// TestEmulatedIsRefused where quantum entropy is required, unless a rehearsal is
// asked for.
func TestEmulatedIsRefused(t *testing.T) {
	for policy := Augment; policy <= RequireFresh; policy++ {
		for _, rehearsal := range []bool{false, true} {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
				s := w.source(t, Config{Policy: policy, AllowEmulated: rehearsal})
				time.Sleep(time.Minute)
				synctest.Wait()
				if policy == Augment || rehearsal {
					wantState(t, s, Seeded, "")
					if st := s.Status(); !st.Emulated || w.logged.emulated.Load() != 1 {
						t.Errorf("%v, rehearsal %v: %v", policy, rehearsal, st)
					}
					return
				}
				wantState(t, s, Degraded, Emulated)
				wantRefused(t, s, ErrNotSeeded)
				if err := s.Reseed(t.Context()); !errors.Is(err, ErrEmulated) {
					t.Errorf("%v: Reseed returned %v", policy, err)
				}
				if st := s.Status(); st.Blocks != 0 || st.Emulated {
					t.Errorf("%v: %v", policy, st)
				}
			})
		}
	}
}

// TestDeadServiceIsNoticed within two reseeds, whatever is in stock.
func TestDeadServiceIsNoticed(t *testing.T) {
	for _, batch := range []int{1, 8, 512} {
		for died := range 8 { // minutes after the last answer
			bubble(t, func(t *testing.T) {
				blocks := &fakeBlocks{}
				s := newTestSource(t, Config{Blocks: blocks, BatchBlocks: batch}, 1)
				waitSeeded(t, s)
				for i := range died + 3 {
					if i == died {
						blocks.setErr(errors.New("dead"))
					}
					time.Sleep(time.Minute)
					mustRead(t, s, 1)
					synctest.Wait()
				}
				if st := s.Status(); st.State != Degraded {
					t.Errorf("batch %d: two reseeds after the service died: %v", batch, st)
				}
			})
		}
	}
}
