package qrand

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// These tests each guard a line that others would not miss.

// TestNoByteDuringTheFirstReseed: a Policy lets bytes out when the block is in
// the key of every shard, not while it is on its way there.
func TestNoByteDuringTheFirstReseed(t *testing.T) {
	for policy, want := range map[Policy]error{RequireInitial: ErrNotSeeded, RequireFresh: ErrStale} {
		var s *Source
		var during atomic.Int32
		extract := func(os *[32]byte, shard byte, block []byte) [32]byte {
			if shard == 1 { // shard 0 has it already
				if _, err := s.Read(make([]byte, 8)); err == want {
					during.Add(1)
				} else {
					t.Errorf("%v: during the reseed Read returned %v, want %v", policy, err, want)
				}
			}
			return hmacExtract(os, shard, block)
		}
		bubble(t, func(t *testing.T) {
			ready := make(chan struct{})
			s = newTestSource(t, Config{Policy: policy, Blocks: blockFunc(func(context.Context, int) ([]qrypt.Block, error) {
				<-ready
				return []qrypt.Block{newTestBlock(1)}, nil
			}), BatchBlocks: 1}, 3, parts{extract: extract})
			if policy == RequireFresh {
				long := time.Now().Add(-time.Hour)
				s.newest.Store(&long)
			}
			close(ready)
			synctest.Wait()
			mustRead(t, s, 8)
		})
		if during.Load() != 1 {
			t.Errorf("%v: %d Reads during the reseed", policy, during.Load())
		}
	}
}

// TestEachShardHasItsOwnOS: a reseed reads 32 bytes of crypto/rand for each
// shard.
func TestEachShardHasItsOwnOS(t *testing.T) {
	os := newTape()
	s := newTestSource(t, Config{Blocks: &fakeBlocks{err: errors.New("none")}}, 3, parts{os: os})
	os.reads = nil
	for _, block := range [][]byte{newTestBlock(1).Bytes(), nil} {
		s.rekeyAll(block)
		for range s.shards {
			os.next(t, 32)
		}
	}
	if len(os.reads) != 0 {
		t.Error("more was read")
	}
}

// TestWiped: blocks are wiped when used, and at Close.
func TestWiped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		blocks := &fakeBlocks{}
		s := newTestSource(t, Config{Blocks: blocks}, 1)
		wiped := func() (n int) {
			synctest.Wait()
			for _, b := range blocks.given {
				if allZero(b.Bytes()) {
					n++
				}
			}
			return n
		}
		if got := wiped(); got != 1 {
			t.Errorf("after the first reseed %d blocks are wiped", got)
		}
		time.Sleep(time.Hour)
		mustRead(t, s, 1)
		if got := wiped(); got != 2 {
			t.Errorf("after the second reseed %d blocks are wiped", got)
		}
		s.Close()
		if got := wiped(); got != len(blocks.given) {
			t.Errorf("after Close %d blocks of %d are wiped", got, len(blocks.given))
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

// TestFailedReseedIsRecoveredFrom: an outage that began with the stock full ends
// by itself, and costs a block.
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

// TestSecondOutage begins as the first did, with short waits. The second one in ten
// minutes is told, and that from then on lines are few; then only ten minutes
// without a failure are worth another.
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

// TestFlapping: a service that answers each second time for an hour is told of in
// three lines.
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

// TestJitterIsApplied: the wait is what jitter made of it.
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

// TestRetryAfterIsALowerBound: it is waited for, be it short, it is not forgotten
// when the other endpoint fails without one, and Reseed does not skip it.
func TestRetryAfterIsALowerBound(t *testing.T) {
	bubble(t, func(t *testing.T) {
		begin := time.Now()
		blocks := &fakeBlocks{err: &qrypt.Error{Class: qrypt.ErrNoSupply, RetryAfter: time.Millisecond}}
		newTestSource(t, Config{Blocks: blocks}, 1, longWaits)
		time.Sleep(time.Minute)
		got := blocks.timesSince(begin)
		for i := 1; i < len(got); i++ {
			if got[i]-got[i-1] < time.Second {
				t.Errorf("requests at %v", got)
			}
		}
		if len(got) < 3 {
			t.Errorf("requests at %v", got)
		}
	})
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		w.ScriptRegion("api-eus", qrypttest.Fault{Kind: qrypttest.Status, Status: 503, RetryAfter: 5 * time.Minute, Times: -1})
		w.ScriptRegion("api-weu", qrypttest.Fault{Kind: qrypttest.HTML, Times: -1})
		s := w.source(t, Config{}, longWaits)
		time.Sleep(time.Second / 2)
		for range 100 {
			if err := s.Reseed(t.Context()); !errors.Is(err, qrypt.ErrMalformed) {
				t.Errorf("Reseed returned %v", err)
			}
		}
		time.Sleep(5*time.Minute - 2*time.Second)
		var eus []time.Duration
		for _, r := range w.Requests() {
			if r.Region == "api-eus" {
				eus = append(eus, r.Time.Sub(w.begin))
			}
		}
		if len(eus) > 1 && eus[1] < 5*time.Minute {
			t.Errorf("requests to the endpoint that asked for 5 min at %v", eus)
		}
		time.Sleep(time.Minute)
		if n := len(w.Requests()); n < 102 {
			t.Errorf("%d requests", n)
		}
	})
}

// TestShortWindow: a 429 without Retry-After is waited for a second, even if our
// own requests would allow another at once.
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

// TestThirtyIn10s: however often Reseed is called, and whatever the BlockSource,
// no window of 10 s has more than 30 requests.
func TestThirtyIn10s(t *testing.T) {
	bubble(t, func(t *testing.T) {
		begin := time.Now()
		blocks := &fakeBlocks{}
		s := newTestSource(t, Config{Blocks: blocks}, 1)
		for i := range 200 {
			if i == 100 { // also where each call cuts a wait short
				blocks.setErr(errors.New("no"))
			}
			s.Reseed(t.Context())
		}
		times := blocks.timesSince(begin)
		for i := limit; i < len(times); i++ {
			if times[i]-times[i-limit] <= supply.RateWindow {
				t.Fatalf("%d requests in %v", limit+1, times[i]-times[i-limit])
			}
		}
		if len(times) < 200 {
			t.Errorf("%d requests for 200 calls", len(times))
		}
	})
}

// TestSlowTokenCheck: a check of the token is bounded, goes on alone, and ends
// at Close.
func TestSlowTokenCheck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var checks atomic.Int32
		blocks := refusedToken(func(ctx context.Context) {
			checks.Add(1)
			<-ctx.Done()
		})
		s := newTestSource(t, Config{Blocks: blocks}, 1)
		time.Sleep(10 * time.Minute)
		if got := checks.Load(); got < 7 || got > 14 {
			t.Errorf("%d checks of 30 s each in 10 minutes, 30 s apart, want some 10", got)
		}
		if err := s.Reseed(t.Context()); !errors.Is(err, ErrHeld) {
			t.Errorf("Reseed returned %v", err)
		}
		go s.Reseed(t.Context())
		synctest.Wait()
		s.Close()
		if asked, _ := blocks.requests(); len(asked) != 1 {
			t.Errorf("%d requests", len(asked))
		}
		if st := s.Status(); !st.NextRequest.IsZero() || st.State != Closed {
			t.Errorf("after Close: %v", st)
		}
	})
}

// TestNoTokenToWatch: a BlockSource that cannot compare tokens is asked hourly.
func TestNoTokenToWatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		begin := time.Now()
		blocks := &fakeBlocks{err: &qrypt.Error{Class: qrypt.ErrUnauthorized}}
		newTestSource(t, Config{Blocks: blocks}, 1)
		time.Sleep(24 * time.Hour)
		if got := blocks.timesSince(begin); len(got) < 23 || len(got) > 25 {
			t.Errorf("requests at %v, want one an hour", got)
		}
	})
}

// TestTwoSourcesOneClient: both see that the token they were refused with has
// been replaced, whichever asks first.
func TestTwoSourcesOneClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		w.token.Store(testToken2)
		a, b := w.source(t, Config{}), w.source(t, Config{})
		time.Sleep(time.Second)
		wantState(t, a, Degraded, Unauthorized)
		wantState(t, b, Degraded, Unauthorized)
		w.token.Store(testToken)
		if err := a.Reseed(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(supply.TokenInterval * 3 / 2)
		wantState(t, a, Seeded, "")
		wantState(t, b, Seeded, "")
	})
}

// TestHangIsTold: a request that never ends is an outage too, told once, and
// over when it ends.
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

// whileBusy runs do while the reseeder is held up in OnEvent, with a request
// under way beside it that takes some time.
func whileBusy(t *testing.T, takes time.Duration, onEvent func(Event), do func(s *Source)) {
	var requests atomic.Int32
	var held atomic.Bool
	release := make(chan struct{})
	s := newTestSource(t, Config{ReseedInterval: 30 * time.Second, Blocks: blockFunc(func(ctx context.Context, _ int) (blocks []qrypt.Block, err error) {
		request := requests.Add(1)
		if request == 2 {
			select {
			case <-time.After(takes):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		n := 8
		if request > 2 {
			n = 1
		}
		for i := range n {
			blocks = append(blocks, newTestBlock(uint64(100*int(request)+i)))
		}
		return blocks, nil
	}), OnEvent: func(e Event) {
		onEvent(e)
		if requests.Load() == 2 && !held.Swap(true) { // a reseed from the stock, beside the second request
			<-release
		}
	}}, 1)
	time.Sleep(15 * time.Second)
	for range 6 {
		mustRead(t, s, 1)
		time.Sleep(30 * time.Second)
	}
	synctest.Wait()
	if !held.Load() {
		t.Fatal("the reseeder was not held up")
	}
	time.Sleep(time.Minute)
	done := make(chan struct{})
	go func() {
		do(s)
		close(done)
	}()
	synctest.Wait()
	close(release)
	<-done
}

// TestReseedIsNotAnsweredFromBefore: an answer that had come when Reseed was
// called does not do for it, even if nobody had looked at it yet.
func TestReseedIsNotAnsweredFromBefore(t *testing.T) {
	for range 20 { // the order is chance
		bubble(t, func(t *testing.T) {
			whileBusy(t, 45*time.Second, func(Event) {}, func(s *Source) {
				called := time.Now()
				if err := s.Reseed(t.Context()); err != nil {
					t.Error(err)
				}
				if st := s.Status(); st.LastReceived.Before(called) {
					t.Errorf("a block that came %v before the call", called.Sub(st.LastReceived))
				}
			})
		})
	}
}

// TestCloseWhileBusy: a request that Close cuts short is no outage, even if the
// reseeder learns of both at once.
func TestCloseWhileBusy(t *testing.T) {
	for range 20 {
		bubble(t, func(t *testing.T) {
			whileBusy(t, time.Hour, func(e Event) {
				if e.Kind == RequestFailed || e.State == Degraded {
					t.Errorf("%v, %v: %v", e.Kind, e.State, e.Err)
				}
			}, func(s *Source) { s.Close() })
		})
	}
}

// TestClockJump: a Source that the clock makes stale is reseeded at once.
func TestClockJump(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newTestSource(t, Config{
			Blocks: &fakeBlocks{}, Policy: RequireFresh, ReseedInterval: time.Hour, MaxAge: 2 * time.Hour,
		}, 1)
		waitSeeded(t, s)
		long := time.Now().Add(-3 * time.Hour)
		s.newest.Store(&long) // as after a sleep of the machine
		wantRefused(t, s, ErrStale)
		time.Sleep(time.Second)
		mustRead(t, s, 1)
	})
}

// TestRefusedReadsAreForgotten: once a reseed has answered a refused Read, an
// idle Source uses no more.
func TestRefusedReadsAreForgotten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newTestSource(t, Config{Blocks: &fakeBlocks{}, Policy: RequireFresh}, 1)
		waitSeeded(t, s)
		time.Sleep(time.Hour)
		wantRefused(t, s, ErrStale)
		time.Sleep(24 * time.Hour)
		if st := s.Status(); st.Blocks != 2 || st.OSReseeds != 1 {
			t.Errorf("a day later: %v", st)
		}
	})
}

// TestOldBlockFromTheSource: RequireFresh refuses a block that its source had
// for too long, also when it arrives.
func TestOldBlockFromTheSource(t *testing.T) {
	for policy, reason := range map[Policy]Reason{RequireFresh: TooOld, Augment: ""} {
		bubble(t, func(t *testing.T) {
			old := newTestBlock(1)
			aged, err := qrypt.NewBlock(old.Bytes(), qrypt.Origin{Received: time.Now().Add(-time.Hour)})
			if err != nil {
				t.Fatal(err)
			}
			s := newTestSource(t, Config{BatchBlocks: 1, Policy: policy, Blocks: blockFunc(func(context.Context, int) ([]qrypt.Block, error) {
				return []qrypt.Block{aged}, nil
			})}, 1)
			synctest.Wait()
			if st := s.Status(); st.Reason != reason {
				t.Errorf("%v: %v", policy, st)
			}
		})
	}
}

// TestUnhealthyFailsOver: after a bad block the other endpoint is asked.
func TestUnhealthyFailsOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		w.ScriptRegion("api-eus", qrypttest.Fault{Kind: qrypttest.Stuck, Times: -1})
		s := w.source(t, Config{})
		time.Sleep(time.Second)
		wantState(t, s, Seeded, "")
		if at := s.Status().LastEndpoint; at != "http://127.0.0.2" {
			t.Errorf("the block came from %s", at)
		}
	})
}

// TestEmulatedIsLoggedOnce: and said by every Status.
func TestEmulatedIsLoggedOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		s := w.source(t, Config{})
		for range 5 {
			if err := s.Reseed(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if got := w.logged.emulated.Load(); got != 1 || !s.Status().Emulated {
			t.Errorf("logged %d times, status: %v", got, s.Status())
		}
	})
}

// TestSmallSupply: where the service has less than a batch, less is asked for.
func TestSmallSupply(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var asked []int
		s := newTestSource(t, Config{BatchBlocks: 64, Blocks: blockFunc(func(_ context.Context, n int) ([]qrypt.Block, error) {
			if asked = append(asked, n); n > 10 {
				return nil, &qrypt.Error{Class: qrypt.ErrNoSupply}
			}
			return []qrypt.Block{newTestBlock(uint64(len(asked)))}, nil
		})}, 1, longWaits)
		waitSeeded(t, s)
		if want := []int{64, 32, 16, 8}; !slices.Equal(asked, want) {
			t.Errorf("asked for %v blocks, want %v", asked, want)
		}
	})
}

// TestCloseIsNoOutage: a request that Close cuts short is not reported as one.
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

// TestReadsAreCountedOnce: a Read longer than a piece is one.
func TestReadsAreCountedOnce(t *testing.T) {
	s := newTestSource(t, Config{Blocks: &fakeBlocks{}}, 2)
	mustRead(t, s, 3*pieceSize)
	if st := s.Status(); st.Reads != 1 || st.Bytes != 3*pieceSize {
		t.Errorf("%d reads, %d bytes", st.Reads, st.Bytes)
	}
}
