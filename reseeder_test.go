package qrand

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
)

// lateBlocks is a BlockSource whose token is refused, and which takes its time to
// end a comparison of tokens.
type lateBlocks struct {
	fakeBlocks
	ended bool
}

func (b *lateBlocks) TokenChanged(ctx context.Context) bool {
	<-ctx.Done()
	time.Sleep(time.Second)
	b.ended = true
	return false
}

// TestCloseWaitsForTokenCheck: when Close returns, nothing of ours calls the
// BlockSource any more.
func TestCloseWaitsForTokenCheck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		blocks := &lateBlocks{}
		blocks.err = &qrypt.Error{Class: qrypt.ErrUnauthorized}
		s := newTestSource(t, Config{Blocks: blocks}, 1)
		time.Sleep(supply.TokenInterval * 3 / 2)
		synctest.Wait()
		s.Close()
		if !blocks.ended {
			t.Error("a comparison of tokens goes on after Close")
		}
	})
}

// TestReseedCostsNothing: calls of Reseed that gave up before a request could begin
// are forgotten, and nothing is spent on them.
func TestReseedCostsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		requests := 0
		s := newTestSource(t, Config{BatchBlocks: 1, Blocks: blockFunc(func(int) ([]qrypt.Block, error) {
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
			s := newTestSource(t, Config{Blocks: blockFunc(func(n int) ([]qrypt.Block, error) {
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
			if len(begun) != 2 || !begun[1].After(called) {
				t.Errorf("after a first request that ended with %v: %d requests", first, len(begun))
			}
			if took := time.Since(called); took > 3*time.Second {
				t.Errorf("after a first request that ended with %v it took %v", first, took)
			}
		})
	}
}

// tokenLate is a source whose token is refused, and which says after a while that
// there is no other one.
type tokenLate struct {
	fakeBlocks
	takes time.Duration
}

func (b *tokenLate) TokenChanged(context.Context) bool {
	time.Sleep(b.takes)
	return false
}

// TestReseedAwaitsTheToken: a Reseed after a refused token waits for a look at it,
// and is told that it is held where there is no other one.
func TestReseedAwaitsTheToken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		blocks := &tokenLate{takes: 5 * time.Second}
		blocks.err = &qrypt.Error{Class: qrypt.ErrUnauthorized}
		s := newTestSource(t, Config{Blocks: blocks}, 1)
		time.Sleep(time.Second)
		begin := time.Now()
		if err := s.Reseed(t.Context()); !errors.Is(err, ErrHeld) || !errors.Is(err, qrypt.ErrUnauthorized) {
			t.Errorf("Reseed returned %v", err)
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
