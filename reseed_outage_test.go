package qrand

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// outageRows are the rows of the table in docs/outages.md. A row says what the
// service does, what the Status then says, and when that endpoint is asked again:
// no sooner than least after a failure, and no later than most.
var outageRows = []struct {
	script      string
	reason      Reason
	least, most time.Duration
}{
	{"429 retry-after=5s x*", RateLimited, 5 * time.Second, longestWait429},
	{"429 retry-after-date=7s x*", RateLimited, 7 * time.Second, longestWait429},
	{"429 retry-after=2h x*", RateLimited, 10 * time.Minute, longestWait429}, // a bound
	{"429 x*", RateLimited, time.Second, longestWait429},
	{"503 x*", NoSupply, 0, 5 * time.Minute},
	{"503 retry-after=90s x*", NoSupply, 90 * time.Second, 90*time.Second + 5*time.Minute},
	{"500 x*", ServerError, 0, 5 * time.Minute},
	{"502 x*", ServerError, 0, 5 * time.Minute},
	{"504 x*", ServerError, 0, 5 * time.Minute},
	{"hang x*", TimedOut, 0, 6 * time.Minute}, // the request itself takes a while
	{"403 x*", QuotaReached, 15 * time.Minute, 6*time.Hour + 5*time.Minute},
	{"403 retry-after=37s x*", QuotaReached, 37 * time.Second, 57 * time.Second},
	{"403 retry-after=20h x*", QuotaReached, 20 * time.Hour, 20*time.Hour + 5*time.Minute},
	{"401 x*", Unauthorized, time.Hour, 65 * time.Minute},
	{"400 x*", BadRequest, time.Hour, 65 * time.Minute},
	{"404 x*", BadRequest, time.Hour, 65 * time.Minute},
	{"422 x*", BadRequest, time.Hour, 65 * time.Minute},
	{"408 x*", TimedOut, 0, 5 * time.Minute},
	{"redirect x*", Redirected, 0, 5 * time.Minute},
	{"html x*", Malformed, 0, 5 * time.Minute},
	{"oversize x*", Malformed, 0, 5 * time.Minute},
	{"gzip-bomb x*", Malformed, 0, 5 * time.Minute},
	{"truncate x*", Malformed, 0, 5 * time.Minute},
	{"short-body x*", Malformed, 0, 5 * time.Minute},
	{"bad-base64 x*", Malformed, 0, 5 * time.Minute},
	{"wrong-count x*", Malformed, 0, 5 * time.Minute},
	{"block-length x*", Malformed, 0, 5 * time.Minute},
	{"204 x*", Malformed, 0, 5 * time.Minute},
	{"stuck x*", Unhealthy, 0, 5 * time.Minute},
	{"biased x*", Unhealthy, 0, 5 * time.Minute},
	{"repeat x*", Repeated, 0, 5 * time.Minute},
}

// longestWait429 is the longest wait after a 429: from the beginning of the frame before the
// longest one to the end of that, twice, because two endpoints take turns.
const longestWait429 = 2 * (1280 + 320 + 80) * time.Second

// TestOutageTable tries each row with the real client. All Reads go on, reseeds come due,
// both endpoints are asked when the row says. One line is logged for all of it, and one at
// the recovery.
func TestOutageTable(t *testing.T) {
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

				mustRead(t, s, 32)
				length := min(5*row.most, 30*time.Hour)
				time.Sleep(length)
				for i, region := range []string{"api-eus", "api-weu"} {
					var last time.Duration
					requests := 0
					for _, r := range w.Requests() {
						if r.Region != region {
							continue
						}
						at := r.Time.Sub(w.begin)
						if wait := at - last; requests > 0 && (wait < row.least || wait > row.most+time.Second) { // of our own pace
							t.Errorf("%s: a request %v after the one before, want %v to %v", region, wait, row.least, row.most)
						}
						last = at
						if requests++; requests == 1 && at > time.Duration(i)*30*time.Second {
							t.Errorf("%s: the first request after %v", region, at)
						}
					}
					if length-last > row.most+time.Second {
						t.Errorf("%s: no request for %v, want one within %v", region, length-last, row.most)
					}
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
				time.Sleep(row.most + time.Second)
				mustRead(t, s, 32)
				wantState(t, s, Seeded, "")
				if st := s.Status(); st.Blocks == 0 {
					t.Errorf("no block was used after the outage: %v", st)
				}
				wantLogs(t, w, 1, 1)
			})
		})
	}
}

// TestOutageTableIsComplete: some test tries each Reason.
func TestOutageTableIsComplete(t *testing.T) {
	tried := map[Reason]bool{
		NoToken: true, TLSFailed: true, Unreachable: true, // TestNewToken, TestTLSFailed, TestServiceGone
		TooOld: true, Emulated: true, // TestOldBlockFromTheSource, TestEmulatedIsRefused
	}
	for _, row := range outageRows {
		tried[row.reason] = true
	}
	for _, row := range supply.Table {
		if reason := Reason(row.Reason); !tried[reason] {
			t.Errorf("no test for %v", reason)
		}
	}
}

// TestSlowDown: after three answers 429 a Source that always wants blocks makes hardly more
// than half of the requests for a while. Within three minutes it makes all again.
func TestSlowDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{Regions: []string{"api-eus"}}, qrypt.DialectQuantumEntropy)
		w.Script(qrypttest.Fault{Kind: qrypttest.Status, Status: 429, RetryAfter: time.Second, Times: 3})
		s := w.source(t, Config{BatchBlocks: 1, ReseedBytes: 1})
		const length = 240 * time.Second
		for range length / (10 * time.Millisecond) {
			mustRead(t, s, 1)
			time.Sleep(10 * time.Millisecond)
		}
		got := w.times()
		if len(got) < 4 || got[3] < 40*time.Second || got[3] > 81*time.Second {
			t.Fatalf("requests at %v, want the fourth after 40 s to 81 s", got)
		}
		requests := func(from time.Duration) (n int) { // in a window
			for _, at := range got {
				if at >= from && at < from+supply.RateWindow {
					n++
				}
			}
			return n
		}
		if n := requests(got[3]); n < 10 || n > 19 {
			t.Errorf("%d requests in the first window after the last 429, want some 16", n)
		}
		if n := requests(got[3] + 20*time.Second); n < 10 || n > 21 {
			t.Errorf("%d requests in the third window after the last 429, want some 18", n)
		}
		if n := requests(length - supply.RateWindow); n < 28 || n > supply.RateLimit {
			t.Errorf("%d requests in the last window, want 30", n)
		}
	})
}

// TestServiceGone: no connection can be made, and then one can.
func TestServiceGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		w.gone.Store(true)
		s := w.source(t, Config{}, longWaits)
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

// TestReseedHeld: Reseed does not override what the service asked for, and says so. It
// does cut short a wait that we chose ourselves.
func TestReseedHeld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{Regions: []string{"api-eus"}}, qrypt.DialectQuantumEntropy)
		w.Script(qrypttest.Fault{Kind: qrypttest.Status, Status: 429, RetryAfter: time.Minute})
		s := w.source(t, Config{}, longWaits)
		synctest.Wait()
		err := s.Reseed(t.Context())
		hear(err)
		if !errors.Is(err, qrypt.ErrRateLimited) || !strings.Contains(err.Error(), "due in 1m20s") { // and a spread
			t.Errorf("Reseed returned %v", err)
		}
		if got := w.times(); len(got) != 1 {
			t.Errorf("requests at %v", got)
		}
		time.Sleep(80 * time.Second)
		wantState(t, s, Seeded, "")
	})
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		w.Script(qrypttest.Fault{Kind: qrypttest.Status, Status: 503, Times: 12})
		s := w.source(t, Config{}, longWaits)
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

// TestTLSFailed: a TLS error, which the emulator in a bubble cannot cause.
func TestTLSFailed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		blocks := &fakeBlocks{err: &qrypt.Error{Endpoint: "https://there", Class: qrypt.ErrTLS}}
		begin := time.Now()
		s := newTestSource(t, Config{Blocks: blocks}, 1, longWaits)
		time.Sleep(4 * time.Second)
		wantState(t, s, Degraded, TLSFailed)
		if got, want := blocks.timesSince(begin), after(time.Second, 2*time.Second); !slices.EqualFunc(got, want, near) {
			t.Errorf("requests at %v, want %v", got, want)
		}
	})
}

// TestForeignErrors: errors that are in no row are retried like failures of the network.
// So are those of a BlockSource that breaks its contract.
func TestForeignErrors(t *testing.T) {
	for name, blocks := range map[string]BlockSource{
		"error": blockFunc(func(context.Context, int) ([]qrypt.Block, error) { return nil, errors.New("no such thing") }),
		"none":  blockFunc(func(context.Context, int) ([]qrypt.Block, error) { return nil, nil }),
		"too many": blockFunc(func(_ context.Context, n int) (blocks []qrypt.Block, _ error) {
			for i := range n + 1 {
				blocks = append(blocks, newTestBlock(uint64(i)))
			}
			return blocks, nil
		}),
		"empty": blockFunc(func(_ context.Context, n int) ([]qrypt.Block, error) { return make([]qrypt.Block, n), nil }),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var times []time.Duration
				begin := time.Now()
				counted := blockFunc(func(_ context.Context, n int) ([]qrypt.Block, error) {
					times = append(times, time.Since(begin))
					return blocks.Blocks(t.Context(), n)
				})
				s := newTestSource(t, Config{Blocks: counted}, 1, longWaits)
				time.Sleep(8 * time.Second)
				wantState(t, s, Degraded, Failed)
				if want := after(time.Second, 2*time.Second, 4*time.Second); !slices.EqualFunc(times, want, near) {
					t.Errorf("requests at %v, want %v", times, want)
				}
			})
		})
	}
}

// TestPartlyBadAnswer: if one block of an answer is bad, none is used.
func TestPartlyBadAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stuck, err := qrypt.NewBlock(make([]byte, qrypt.BlockSize), qrypt.Origin{})
		if err != nil {
			t.Fatal(err)
		}
		answer := []qrypt.Block{newTestBlock(1), stuck, newTestBlock(2)}
		s := newTestSource(t, Config{Blocks: blockFunc(func(context.Context, int) ([]qrypt.Block, error) { return answer, nil })}, 1)
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

// TestStockInAnOutage: a reseed from the stock does not end an outage.
func TestStockInAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		blocks := &fakeBlocks{}
		s := newTestSource(t, Config{Blocks: blocks}, 1)
		waitSeeded(t, s)
		blocks.setErr(&qrypt.Error{Class: qrypt.ErrNoSupply})
		s.Reseed(t.Context())
		time.Sleep(30 * time.Second)
		mustRead(t, s, 1)
		time.Sleep(time.Minute)
		wantState(t, s, Degraded, NoSupply)
		if st := s.Status(); st.Blocks != 2 || st.OSReseeds != 0 || st.NextRequest.IsZero() {
			t.Errorf("status: %v", st)
		}
		s.Close()
		if st := s.Status(); !st.NextRequest.IsZero() {
			t.Errorf("after Close: %v", st)
		}
	})
}

// TestFailedReseedIsRecoveredFrom: an outage that began with a full stock ends by itself,
// and costs one block.
func TestFailedReseedIsRecoveredFrom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		blocks := &fakeBlocks{}
		s := newTestSource(t, Config{Blocks: blocks}, 1)
		waitSeeded(t, s)
		for range 50 {
			blocks.setErr(errors.New("for a moment"))
			s.Reseed(t.Context())
			blocks.setErr(nil)
			time.Sleep(10 * time.Minute)
			wantState(t, s, Seeded, "")
		}
		if st := s.Status(); st.Stock != 7 || st.Blocks != 51 {
			t.Errorf("after 50 outages: %v", st)
		}
	})
}

// TestSecondOutage: each outage begins with short waits, like the first. The second one in
// ten minutes is logged, too. After that nothing is logged until there was no failure for
// ten minutes.
func TestSecondOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{Regions: []string{"api-eus"}}, qrypt.DialectQuantumEntropy)
		s := w.source(t, Config{BatchBlocks: 1}, longWaits)
		waitSeeded(t, s)
		for outage, want := range []struct{ warns, infos int32 }{{1, 1}, {2, 1}, {2, 1}, {2, 1}} {
			begin := len(w.times())
			w.Script(qrypttest.Fault{Kind: qrypttest.Status, Status: 500, Times: 4})
			s.Reseed(t.Context())
			time.Sleep(time.Minute)
			got := w.times()[begin:]
			for i := range got {
				got[i] -= w.times()[begin]
			}
			if want := after(1*time.Second, 2*time.Second, 4*time.Second, 8*time.Second); !slices.EqualFunc(got, want, near) {
				t.Errorf("outage %d: requests at %v, want %v", outage, got, want)
			}
			wantLogs(t, w, want.warns, want.infos)
		}
		time.Sleep(9 * time.Minute)
		wantLogs(t, w, 2, 1)
		time.Sleep(time.Minute)
		wantLogs(t, w, 2, 2)
	})
}

// TestFlapping: there are three lines about a service that fails every second time for an
// hour.
func TestFlapping(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{Regions: []string{"api-eus"}}, qrypt.DialectQuantumEntropy)
		for range 3000 {
			w.Script(qrypttest.Fault{Kind: qrypttest.Status, Status: 503}, qrypttest.Fault{Kind: qrypttest.OK})
		}
		s := w.source(t, Config{BatchBlocks: 1})
		for w.Pending() > 0 {
			s.Reseed(t.Context())
			time.Sleep(time.Second)
		}
		wantLogs(t, w, 2, 1)
		if took := time.Since(w.begin); took < 40*time.Minute {
			t.Errorf("it was over after %v", took)
		}
	})
}

// TestJitterIsApplied: a wait is as long as the random part makes it.
func TestJitterIsApplied(t *testing.T) {
	halves := parts{random: func(d time.Duration) time.Duration { return d / 2 }}
	bubble(t, func(t *testing.T) {
		begin := time.Now()
		blocks := &fakeBlocks{err: errors.New("no")}
		newTestSource(t, Config{Blocks: blocks}, 1, halves)
		time.Sleep(10 * time.Second)
		got := blocks.timesSince(begin)
		if want := after(500*time.Millisecond, time.Second, 2*time.Second, 4*time.Second); !slices.EqualFunc(got, want, near) {
			t.Errorf("requests at %v, want %v", got, want)
		}
	})
}

// TestShortWindow: after a 429 without Retry-After we wait for at least a second, even if
// none of our own requests counts any more.
func TestShortWindow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		begin := time.Now()
		s := newTestSource(t, Config{BatchBlocks: 1, Blocks: blockFunc(func(ctx context.Context, _ int) ([]qrypt.Block, error) {
			if time.Since(begin) < 10*time.Second {
				time.Sleep(10 * time.Second) // the window has passed when the answer comes
				return nil, &qrypt.Error{Class: qrypt.ErrRateLimited}
			}
			return []qrypt.Block{newTestBlock(1)}, nil
		})}, 1)
		waitSeeded(t, s)
		if took := time.Since(begin); took < 11*time.Second || took > 31*time.Second {
			t.Errorf("seeded after %v, want 11 to 31 s", took)
		}
	})
}

// TestHangIsTold: a request that hangs is an outage, too. It is reported once, and is over
// when the request ends.
func TestHangIsTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		calls := 0
		var failures atomic.Int32
		s := newTestSource(t, Config{BatchBlocks: 1, Blocks: blockFunc(func(ctx context.Context, _ int) ([]qrypt.Block, error) {
			if calls++; calls == 2 {
				<-release
			}
			return []qrypt.Block{newTestBlock(uint64(calls))}, nil
		}), OnEvent: func(e Event) {
			if e.Kind == RequestFailed {
				failures.Add(1)
			}
		}}, 1)
		waitSeeded(t, s)
		go s.Reseed(t.Context())
		time.Sleep(supply.HangLimit)
		wantState(t, s, Seeded, "")
		time.Sleep(time.Hour)
		wantState(t, s, Degraded, TimedOut)
		if err := s.Reseed(t.Context()); !errors.Is(err, ErrHeld) || strings.Contains(err.Error(), "due") {
			t.Errorf("while the only endpoint hangs, Reseed returned %v", err)
		}
		if st := s.Status(); failures.Load() != 1 || st.Requests != 2 || st.Failures[TimedOut] != 1 {
			t.Errorf("%d events: %v", failures.Load(), st)
		}
		close(release)
		wantState(t, s, Seeded, "")
		if st := s.Status(); st.Requests != 2 || st.Blocks != 2 {
			t.Errorf("status: %v", st)
		}
	})
}

// TestCloseIsNoOutage: a request that Close ends is not reported as a failure.
func TestCloseIsNoOutage(t *testing.T) {
	for range 20 {
		bubble(t, func(t *testing.T) {
			s := newTestSource(t, Config{Blocks: blockFunc(func(ctx context.Context, _ int) ([]qrypt.Block, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}), OnEvent: func(e Event) {
				if e.State != Closed {
					t.Errorf("%v, %v: %v", e.Kind, e.State, e.Err)
				}
			}}, 1)
			synctest.Wait()
			s.Close()
			if st := s.Status(); len(st.Failures) != 0 {
				t.Errorf("status: %v", st)
			}
		})
	}
}

// TestQueueIsNoHang: if 600 Sources of a process wait for each other, that is no failure of
// the service.
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
