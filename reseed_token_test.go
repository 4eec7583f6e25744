package qrand

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// TestNewToken: with a refused token, or none, there is one request an hour until there is
// another token. The token is looked at every 15 to 45 s.
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
				if st := s.Status(); tc.reason == NoToken && (before != 0 || st.Requests != 0) || before > 2 {
					t.Errorf("%d requests, %d counted", before, st.Requests)
				}
				w.token.Store(testToken)
				time.Sleep(supply.TokenInterval * 3 / 2)
				wantState(t, s, Seeded, "")
			})
		})
	}
}

// TestNewTokenAtReseed: Reseed looks at the token at once, and returns why it did not
// reseed if the token is the same.
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
		if got := len(w.times()); got != 2 {
			t.Errorf("%d requests with the refused token, want one to each endpoint", got)
		}
		w.token.Store(testToken)
		if err := s.Reseed(t.Context()); err != nil {
			t.Error(err)
		}
		wantState(t, s, Seeded, "")
	})
}

// TestReseedAwaitsTheToken: after a refused token a Reseed waits for a look at the token,
// and returns ErrHeld if there is no other one.
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

// TestSlowTokenCheck: a look at the token has a time limit, is the only one at a time, and
// ends at Close.
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

// TestCloseWaitsForTokenCheck: after Close the Source calls its BlockSource no more.
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

// TestTokenFunctionHangs: if the token function hangs, Reseed returns an error, and Close
// wipes the keys before it waits.
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

// TestTwoSourcesOneClient: both notice that the refused token was replaced, whichever of
// them asks first.
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

// TestHopeless: if a person must act before a block can come, WaitSeeded returns at once,
// and the log says so. The next call of it waits for the next look at the token.
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
