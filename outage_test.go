package qrand

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/outage"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// next is the least time between requests at the full rate: how soon another
// endpoint is tried. It is a hundredth more than the rate asks for.
const next = outage.RateWindow / outage.RateLimit * 101 / 100

// after sums waits to the times of the requests that begin with one at 0.
func after(waits ...time.Duration) []time.Duration {
	times := []time.Duration{0}
	for _, wait := range waits {
		times = append(times, times[len(times)-1]+wait)
	}
	return times
}

// backoffTimes are those of full jitter at its longest, with two endpoints.
var backoffTimes = after(next, 1*time.Second, next, 2*time.Second, next, 4*time.Second, next, 8*time.Second, next, 16*time.Second,
	next, 32*time.Second, next, 64*time.Second, next, 128*time.Second, next, 256*time.Second, next, 300*time.Second, next, 300*time.Second)

// outageRows are the rows of the outage table as the README has it: what the
// service does, what the Status then says, and when requests are made.
var outageRows = []struct {
	script string
	reason Reason
	times  []time.Duration
}{
	{"429 retry-after=5s x*", RateLimited, after(5*time.Second, 5*time.Second, 5*time.Second)},
	{"429 retry-after-date=7s x*", RateLimited, after(7*time.Second, 7*time.Second)},
	{"429 retry-after=2h x*", RateLimited, after(10*time.Minute, 10*time.Minute)}, // a bound
	{"429 x*", RateLimited, after(10*time.Second, 10*time.Second, 10*time.Second)},
	{"503 x*", NoSupply, backoffTimes},
	{"503 retry-after=90s x*", NoSupply, after(next, 90*time.Second, next, 90*time.Second)},
	{"500 x*", ServerError, backoffTimes},
	{"502 x*", ServerError, backoffTimes},
	{"504 x*", ServerError, backoffTimes},
	{"hang x*", TimedOut, after(20*time.Second, 20*time.Second+time.Second, 20*time.Second, 20*time.Second+2*time.Second)},
	{"403 x*", QuotaReached, after(15*time.Minute, 30*time.Minute, time.Hour, 2*time.Hour, 4*time.Hour, 6*time.Hour, 6*time.Hour)},
	{"401 x*", Unauthorized, after(time.Hour, time.Hour, time.Hour)},
	{"400 x*", BadRequest, after(next, time.Hour, next, time.Hour, next, time.Hour)},
	{"404 x*", BadRequest, after(next, time.Hour, next, time.Hour)},
	{"422 x*", BadRequest, after(next, time.Hour)},
	{"408 x*", TimedOut, backoffTimes},
	{"redirect x*", Redirected, backoffTimes},
	{"html x*", Malformed, backoffTimes},
	{"oversize x*", Malformed, backoffTimes[:6]},
	{"gzip-bomb x*", Malformed, backoffTimes[:6]},
	{"truncate x*", Malformed, backoffTimes},
	{"short-body x*", Malformed, backoffTimes},
	{"bad-base64 x*", Malformed, backoffTimes},
	{"wrong-count x*", Malformed, backoffTimes},
	{"block-length x*", Malformed, backoffTimes},
	{"204 x*", Malformed, backoffTimes},
	{"stuck x*", Unhealthy, backoffTimes},
	{"biased x*", Unhealthy, backoffTimes},
	{"repeat x*", Repeated, backoffTimes},
}

// TestOutageTable puts a Source through each row, through the real client: all
// Reads go on, reseeds come due, requests are made when the table says, one
// line is logged for all of it, and one at the recovery.
func TestOutageTable(t *testing.T) {
	stubJitter(t)
	for _, row := range outageRows {
		t.Run(strings.ReplaceAll(row.script, " x*", ""), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
				faults, err := qrypttest.ParseScript(row.script)
				if err != nil {
					t.Fatal(err)
				}
				w.Script(faults...)
				s := w.source(t, Config{})

				length := row.times[len(row.times)-1]
				mustRead(t, s, 32)
				time.Sleep(length + time.Millisecond) // past the last of the times
				synctest.Wait()
				if got := w.times(); !slices.EqualFunc(got, row.times, near) {
					t.Errorf("requests at\n%v, want\n%v", got, row.times)
				}
				wantState(t, s, Degraded, row.reason)
				if st := s.Status(); st.Blocks != 0 || st.LastBlock != (time.Time{}) {
					t.Errorf("a block was used: %v", st)
				}
				wantLogs(t, w, 1, 0)

				// Reseeds come due as before.
				before := s.Status().OSReseeds
				for range 3 {
					mustRead(t, s, 32)
					time.Sleep(time.Minute)
				}
				if got := s.Status().OSReseeds - before; got != 3 {
					t.Errorf("%d reseeds in 3 minutes, want 3", got)
				}

				w.ClearScript()
				time.Sleep(6*time.Hour + time.Minute)
				mustRead(t, s, 32)
				wantState(t, s, Seeded, "")
				if st := s.Status(); st.Blocks == 0 || time.Since(st.LastBlock) > 7*time.Hour {
					t.Errorf("no block was used after the outage: %v", st)
				}
				wantLogs(t, w, 1, 1)
			})
		})
	}
}

// near allows for the pipes' own scheduling at one instant, and for float64.
func near(a, b time.Duration) bool { return (a - b).Abs() < time.Millisecond }

func wantState(t *testing.T, s *Source, state State, reason Reason) {
	t.Helper()
	synctest.Wait()
	st := s.Status()
	hear(st)
	if st.State != state || st.Reason != reason {
		t.Errorf("the state is %v (%v), want %v (%v); last error: %s", st.State, st.Reason, state, reason, st.LastError)
	}
}

func wantLogs(t *testing.T, w *world, warns, infos int32) {
	t.Helper()
	synctest.Wait()
	if w.logged.warns.Load() != warns || w.logged.infos.Load() != infos || w.logged.others.Load() != 0 {
		t.Errorf("logged %d Warn, %d Info, %d other; want %d, %d, none",
			w.logged.warns.Load(), w.logged.infos.Load(), w.logged.others.Load(), warns, infos)
	}
}

// TestOutageTableIsComplete: each row of outages is tried above or below.
func TestOutageTableIsComplete(t *testing.T) {
	tried := map[Reason]bool{NoToken: true, TLSFailed: true, Unreachable: true} // TestNewToken, TestTLSFailed, TestServiceGone
	for _, row := range outageRows {
		tried[row.reason] = true
	}
	for _, row := range outage.Table {
		if reason := Reason(row.Reason); !tried[reason] {
			t.Errorf("no test for %v", reason)
		}
	}
}

// TestSlowDown: a Source that wants blocks all the time is slowed down by 429,
// and by and by makes as many requests again.
func TestSlowDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{Regions: []string{"api-eus"}}, qrypt.DialectQuantumEntropy)
		w.Script(qrypttest.Fault{Kind: qrypttest.Status, Status: 429, RetryAfter: time.Second, Times: 3})
		s := w.source(t, Config{BatchBlocks: 1, ReseedBytes: 1})
		for range 15000 {
			mustRead(t, s, 1)
			time.Sleep(time.Millisecond)
		}
		// The first 429 asks for more than a halving does, 1 s. From the third
		// on each answer adds a request to the window's 30/8.
		want := after(time.Second, next*4, next*8)
		for rate := outage.RateLimit/8.0 + 1; want[len(want)-1] < 15*time.Second; rate++ {
			want = append(want, want[len(want)-1]+time.Duration(1.01*float64(outage.RateWindow)/rate))
		}
		got := w.times()
		if len(got) < 10 || !slices.EqualFunc(got, want[:len(got)], func(a, b time.Duration) bool { return (a - b).Abs() < 20*time.Millisecond }) {
			t.Errorf("requests at\n%v, want\n%v", got, want)
		}
	})
}

// TestServiceGone: no connection can be made, and then one can.
func TestServiceGone(t *testing.T) {
	stubJitter(t)
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		w.gone.Store(true)
		s := w.source(t, Config{})
		time.Sleep(30 * time.Second) // attempts begin at 0, 1, 3, 8, 16 s, each at both endpoints
		wantState(t, s, Degraded, Unreachable)
		mustRead(t, s, 32)
		if got := s.Status().Requests; got != 10 {
			t.Errorf("%d requests, want 10", got)
		}
		w.gone.Store(false)
		time.Sleep(3 * time.Second)
		wantState(t, s, Seeded, "")
		wantLogs(t, w, 1, 1)
	})
}

// TestNewToken: with a refused token or none there is no request until another
// is there, but one an hour; the token is looked at every 30 s.
func TestNewToken(t *testing.T) {
	for _, tc := range []struct {
		token  string
		reason Reason
	}{
		{testToken2, Unauthorized},
		{"", NoToken},
		{"two\nlines", NoToken},
	} {
		t.Run(string(tc.reason), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
				w.token.Store(tc.token)
				s := w.source(t, Config{})
				time.Sleep(100 * time.Second)
				wantState(t, s, Degraded, tc.reason)
				mustRead(t, s, 32)
				before := len(w.times())
				if st := s.Status(); tc.reason == NoToken && (before != 0 || st.Requests != 0) {
					t.Errorf("%d requests without a token, %d counted", before, st.Requests)
				}
				w.token.Store(testToken)
				time.Sleep(19 * time.Second)
				if got := len(w.times()); got != before {
					t.Error("a request before the token was looked at")
				}
				time.Sleep(time.Second)
				wantState(t, s, Seeded, "")
				if got := w.times()[before]; !near(got, 120*time.Second) {
					t.Errorf("the new token was used after %v, want 120 s", got)
				}
			})
		})
	}
}

// TestNewTokenAtReseed: Reseed looks at the token at once, and says why not if
// it is the same.
func TestNewTokenAtReseed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		w.token.Store(testToken2)
		s := w.source(t, Config{})
		synctest.Wait()
		err := s.Reseed(t.Context())
		hear(err)
		if !errors.Is(err, qrypt.ErrUnauthorized) {
			t.Errorf("Reseed returned %v, want ErrUnauthorized", err)
		}
		if got := len(w.times()); got != 1 {
			t.Errorf("%d requests with the refused token, want 1", got)
		}
		w.token.Store(testToken)
		if err := s.Reseed(t.Context()); err != nil {
			t.Error(err)
		}
		wantState(t, s, Seeded, "")
	})
}

// TestQuotaOfAnotherAccount: a new token ends the wait for a quota, too.
func TestQuotaOfAnotherAccount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{Quota: 8, Tokens: []string{testToken, testToken2}}, qrypt.DialectQuantumEntropy)
		s := w.source(t, Config{})
		for range 6 {
			mustRead(t, s, 32)
			time.Sleep(time.Minute)
		}
		wantState(t, s, Degraded, QuotaReached)
		w.token.Store(testToken2)
		time.Sleep(outage.TokenInterval)
		wantState(t, s, Seeded, "")
	})
}

// TestReseedHeld: Reseed does not override what the service asked for, and says
// so; it does cut short a wait of our own.
func TestReseedHeld(t *testing.T) {
	stubJitter(t)
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		w.Script(qrypttest.Fault{Kind: qrypttest.Status, Status: 429, RetryAfter: time.Minute})
		s := w.source(t, Config{})
		synctest.Wait()
		err := s.Reseed(t.Context())
		hear(err)
		if !errors.Is(err, qrypt.ErrRateLimited) || !strings.Contains(err.Error(), "due in 1m0s") {
			t.Errorf("Reseed returned %v", err)
		}
		if got := w.times(); len(got) != 1 {
			t.Errorf("requests at %v", got)
		}
		time.Sleep(time.Minute)
		wantState(t, s, Seeded, "")
	})
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		w.Script(qrypttest.Fault{Kind: qrypttest.Status, Status: 503, Times: 12})
		s := w.source(t, Config{})
		time.Sleep(40 * time.Second) // requests so far at 0, 1, 3, 8, 16 and 32 s, each to both endpoints
		if got := len(w.times()); got != 12 {
			t.Fatalf("%d requests, want 12", got)
		}
		begin := time.Now()
		if err := s.Reseed(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > 0 {
			t.Errorf("Reseed waited %v", took)
		}
		wantState(t, s, Seeded, "")
	})
}

// TestReseedTriesBothEndpoints: Reseed fails only when both endpoints have.
func TestReseedTriesBothEndpoints(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		s := w.source(t, Config{})
		waitSeeded(t, s)
		w.ScriptRegion("api-eus", qrypttest.Fault{Kind: qrypttest.HTML, Times: -1})
		if err := s.Reseed(t.Context()); err != nil {
			t.Error(err)
		}
		if at := s.Status().LastEndpoint; at != "http://127.0.0.2" {
			t.Errorf("the block came from %s", at)
		}
		w.ScriptRegion("api-weu", qrypttest.Fault{Kind: qrypttest.Stuck, Times: -1})
		time.Sleep(time.Second)
		err := s.Reseed(t.Context())
		hear(err)
		if err == nil {
			t.Error("Reseed succeeded with a stuck source and a page of HTML")
		}
	})
}

// TestTLSFailed: errors of the client that need TLS, as the client types them.
func TestTLSFailed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stubJitter(t)
		blocks := &fakeBlocks{err: &qrypt.Error{Endpoint: "https://there", Class: qrypt.ErrTLS}}
		begin := time.Now()
		s := newTestSource(t, Config{Blocks: blocks}, 1)
		time.Sleep(4 * time.Second)
		wantState(t, s, Degraded, TLSFailed)
		if got, want := blocks.timesSince(begin), after(time.Second, 2*time.Second); !slices.EqualFunc(got, want, near) {
			t.Errorf("requests at %v, want %v", got, want)
		}
	})
}

// TestForeignErrors: what no row names is retried as the network's failures
// are; a BlockSource that breaks its contract is one of these.
func TestForeignErrors(t *testing.T) {
	stubJitter(t)
	for name, blocks := range map[string]BlockSource{
		"error": blockFunc(func(int) ([]qrypt.Block, error) { return nil, errors.New("no such thing") }),
		"none":  blockFunc(func(int) ([]qrypt.Block, error) { return nil, nil }),
		"too many": blockFunc(func(n int) (blocks []qrypt.Block, _ error) {
			for i := range n + 1 {
				blocks = append(blocks, newTestBlock(uint64(i)))
			}
			return blocks, nil
		}),
		"empty": blockFunc(func(n int) ([]qrypt.Block, error) { return make([]qrypt.Block, n), nil }),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var times []time.Duration
				begin := time.Now()
				counted := blockFunc(func(n int) ([]qrypt.Block, error) {
					times = append(times, time.Since(begin))
					return blocks.Blocks(t.Context(), n)
				})
				s := newTestSource(t, Config{Blocks: counted}, 1)
				time.Sleep(8 * time.Second)
				wantState(t, s, Degraded, Failed)
				if want := after(time.Second, 2*time.Second, 4*time.Second); !slices.EqualFunc(times, want, near) {
					t.Errorf("requests at %v, want %v", times, want)
				}
			})
		})
	}
}

type blockFunc func(n int) ([]qrypt.Block, error)

func (f blockFunc) Blocks(_ context.Context, n int) ([]qrypt.Block, error) { return f(n) }

// TestWarnOncePerReason: an outage that changes its face is logged once for
// each face, however often they alternate.
func TestWarnOncePerReason(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		w.ScriptRegion("api-eus", qrypttest.Fault{Kind: qrypttest.Status, Status: 503, Times: 20})
		w.ScriptRegion("api-weu", qrypttest.Fault{Kind: qrypttest.HTML, Times: 20})
		s := w.source(t, Config{})
		time.Sleep(2 * time.Hour)
		wantState(t, s, Seeded, "")
		wantLogs(t, w, 2, 1)
		st := s.Status()
		if st.Failures[NoSupply] != 20 || st.Failures[Malformed] != 20 || st.Requests != 43 { // after a 503 fewer blocks are asked for at a time
			t.Errorf("counted %v of %d requests, want 20 and 20 of 43", st.Failures, st.Requests)
		}
	})
}

// TestPartlyBadAnswer: of an answer with one bad block no block is used.
func TestPartlyBadAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stuck, err := qrypt.NewBlock(make([]byte, qrypt.BlockSize), qrypt.Origin{})
		if err != nil {
			t.Fatal(err)
		}
		answer := []qrypt.Block{newTestBlock(1), stuck, newTestBlock(2)}
		s := newTestSource(t, Config{Blocks: blockFunc(func(int) ([]qrypt.Block, error) { return answer, nil })}, 1)
		wantState(t, s, Degraded, Unhealthy)
		if st := s.Status(); st.Blocks != 0 || st.Stock != 0 || st.RefusedBlocks != 3 {
			t.Errorf("%d used, %d in stock, %d refused; want none, none, 3", st.Blocks, st.Stock, st.RefusedBlocks)
		}
		for i, b := range answer {
			if !allZero(b.Bytes()) {
				t.Errorf("block %d was not wiped", i)
			}
		}
	})
}

// TestShareOfALimit: Sources that know nothing of each other come to share what
// a token allows, and use most of it. (The emulator allows fewer requests than
// the service: the client's own limit, which processes do not share, is not met.)
func TestShareOfALimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const rate, sources = 12, 4
		w := newWorld(t, qrypttest.Config{Regions: []string{"api-eus"}, Rate: rate}, qrypt.DialectQuantumEntropy)
		var all []*Source
		for i := range sources {
			time.Sleep(time.Duration(i) * 777 * time.Millisecond)
			all = append(all, w.source(t, Config{BatchBlocks: 1, ReseedBytes: 1}))
		}
		const minutes = 30
		for range minutes * 60 * 10 {
			for _, s := range all {
				mustRead(t, s, 1)
			}
			time.Sleep(100 * time.Millisecond)
		}
		total := int64(0)
		for _, s := range all {
			total += s.Status().Blocks
		}
		allowed := int64(minutes * 60 / 10 * rate)
		if total < allowed*2/5 || total > allowed {
			t.Errorf("%d blocks of the %d allowed", total, allowed)
		}
		for i, s := range all {
			if st := s.Status(); st.Blocks < total/sources/2 || st.Blocks > total/sources*2 {
				t.Errorf("source %d has %d blocks, the mean is %d", i, st.Blocks, total/sources)
			}
		}
	})
}
