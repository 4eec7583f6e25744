package qrand

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// TestBusyUsesOneBlockPerReseed: over a day of steady reading there is a reseed
// a minute, each with one block, and a request at every second one.
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
		// The README quotes these.
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

// TestStock: what is missing in the stock is asked for at every second reseed; blocks
// are used in the order in which they came, and wiped.
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

// TestBatchOfOne keeps no stock: a program that reads once costs one block.
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

// TestReseedsShareARequest: calls of Reseed during a request are content with the
// next one, all of them.
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
		if requests != 2 {
			t.Errorf("%d requests for three Reseeds at once, and the one before", requests)
		}
	})
}

// TestWaits: WaitSeeded and Reseed end with their context, and at Close, and
// say why.
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

// TestCloseDuringFetch: Close ends a request under way, and what came of it is
// wiped.
func TestCloseDuringFetch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		block := newTestBlock(1)
		s := newTestSource(t, Config{Blocks: blockFunc(func(ctx context.Context, _ int) ([]qrypt.Block, error) {
			<-ctx.Done()
			return []qrypt.Block{block}, nil // a source that answers all the same
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

// TestEvents: each moment is told once, in order, and the hook may read.
func TestEvents(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var s *Source
		var got []string
		ready := make(chan struct{})
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		w.Script(qrypttest.Fault{Kind: qrypttest.OK}, qrypttest.Fault{Kind: qrypttest.HTML})
		s = w.source(t, Config{OnEvent: func(e Event) {
			<-ready
			mustRead(t, s, 10) // RUSTSEC-2026-0097: a hook that uses the generator
			st := s.Status()
			if st.State != e.State {
				t.Errorf("%v: the event says %v, Status %v", e.Kind, e.State, st.State)
			}
			if e.Kind == BlockMixed && !e.Emulated {
				t.Error("an emulated block is not labelled")
			}
			if e.Kind == RequestFailed && (e.Err == nil || e.Reason != Malformed) {
				t.Errorf("RequestFailed says %v: %v", e.Reason, e.Err)
			}
			got = append(got, e.Kind.String()+" "+e.State.String())
		}})
		close(ready)
		waitSeeded(t, s)
		s.Reseed(t.Context())
		s.Reseed(t.Context())
		s.Close()
		want := []string{
			"BlockMixed Seeded", "StateChanged Seeded",
			"RequestFailed Seeded", "BlockMixed Seeded", // Reseed tries the other endpoint
			"BlockMixed Seeded",
			"StateChanged Closed",
		}
		if !slices.Equal(got, want) {
			t.Errorf("events\n%q, want\n%q", got, want)
		}
	})
}
