package qrypt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/turn"
)

// These tests are not parallel to any other: the process has one limiter, which would see
// the times of a bubble as those of a wrong clock.

// allowed is how many requests the service's documentation allows in 10 s.
const allowed = 30

// A farNetwork takes a random time to bring a request to the service and another
// to bring its answer back. It notes when the service saw each request.
type farNetwork struct {
	there, back time.Duration // at most; zero: at once

	mu   sync.Mutex
	seen map[string][]time.Time // by Authorization
}

func (f *farNetwork) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := pause(req.Context(), f.there); err != nil {
		return nil, err
	}
	f.mu.Lock()
	if f.seen == nil {
		f.seen = make(map[string][]time.Time)
	}
	who := req.Header.Get("Authorization")
	f.seen[who] = append(f.seen[who], time.Now())
	f.mu.Unlock()
	if err := pause(req.Context(), f.back); err != nil {
		return nil, err
	}
	return reply(http.StatusOK, oneBlock[DialectQuantumEntropy]), nil
}

func pause(ctx context.Context, most time.Duration) error {
	if most == 0 {
		return nil
	}
	select {
	case <-time.After(rand.N(most)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *farNetwork) client(t testing.TB, token string) *Client {
	t.Helper()
	return mustNew(t, Config{Token: StaticToken(token), HTTPClient: &http.Client{Transport: f}})
}

// times is when the service saw the requests with a token.
func (f *farNetwork) times(token string) []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.seen["Bearer "+token])
}

// checkRate counts as the service does, both ends of the 10 s included.
func checkRate(t testing.TB, times []time.Time) {
	t.Helper()
	slices.SortFunc(times, time.Time.Compare)
	for i := range max(len(times)-allowed, 0) {
		if span := times[i+allowed].Sub(times[i]); span <= 10*time.Second {
			t.Fatalf("%d requests in %v, from the %dth on", allowed+1, span, i+1)
		}
	}
}

// freshLimiter forgets what other tests used.
func freshLimiter() {
	limiter.mu.Lock()
	defer limiter.mu.Unlock()
	limiter.windows = map[tokenID]*window{}
}

func windows() int {
	limiter.mu.Lock()
	defer limiter.mu.Unlock()
	return len(limiter.windows)
}

func TestRateLimit(t *testing.T) {
	for name, c := range map[string]struct {
		there, back time.Duration
		goroutines  int
		calls       int
	}{
		"near":         {0, 0, 5, 200},
		"far":          {4 * time.Second, 4 * time.Second, 5, 200},
		"slow there":   {15 * time.Second, 0, 5, 200},
		"slow back":    {0, 15 * time.Second, 5, 200},
		"all underway": {12 * time.Second, 12 * time.Second, 50, 200},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				freshLimiter()
				const token = "shared"
				network := &farNetwork{there: c.there, back: c.back}
				clients := []*Client{network.client(t, token), network.client(t, token)}
				var calls sync.WaitGroup
				for g := range c.goroutines {
					calls.Go(func() {
						for range c.calls / c.goroutines {
							b, err := clients[g%2].Blocks(t.Context(), 1)
							if err != nil || len(b) != 1 {
								t.Error(err)
							}
						}
					})
				}
				calls.Wait()
				times := network.times(token)
				if len(times) != c.calls {
					t.Errorf("%d requests for %d calls", len(times), c.calls)
				}
				checkRate(t, times)
			})
		})
	}
}

// The limit costs no more than it must: 30 requests go at once, and the next 30
// as soon as they may.
func TestRateLimitUsesItsPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		network := &farNetwork{}
		c := network.client(t, "token")
		began := time.Now()
		for i := range 90 {
			mustBlocks(t, c, 1)
			want := time.Duration(i/allowed) * limitWindow
			if got := time.Since(began); got != want {
				t.Fatalf("request %d after %v, want %v", i+1, got, want)
			}
		}
		checkRate(t, network.times("token"))
	})
}

func TestRateLimitIsOfOneToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		network := &farNetwork{}
		mine, other := network.client(t, "mine"), network.client(t, "other")
		began := time.Now()
		for range allowed {
			mustBlocks(t, mine, 1)
		}
		var waiting sync.WaitGroup
		waiting.Go(func() { mustBlocks(t, mine, 1) })
		synctest.Wait()
		for range allowed {
			mustBlocks(t, other, 1)
		}
		if time.Since(began) != 0 {
			t.Error("another token had to wait")
		}
		if got := len(network.times("mine")); got != allowed {
			t.Errorf("%d requests at once", got)
		}
		waiting.Wait()
		if time.Since(began) != limitWindow {
			t.Errorf("the 31st request after %v, want %v", time.Since(began), limitWindow)
		}
	})
}

// While all requests are under way none says when there will be a place.
func TestRateLimitWithAllUnderway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		const takes = 20 * time.Second
		requests := 0
		quick := countingClient(&requests)
		h := roundTrip(func(req *http.Request) (*http.Response, error) {
			time.Sleep(takes)
			return quick.Transport.RoundTrip(req)
		}).client()
		c := mustNew(t, Config{Token: StaticToken("token"), HTTPClient: h})
		began := time.Now()
		var calls sync.WaitGroup
		for range allowed + 1 {
			calls.Go(func() { mustBlocks(t, c, 1) })
		}
		calls.Wait()
		if got, want := time.Since(began), takes+limitWindow+takes; got != want {
			t.Errorf("the 31st request was answered after %v, want %v", got, want)
		}
	})
}

// Devices that need no token have a limit each.
func TestRateLimitWithoutToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		requests := 0
		h := countingClient(&requests)
		device := func(name string) *Client {
			return mustNew(t, Config{Endpoints: []string{"https://" + name}, Dialect: DialectOpenAPI, HTTPClient: h})
		}
		began := time.Now()
		for range allowed / 2 {
			mustBlocks(t, device("a.example"), 1)
			mustBlocks(t, device("a.example"), 1)
			mustBlocks(t, device("b.example"), 1)
		}
		if time.Since(began) != 0 {
			t.Error("a device waited for another")
		}
		mustBlocks(t, device("a.example"), 1)
		if got := time.Since(began); got != limitWindow {
			t.Errorf("the 31st request to a device after %v, want %v", got, limitWindow)
		}
	})
}

// waits is what package turn was told of a request, and when.
type waits struct {
	mu   sync.Mutex
	told []string
}

func (w *waits) context(ctx context.Context) context.Context {
	began := time.Now()
	return turn.With(ctx, func(waiting bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told = append(w.told, fmt.Sprint(waiting, " ", time.Since(began)))
	})
}

func (w *waits) want(t testing.TB, who int, told ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.told, told) {
		t.Errorf("request %d: told %q, want %q", who, w.told, told)
	}
}

// Requests are served first come, first served, and say from when to when they
// wait for their turn.
func TestRateLimitIsFair(t *testing.T) {
	const callers = 600
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		network := &farNetwork{}
		c := network.client(t, "token")
		began := time.Now()
		reports := make([]waits, callers)
		var calls sync.WaitGroup
		for i := range callers {
			calls.Go(func() {
				if _, err := c.Blocks(reports[i].context(t.Context()), 1); err != nil {
					t.Error(err)
				}
				if got, want := time.Since(began), time.Duration(i/allowed)*limitWindow; got != want {
					t.Errorf("request %d after %v, want %v", i, got, want)
				}
			})
			synctest.Wait() // it stands in the queue, or is done
		}
		calls.Wait()
		checkRate(t, network.times("token"))
		for i := range reports {
			if i < allowed {
				reports[i].want(t, i)
			} else {
				reports[i].want(t, i, "true 0s", fmt.Sprint("false ", time.Duration(i/allowed)*limitWindow))
			}
		}
	})
}

// Where places come one by one, each goes to the one who has waited longest.
func TestRateLimitServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		const apart = 50 * time.Millisecond
		network := &farNetwork{}
		c := network.client(t, "token")
		began := time.Now()
		for range allowed {
			mustBlocks(t, c, 1)
			time.Sleep(apart)
		}
		var calls sync.WaitGroup
		for i := range 200 {
			calls.Go(func() {
				mustBlocks(t, c, 1)
				want := time.Duration(1+i/allowed)*limitWindow + time.Duration(i%allowed)*apart
				if got := time.Since(began); got != want {
					t.Errorf("request %d after %v, want %v", i, got, want)
				}
			})
			synctest.Wait()
		}
		calls.Wait()
		checkRate(t, network.times("token"))
	})
}

// 600 at once, in any order, over a slow network.
func TestRateLimitOfManyAtOnce(t *testing.T) {
	const callers = 600
	for name, c := range map[string]struct{ there, back, most time.Duration }{
		"near": {0, 0, (callers/allowed - 1) * limitWindow},
		"far":  {4 * time.Second, 4 * time.Second, callers / allowed * (limitWindow + 8*time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				freshLimiter()
				network := &farNetwork{there: c.there, back: c.back}
				client := network.client(t, "token")
				began := time.Now()
				start := make(chan struct{})
				var calls sync.WaitGroup
				for range callers {
					calls.Go(func() {
						<-start
						mustBlocks(t, client, 1)
					})
				}
				close(start)
				calls.Wait()
				if took := time.Since(began); took > c.most {
					t.Errorf("it took %v, more than %v", took, c.most)
				}
				times := network.times("token")
				if len(times) != callers {
					t.Errorf("%d requests for %d calls", len(times), callers)
				}
				checkRate(t, times)
			})
		})
	}
}

// Those who ask again and again do not overtake one who waits.
func TestRateLimitIsNotOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		network := &farNetwork{}
		c := network.client(t, "token")
		ctx, stop := context.WithCancel(t.Context())
		var busy sync.WaitGroup
		for range allowed {
			busy.Go(func() {
				for ctx.Err() == nil {
					c.Blocks(ctx, 1)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		mustBlocks(t, c, 1)
		if got, most := time.Since(began), 2*limitWindow; got > most {
			t.Errorf("served after %v, want %v at most", got, most)
		}
		stop()
		busy.Wait()
		checkRate(t, network.times("token"))
	})
}

// Those who give up, wherever they stand in the queue, cost the others neither
// time nor their turn.
func TestRateLimitQueueCanBeLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		network := &farNetwork{}
		c := network.client(t, "token")
		began := time.Now()
		for range allowed {
			mustBlocks(t, c, 1)
		}
		const callers = 4 * allowed
		var calls sync.WaitGroup
		cancels := make([]func(), callers)
		reports := make([]waits, callers)
		stays := 0
		for i := range callers {
			ctx, cancel := context.WithCancel(reports[i].context(t.Context()))
			if cancels[i] = cancel; i%3 != 0 && i != callers-1 {
				window := time.Duration(1+stays/allowed) * limitWindow
				calls.Go(func() {
					mustBlocks(t, c, 1)
					if got := time.Since(began); got != window {
						t.Errorf("request %d after %v, want %v", i, got, window)
					}
				})
				stays++
			} else {
				calls.Go(func() {
					if _, err := c.Blocks(ctx, 1); !errors.Is(err, context.Canceled) {
						t.Errorf("request %d, given up: %v", i, err)
					}
				})
			}
			synctest.Wait()
		}
		time.Sleep(time.Second)
		for i := 0; i < callers; i += 3 { // the first of all too: the second has to watch the clock
			cancels[i]()
		}
		cancels[callers-1]()
		calls.Wait()
		reports[0].want(t, 0, "true 0s")
		checkRate(t, network.times("token"))
		time.Sleep(limitWindow)
		mustBlocks(t, network.client(t, "another"), 1)
		if got := windows(); got != 1 {
			t.Errorf("%d tokens remembered, want the last", got)
		}
	})
}

// held returns a context whose request, when it has to wait, does not look
// whether its turn has come before the test closes look.
func held(t testing.TB) (ctx context.Context, look chan struct{}) {
	look = make(chan struct{})
	return turn.With(t.Context(), func(waiting bool) {
		if waiting {
			<-look
		}
	}), look
}

// One who gives up just when a place comes free does not take it.
func TestRateLimitPlaceIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := identify("token")
		for range 100 { // select takes either of two that are ready
			freshLimiter()
			for range allowed {
				if err := limiter.acquire(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			ctx, look := held(t)
			ctx, cancel := context.WithCancel(ctx)
			var waiting sync.WaitGroup
			waiting.Go(func() {
				if err := limiter.acquire(ctx, id); !errors.Is(err, context.Canceled) {
					t.Errorf("given up: %v", err)
				}
			})
			synctest.Wait()
			limiter.release(id)
			time.Sleep(limitWindow)
			cancel()
			close(look)
			waiting.Wait()
			if err := limiter.acquire(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A token that somebody waits for is not forgotten, though none of its requests
// counts any more.
func TestRateLimitRemembersWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		network := &farNetwork{}
		c := network.client(t, "token")
		for range allowed {
			mustBlocks(t, c, 1)
		}
		ctx, look := held(t)
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if _, err := c.Blocks(ctx, 1); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(limitWindow)
		mustBlocks(t, network.client(t, "another"), 1)
		close(look)
		waiting.Wait()
	})
}

// Nobody waits for one whose report of its wait panicked.
func TestRateLimitQueueAfterPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		c := (&farNetwork{}).client(t, "token")
		for range allowed {
			mustBlocks(t, c, 1)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			c.Blocks(turn.With(t.Context(), func(bool) { panic("on purpose") }), 1)
		}()
		mustBlocks(t, c, 1)
	})
}

// Failed requests count: the service has seen them.
func TestRateLimitCountsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		h := roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("no") })
		c := mustNew(t, Config{Token: StaticToken("token"), HTTPClient: h.client()})
		began := time.Now()
		for range allowed + 1 {
			mustFail(t, c, 1, ErrNetwork)
		}
		if time.Since(began) != limitWindow {
			t.Errorf("the 31st request after %v, want %v", time.Since(began), limitWindow)
		}
	})
}

func TestWaitingCanBeCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		network := &farNetwork{}
		token := "token"
		c := network.client(t, token)
		began := time.Now()
		for range allowed {
			mustBlocks(t, c, 1)
		}
		// None of these takes a place, whenever it gives up.
		var waiting sync.WaitGroup
		for i := range 100 {
			waiting.Go(func() {
				after := time.Duration(i) * 10 * time.Millisecond
				ctx, cancel := context.WithTimeout(t.Context(), after)
				defer cancel()
				blocks, err := c.Blocks(ctx, 1)
				var e *Error
				if blocks != nil || !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &e) {
					t.Errorf("%d blocks, error %v", len(blocks), err)
				}
				if got := time.Since(began); got != after {
					t.Errorf("gave up after %v, want %v", got, after)
				}
				checkSilent(t, err, []byte("Bearer "+token))
			})
		}
		waiting.Wait()
		for range allowed {
			mustBlocks(t, c, 1)
		}
		if got := time.Since(began); got != limitWindow {
			t.Errorf("60 requests after %v, want %v", got, limitWindow)
		}
		checkRate(t, network.times(token))

		// Nor does one that gives up while all places are under way.
		slow := &farNetwork{there: 20 * time.Second}
		c = slow.client(t, "slow")
		var underway sync.WaitGroup
		for range allowed {
			underway.Go(func() { mustBlocks(t, c, 1) })
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Blocks(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		underway.Wait()
	})
}

// A token that was never sent has not been tried.
func TestTokenChangedAfterWaitingInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		network := &farNetwork{}
		now := "new"
		for range allowed {
			mustBlocks(t, network.client(t, now), 1)
		}
		now = "old"
		c := mustNew(t, Config{Token: tokens(&now), HTTPClient: &http.Client{Transport: network}})
		mustBlocks(t, c, 1)
		now = "new"
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Blocks(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if !c.TokenChanged(t.Context()) {
			t.Error("a token that was not sent counts as tried")
		}
	})
}

// Tokens may be rotated many times: old ones are forgotten.
func TestLimiterForgetsTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		requests := 0
		quick := countingClient(&requests)
		h := roundTrip(func(req *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return quick.Transport.RoundTrip(req)
		}).client()
		ask := func(token string) {
			mustBlocks(t, mustNew(t, Config{Token: StaticToken(token), HTTPClient: h}), 1)
		}
		for i := range 100 {
			ask(fmt.Sprint("token-", i))
		}
		if got := windows(); got > 12 { // of the last 10.1 s, one each second
			t.Errorf("%d tokens remembered of which most are 10 s old", got)
		}
		time.Sleep(limitWindow)
		ask("last")
		if got := windows(); got != 1 {
			t.Errorf("%d tokens remembered, want the last", got)
		}
	})
	// The times of the bubble are in the past for this clock, and those of this
	// one are in the future for the next bubble: neither is waited for.
	mustBlocks(t, (&farNetwork{}).client(t, "awake"), 1)
	synctest.Test(t, func(t *testing.T) {
		mustBlocks(t, (&farNetwork{}).client(t, "asleep"), 1)
		if got := windows(); got != 1 {
			t.Errorf("%d tokens remembered, want this one", got)
		}
	})
}
