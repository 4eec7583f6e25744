package qrand

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// TestIdleCostsNothing: once seeded, a Source that nobody reads makes no
// request and uses no block for a day; the first byte read then reseeds.
func TestIdleCostsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		s := w.source(t, Config{})
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if got := w.times(); len(got) != 1 {
			t.Errorf("requests at %v, want one at 0", got)
		}
		if st := s.Status(); st.Blocks != 1 || st.OSReseeds != 0 || st.Stock != 7 || !st.NextRequest.IsZero() {
			t.Errorf("after a day: %v", st)
		}
		mustRead(t, s, 1)
		synctest.Wait()
		if st := s.Status(); st.Blocks != 2 || st.LastBlock != time.Now() {
			t.Errorf("after the first byte: %v", st)
		}
		time.Sleep(24 * time.Hour)
		mustRead(t, s, 1)
		synctest.Wait()
		if st := s.Status(); st.Blocks != 3 {
			t.Errorf("after the next day's first byte: %v", st)
		}
	})
}

// TestBusyUsesOneBlockPerReseed: in a day of steady reading there is one reseed a minute,
// each with one block, and one request at every second reseed.
func TestBusyUsesOneBlockPerReseed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		s := w.source(t, Config{})
		synctest.Wait()
		for range 24 * 60 * 2 {
			mustRead(t, s, 32)
			time.Sleep(30 * time.Second)
		}
		synctest.Wait()
		st := s.Status()
		if want := int64(1 + 24*60); st.Blocks != want || st.OSReseeds != 0 {
			t.Errorf("%d reseeds with a block and %d without, want %d and 0", st.Blocks, st.OSReseeds, want)
		}
		// docs/modes.md quotes these.
		if got := w.Issued(); got != st.Blocks+int64(st.Stock) || got > 1449 {
			t.Errorf("the service gave %d blocks, %d are used and %d in stock", got, st.Blocks, st.Stock)
		}
		if st.Requests != 721 {
			t.Errorf("%d requests, want 721", st.Requests)
		}
	})
}

// TestReseedBytes: a reseed comes when ReseedBytes went out, and an eighth more
// at the most.
func TestReseedBytes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newTestSource(t, Config{Blocks: &fakeBlocks{}, ReseedBytes: 80_000, BatchBlocks: 64}, 4)
		synctest.Wait()
		for round := range 10 {
			sent := int64(0)
			for s.Status().Blocks == int64(round+1) {
				mustRead(t, s, 100)
				sent += 100
				synctest.Wait()
			}
			if sent < 80_000 || sent > 90_000+400 { // a Read more in each shard
				t.Errorf("reseeded after %d bytes, want 80,000 to 90,000", sent)
			}
		}
	})
}

// TestStock: the stock is filled up at every second reseed. Blocks are used in the order
// in which they came, and wiped.
func TestStock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var used []string
		blocks := &fakeBlocks{}
		extract := func(os *[32]byte, shard byte, block []byte) [32]byte {
			used = append(used, string(block[:8]))
			return hmacExtract(os, shard, block)
		}
		s := newTestSource(t, Config{Blocks: blocks}, 1, parts{extract: extract})
		synctest.Wait()
		time.Sleep(30 * time.Second) // reads come between reseeds
		for range 20 {
			mustRead(t, s, 1)
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		want := []string{string(newTestBlock(8).Bytes()[:8])} // the newest: nothing had been in the key
		for n := uint64(1); n <= 22; n++ {
			if n != 8 {
				want = append(want, string(newTestBlock(n).Bytes()[:8]))
			}
		}
		if !slices.Equal(used, want[:len(used)]) || len(used) != 21 {
			t.Errorf("%d blocks used, or in another order than they came", len(used))
		}
		asked, times := blocks.requests()
		if !slices.Equal(asked, []int{8, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2}) { // of the first answer, one went into the key
			t.Fatalf("requests for %v blocks", asked)
		}
		for i := range times {
			if got, want := times[i].Sub(times[0]), time.Duration(i)*2*time.Minute; i > 0 && got != want-30*time.Second && got != want {
				t.Errorf("request %d at %v", i, got)
			}
		}
	})
}

// TestStockAfterARefusal: after a 429 the blocks in stock are used first, since others need
// the requests more, though a service in order would be asked after two reseeds.
func TestStockAfterARefusal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		blocks := &fakeBlocks{}
		s := newTestSource(t, Config{Blocks: blocks}, 1)
		waitSeeded(t, s)
		blocks.setErr(&qrypt.Error{Class: qrypt.ErrRateLimited})
		s.Reseed(t.Context())
		blocks.setErr(nil)
		time.Sleep(10 * time.Minute)
		if stock := s.Status().Stock; stock != 7 {
			t.Fatalf("%d blocks in stock, want 7", stock)
		}
		asked, _ := blocks.requests()
		for range 4 {
			mustRead(t, s, 1)
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		if again, _ := blocks.requests(); len(again) != len(asked) || s.Status().Stock != 3 {
			t.Errorf("%d requests, %d blocks in stock; want 0, 3", len(again)-len(asked), s.Status().Stock)
		}
	})
}

// TestBatchOfOne: with BatchBlocks 1 there is no stock, so that a program that reads once
// costs one block.
func TestBatchOfOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		blocks := &fakeBlocks{}
		s := newTestSource(t, Config{Blocks: blocks, BatchBlocks: 1}, 1)
		waitSeeded(t, s)
		mustRead(t, s, 32)
		synctest.Wait()
		if asked, _ := blocks.requests(); !slices.Equal(asked, []int{1}) {
			t.Errorf("requests for %v blocks for one Read", asked)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		asked, _ := blocks.requests()
		if st := s.Status(); !slices.Equal(asked, []int{1, 1}) || st.Blocks != 2 || st.Stock != 0 {
			t.Errorf("after a minute requests for %v blocks: %v", asked, st)
		}
	})
}

// TestReseedAsksForAFreshBlock: whatever is in stock, Reseed mixes in a block
// that came after the call.
func TestReseedAsksForAFreshBlock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		blocks := &fakeBlocks{}
		s := newTestSource(t, Config{Blocks: blocks}, 2)
		waitSeeded(t, s)
		time.Sleep(time.Hour)
		if err := s.Reseed(t.Context()); err != nil {
			t.Fatal(err)
		}
		st := s.Status()
		if st.LastReceived != time.Now() || st.LastBlock != time.Now() || st.Blocks != 2 || st.Stock != 7 {
			t.Errorf("after Reseed: %v", st)
		}
		if asked, _ := blocks.requests(); !slices.Equal(asked, []int{8, 1}) {
			t.Errorf("requests for %v blocks, want 8 and 1", asked)
		}
	})
}

// TestReseedsShareARequest: the next request answers all calls of Reseed that came during
// the last one.
func TestReseedsShareARequest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		requests := 0
		s := newTestSource(t, Config{BatchBlocks: 1, Blocks: blockFunc(func(context.Context, int) ([]qrypt.Block, error) {
			requests++ // one at a time
			time.Sleep(time.Second)
			return []qrypt.Block{newTestBlock(uint64(requests))}, nil
		})}, 1)
		synctest.Wait()
		errs := make(chan error)
		for range 3 {
			go func() { errs <- s.Reseed(t.Context()) }()
		}
		for range 3 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if requests != 2 {
			t.Errorf("%d requests for three Reseeds at once, and the one before", requests)
		}
	})
}

// TestWaits: WaitSeeded and Reseed end with their context and at Close, and say why.
func TestWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		s := newTestSource(t, Config{Blocks: blockFunc(func(context.Context, int) ([]qrypt.Block, error) {
			<-release
			return nil, errors.New("the cable is out")
		})}, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for name, err := range map[string]error{"WaitSeeded": s.WaitSeeded(ctx), "Reseed": s.Reseed(ctx)} {
			hear(err)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s returned %v", name, err)
			}
		}
		close(release)
		synctest.Wait()
		if err := s.WaitSeeded(ctx); !strings.Contains(err.Error(), "the cable is out") {
			t.Errorf("WaitSeeded does not say why: %v", err)
		}
		if err := s.Reseed(t.Context()); !strings.Contains(err.Error(), "the cable is out") {
			t.Errorf("Reseed does not say why: %v", err)
		}
		s.Close()
		if err := s.WaitSeeded(t.Context()); err != ErrClosed {
			t.Errorf("WaitSeeded returned %v", err)
		}
		if err := s.Reseed(t.Context()); err != ErrClosed {
			t.Errorf("Reseed returned %v", err)
		}
	})
}

// TestWaitSeededAfterClose: a closed Source is no longer seeded.
func TestWaitSeededAfterClose(t *testing.T) {
	s := newTestSource(t, Config{Blocks: &fakeBlocks{}}, 1)
	waitSeeded(t, s)
	s.Close()
	for range 20 {
		if err := s.WaitSeeded(t.Context()); err != ErrClosed {
			t.Fatalf("WaitSeeded returned %v", err)
		}
	}
}

// TestCloseEndsWaitSeeded: a WaitSeeded that waits in an outage ends at Close.
func TestCloseEndsWaitSeeded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newTestSource(t, Config{Blocks: &fakeBlocks{err: errors.New("out")}}, 1)
		waited := make(chan error, 1)
		go func() { waited <- s.WaitSeeded(t.Context()) }()
		synctest.Wait()
		s.Close()
		synctest.Wait()
		select {
		case err := <-waited:
			if err != ErrClosed {
				t.Errorf("WaitSeeded returned %v", err)
			}
		default:
			t.Error("WaitSeeded still waits")
		}
	})
}

// TestCloseDuringFetch: Close ends a request under way, and wipes the blocks that it
// brought.
func TestCloseDuringFetch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		block := newTestBlock(1)
		s := newTestSource(t, Config{Blocks: blockFunc(func(ctx context.Context, _ int) ([]qrypt.Block, error) {
			<-ctx.Done()
			return []qrypt.Block{block}, nil // a source that answers even so
		})}, 1)
		asked := make(chan error)
		go func() { asked <- s.Reseed(t.Context()) }()
		synctest.Wait()
		s.Close()
		if err := <-asked; err != ErrClosed {
			t.Errorf("Reseed returned %v", err)
		}
		if !allZero(block.Bytes()) {
			t.Error("the block was not wiped")
		}
		if st := s.Status(); st.Blocks != 0 {
			t.Errorf("after Close: %v", st)
		}
	})
}

// TestReseedsWhileTheServiceHangs: a hanging request delays no reseed.
func TestReseedsWhileTheServiceHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first := true
		s := newTestSource(t, Config{BatchBlocks: 2, Blocks: blockFunc(func(ctx context.Context, _ int) ([]qrypt.Block, error) {
			if first {
				first = false
				return []qrypt.Block{newTestBlock(1), newTestBlock(2)}, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		})}, 1)
		time.Sleep(30 * time.Second)
		for range 10 {
			mustRead(t, s, 1)
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		if st := s.Status(); st.Blocks != 2 || st.OSReseeds != 9 {
			t.Errorf("%d reseeds with a block and %d without, want 2 and 9", st.Blocks, st.OSReseeds)
		}
	})
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

// TestSmallSupply: if the service has less than a batch, less is asked for.
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
		synctest.Wait()
		if want := []int{64, 32, 16, 8}; !slices.Equal(asked, want) {
			t.Errorf("asked for %v blocks, want %v", asked, want)
		}
	})
}

// TestStockIsBounded: blocks that come for calls of Reseed that have given up do not pile
// up, and each Reseed makes a request whatever is in stock.
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
		synctest.Wait()
		for at, requests := range inSecond {
			if requests > n/10+5 {
				t.Errorf("%d of %d Sources ask in the second after %v", requests, n, at)
			}
		}
	})
}

// whileBusy runs do while OnEvent holds the reseeder up and a request that takes some time
// is under way.
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

// TestReseedIsNotAnsweredFromBefore: an answer that came before Reseed was called does not
// answer it, even if the reseeder had not looked at that answer yet.
func TestReseedIsNotAnsweredFromBefore(t *testing.T) {
	for range 20 { // the order is random
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

// TestReseedCostsNothing: calls of Reseed that gave up before a request could begin
// are forgotten, and nothing is spent on them.
func TestReseedCostsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		requests := 0
		s := newTestSource(t, Config{BatchBlocks: 1, Blocks: blockFunc(func(context.Context, int) ([]qrypt.Block, error) {
			if requests++; requests == 1 {
				<-release
			}
			return []qrypt.Block{newTestBlock(uint64(requests))}, nil
		})}, 1)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		for range 100 {
			if err := s.Reseed(gone); !errors.Is(err, context.Canceled) {
				t.Errorf("Reseed returned %v", err)
			}
		}
		later, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range 100 { // while the first request is under way
			go s.Reseed(later)
		}
		time.Sleep(2 * time.Second)
		close(release)
		time.Sleep(time.Second)
		synctest.Wait()
		if requests != 1 {
			t.Errorf("%d requests, want the first alone", requests)
		}
	})
}

// TestReseedMeansAfterTheCall: a request that was under way when Reseed was called
// does not answer it.
func TestReseedMeansAfterTheCall(t *testing.T) {
	for _, first := range []error{nil, &qrypt.Error{Class: qrypt.ErrServer}} {
		bubble(t, func(t *testing.T) {
			var begun []time.Time
			s := newTestSource(t, Config{Blocks: blockFunc(func(_ context.Context, n int) ([]qrypt.Block, error) {
				begun = append(begun, time.Now())
				request := len(begun)
				time.Sleep(time.Second)
				if request == 1 && first != nil {
					return nil, first
				}
				return []qrypt.Block{newTestBlock(uint64(request))}, nil
			}), BatchBlocks: 1}, 1)
			time.Sleep(time.Second / 2)
			called := time.Now()
			if err := s.Reseed(t.Context()); err != nil {
				t.Errorf("after a first request that ended with %v: %v", first, err)
			}
			synctest.Wait()
			if len(begun) != 2 || !begun[1].After(called) {
				t.Errorf("after a first request that ended with %v: %d requests", first, len(begun))
			}
			if took := time.Since(called); took > 3*time.Second {
				t.Errorf("after a first request that ended with %v it took %v", first, took)
			}
		})
	}
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

// TestSourceFromOutsideABubble: code under test in a bubble of testing/synctest may use a
// Source that was made outside of it, as one in a package variable is.
func TestSourceFromOutsideABubble(t *testing.T) {
	for _, policy := range []Policy{Augment, RequireInitial, RequireFresh} {
		s := newTestSource(t, Config{Blocks: &fakeBlocks{}, Policy: policy}, 2)
		waitSeeded(t, s)
		synctest.Test(t, func(t *testing.T) {
			if err := s.Reseed(t.Context()); err != nil {
				t.Errorf("%v: Reseed: %v", policy, err)
			}
			if err := s.WaitSeeded(t.Context()); err != nil {
				t.Errorf("%v: WaitSeeded: %v", policy, err)
			}
			if _, err := s.Read(make([]byte, 100)); err != nil {
				t.Errorf("%v: Read: %v", policy, err)
			}
			if st := s.Status(); st.State != Seeded || st.Blocks < 2 {
				t.Errorf("%v: %v", policy, st)
			}
			if err := s.Close(); err != nil {
				t.Errorf("%v: Close: %v", policy, err)
			}
		})
	}
}

// TestNameOfTheGoroutine: docs/testing.md names the goroutine that checks for leaks find.
func TestNameOfTheGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newTestSource(t, Config{Blocks: &fakeBlocks{}}, 1)
		waitSeeded(t, s)
		name := regexp.MustCompile(`goleak.IgnoreAnyFunction\("(.*?)"\)`).FindStringSubmatch(readText(t, "docs/testing.md"))[1]
		alive := func() bool {
			synctest.Wait()
			stacks := make([]byte, 1<<20)
			return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), name+"(")
		}
		if !alive() {
			t.Errorf("no goroutine has %s on its stack", name)
		}
		s.Close()
		if alive() {
			t.Errorf("after Close a goroutine has %s on its stack", name)
		}
	})
}
