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

// TestCloseWaitsForTokenCheck: when Close returns, nothing of ours calls the
// BlockSource any more.
func TestCloseWaitsForTokenCheck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ended := false
		s := newTestSource(t, Config{Blocks: refusedToken(func(ctx context.Context) {
			<-ctx.Done()
			time.Sleep(time.Second)
			ended = true
		})}, 1)
		time.Sleep(supply.TokenInterval * 3 / 2)
		synctest.Wait()
		s.Close()
		if !ended {
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
			if len(begun) != 2 || !begun[1].After(called) {
				t.Errorf("after a first request that ended with %v: %d requests", first, len(begun))
			}
			if took := time.Since(called); took > 3*time.Second {
				t.Errorf("after a first request that ended with %v it took %v", first, took)
			}
		})
	}
}

// TestReseedAwaitsTheToken: a Reseed after a refused token waits for a look at it,
// and is told that it is held where there is no other one.
func TestReseedAwaitsTheToken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newTestSource(t, Config{Blocks: refusedToken(func(context.Context) { time.Sleep(5 * time.Second) })}, 1)
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
