package qrand

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// TestRequireFresh: no byte when the last block is older than MaxAge. The refused Read
// causes the next reseed.
func TestRequireFresh(t *testing.T) {
	bubble(t, func(t *testing.T) {
		blocks, ready := &fakeBlocks{}, make(chan struct{})
		s := newTestSource(t, Config{Policy: RequireFresh, Blocks: blockFunc(func(_ context.Context, n int) ([]qrypt.Block, error) {
			<-ready
			return blocks.Blocks(t.Context(), n)
		})}, 2)
		wantRefused(t, s, ErrNotSeeded)
		close(ready)
		waitSeeded(t, s)
		time.Sleep(defaultMaxAge)
		mustRead(t, s, 100) // not older; this brings a reseed
		time.Sleep(time.Second)
		if st := s.Status(); st.Blocks != 2 || st.RefusedBlocks != 0 {
			t.Errorf("after 10 min: %v", st)
		}
		time.Sleep(defaultMaxAge + 1)
		wantRefused(t, s, ErrStale)
		synctest.Wait()
		mustRead(t, s, 100)
		st := s.Status()
		if st.RefusedBlocks != 0 || st.Stock != 0 || time.Since(st.LastReceived) > 0 {
			t.Errorf("%d blocks refused, %d in stock, the last used came %v ago; want none, none, 0 s", st.RefusedBlocks, st.Stock, time.Since(st.LastReceived))
		}

		blocks.setErr(errors.New("no more"))
		for range 60 {
			time.Sleep(time.Minute)
			s.Read(make([]byte, 1)) // all through the outage
		}
		wantRefused(t, s, ErrStale)
		blocks.setErr(nil)
		if err := s.Reseed(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustRead(t, s, 100)
	})
}

// TestRequireFreshWhileBusy: with the defaults and a healthy service no Read is
// ever refused.
func TestRequireFreshWhileBusy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newTestSource(t, Config{Blocks: &fakeBlocks{}, Policy: RequireFresh}, 2)
		waitSeeded(t, s)
		for range 24 * 60 * 6 {
			mustRead(t, s, 1)
			time.Sleep(10 * time.Second)
		}
	})
}

// TestAgeAtTheRead: under RequireFresh no Read succeeds if the newest block is older than
// MaxAge, whether it spent that time in stock or in the key.
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

// TestFreshAndSparing: with a healthy service that answers in 2 s a Source is never stale,
// and throws away almost none of the blocks.
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
			synctest.Wait()
			st := s.Status()
			if st.RefusedBlocks*20 > int64(given) || int64(given) > 24*60*60/30 {
				t.Errorf("MaxAge %v: %d blocks in a day, of which %d were thrown away", maxAge, given, st.RefusedBlocks)
			}
		})
	}
}

// TestFreshAfterARefusal: after one 429 a Source asks less often, but often enough not to
// be stale while the service is healthy.
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

// agedWorld returns a world in which the first endpoint sends an Age with its blocks.
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

// TestAnotherIsFresher: if the blocks of one endpoint are too old, the other is asked.
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

// TestNearlyTooOld: a block that will be too old before another one can come is refused
// like one that is too old: the endpoint with fresher ones is asked.
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
			synctest.Wait()
			if asked > 35 {
				t.Errorf("age %v: %d requests in half an hour", age, asked)
			}
		})
	}
}

// TestOldBlockFromTheSource: RequireFresh refuses a block that is too old when it comes.
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

// TestBlockFromTheFuture: a block that came later than now, by a wrong clock, ages from now.
func TestBlockFromTheFuture(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var numbers uint64
		s := newTestSource(t, Config{BatchBlocks: 1, Policy: RequireFresh, Blocks: blockFunc(func(ctx context.Context, n int) ([]qrypt.Block, error) {
			if numbers > 0 {
				return nil, errors.New("out")
			}
			return aged(&numbers, -time.Hour)(ctx, n)
		})}, 1)
		waitSeeded(t, s)
		if st := s.Status(); !st.LastReceived.Equal(time.Now()) {
			t.Errorf("received %v from now", time.Until(st.LastReceived))
		}
		time.Sleep(defaultMaxAge)
		mustRead(t, s, 1)
		time.Sleep(time.Nanosecond)
		wantRefused(t, s, ErrStale)
	})
}

// TestClockJump: a Source that became stale because the clock jumped is reseeded at once.
func TestClockJump(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newTestSource(t, Config{
			Blocks: &fakeBlocks{}, Policy: RequireFresh, ReseedInterval: time.Hour, MaxAge: 2 * time.Hour,
		}, 1)
		waitSeeded(t, s)
		long := time.Now().Add(-3 * time.Hour)
		s.newest.Store(&long) // as after the machine has slept
		wantRefused(t, s, ErrStale)
		time.Sleep(time.Second)
		mustRead(t, s, 1)
	})
}

// TestClockJumpBeforeStale: if the clock jumps to when the newest block will soon be too
// old, the next Read causes a request at once. No timer notices the jump.
func TestClockJumpBeforeStale(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var jump atomic.Int64
		var numbers uint64 // one block in each answer
		blocks := blockFunc(func(ctx context.Context, n int) ([]qrypt.Block, error) {
			return aged(&numbers, -time.Duration(jump.Load()))(ctx, 1)
		})
		s := newTestSource(t, Config{Blocks: blocks, Policy: RequireFresh}, 1, parts{
			now: func() time.Time { return time.Now().Add(time.Duration(jump.Load())) },
		})
		for jumps := range uint64(2) {
			synctest.Wait()
			mustRead(t, s, 1)
			synctest.Wait() // so that nothing but the next Read can tell of the jump
			jump.Add(int64(9*time.Minute + 31*time.Second))
			mustRead(t, s, 1)
			time.Sleep(time.Second) // the pace of requests
			synctest.Wait()
			if numbers < jumps+2 {
				t.Errorf("after jump %d of the clock %d requests, want another one at once", jumps+1, numbers)
			}
		}
	})
}

// TestRefusedReadsAreForgotten: a refused Read causes one reseed, and an idle Source no
// more.
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
				begin := time.Now()
				if err := s.WaitSeeded(t.Context()); !errors.Is(err, ErrEmulated) || time.Since(begin) > 10*time.Second {
					t.Errorf("%v: after %v WaitSeeded returned %v", policy, time.Since(begin), err)
				}
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

// TestEmulatedIsHopeless: it makes no sense to wait for other blocks than emulated ones,
// unless there is another endpoint that may give them.
func TestEmulatedIsHopeless(t *testing.T) {
	emulated := blockFunc(func(context.Context, int) ([]qrypt.Block, error) {
		b, err := qrypt.NewBlock(newTestBlock(1).Bytes(), qrypt.Origin{Received: time.Now(), Emulated: true})
		return []qrypt.Block{b}, err
	})
	for _, test := range []struct {
		other    error
		hopeless bool
	}{{qrypt.ErrUnauthorized, true}, {qrypt.ErrNoSupply, false}, {qrypt.ErrNetwork, false}, {qrypt.ErrBadRequest, false}} {
		bubble(t, func(t *testing.T) {
			other := &fakeBlocks{err: &qrypt.Error{Class: test.other}}
			s := newTestSource(t, Config{Policy: RequireInitial, Blocks: Prefer(emulated, other)}, 1)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			err := s.WaitSeeded(ctx)
			if !errors.Is(err, ErrEmulated) || (ctx.Err() == nil) != test.hopeless {
				t.Errorf("beside %v: WaitSeeded returned %v", test.other, err)
			}
		})
	}
}
