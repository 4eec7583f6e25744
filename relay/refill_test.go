package relay

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/health"
	"example.com/qrand/internal/outage"
	"example.com/qrand/qrypt"
)

// TestFill: the stock is filled at once in the largest requests that fit, and
// again as soon as there is room for one.
func TestFill(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t, Config{Stock: 1300})
		if !slices.Equal(o.service.asked, []int{512, 512}) {
			t.Errorf("asked for %v", o.service.asked)
		}
		pieces(t, o.quantum(o.token, 200)) // 424 + 36 blocks of room
		time.Sleep(time.Hour)
		if len(o.service.asked) != 2 {
			t.Errorf("asked for %v", o.service.asked)
		}
		pieces(t, o.quantum(o.token, 36))
		time.Sleep(time.Second)
		if !slices.Equal(o.service.asked, []int{512, 512, 512}) || o.Account().Stock != 1300*qrypt.BlockSize {
			t.Errorf("asked for %v, the account is %+v", o.service.asked, o.Account())
		}
	})
}

// TestUpstreamRate: whatever clients want, the service sees at most 30 requests in
// any 10 s.
func TestUpstreamRate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t, Config{Stock: 4, BatchBlocks: 1})
		for range 3000 {
			o.quantum(o.token, 1)
			time.Sleep(10 * time.Millisecond)
		}
		calls := o.service.calls
		for i := 30; i < len(calls); i++ {
			if calls[i].Sub(calls[i-30]) <= 10*time.Second {
				t.Fatalf("31 requests within %v", calls[i].Sub(calls[i-30]))
			}
		}
		if len(calls) < 80 {
			t.Errorf("%d requests in 30 s: the limit is not used", len(calls))
		}
		if got := o.Account(); got.Received != got.Stock+got.HandedOut {
			t.Errorf("the account is %+v", got)
		}
	})
}

// TestOutage: while the service fails the stock is handed out, requests keep to
// the outage table, and the log says it once; then all is well again.
func TestOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t, Config{Stock: 8, BatchBlocks: 4})
		o.service.set(func() {
			o.service.calls = nil
			o.service.err = &qrypt.Error{Endpoint: "https://service.example", StatusCode: 429, Class: qrypt.ErrRateLimited, RetryAfter: time.Minute}
		})
		pieces(t, o.quantum(o.token, 4))
		time.Sleep(5*time.Minute + 30*time.Second)
		synctest.Wait()
		if len(o.service.calls) != 6 {
			t.Errorf("%d requests in 5 min 30 s with a Retry-After of 1 min", len(o.service.calls))
		}
		up := o.Upstream()
		if up.Up || up.Reason != qrand.RateLimited || up.Failed[qrand.RateLimited] != 6 || up.LastError == "" || time.Since(up.Since) < 5*time.Minute {
			t.Errorf("upstream is %+v", up)
		}
		if until := time.Until(up.NextRequest); until <= 0 || until > time.Minute {
			t.Errorf("the next request is due in %v", until)
		}
		pieces(t, o.quantum(o.token, 4))
		if w := o.quantum(o.token, 1); w.Code != 503 || w.Header().Get("Retry-After") != "30" {
			t.Errorf("%d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
		}
		o.service.set(func() { o.service.err = nil })
		time.Sleep(time.Minute)
		synctest.Wait()
		pieces(t, o.quantum(o.token, 4))
		if up := o.Upstream(); !up.Up || up.Reason != "" || up.LastError != "" || up.Answered != 5 {
			t.Errorf("upstream is %+v", up)
		}
		log := o.log.String()
		if strings.Count(log, "level=WARN") != 1 || strings.Count(log, "recovered") != 1 {
			t.Errorf("logged\n%s", log)
		}
	})
}

// TestOutageEndsWithFullStock: the end of an outage is seen though nothing is
// missing.
func TestOutageEndsWithFullStock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t, Config{Stock: 4, BatchBlocks: 2})
		pieces(t, o.quantum(o.token, 1))
		o.service.set(func() { o.service.err = errors.New("an error of the source's own") })
		pieces(t, o.quantum(o.token, 1))
		o.stock.put([]qrypt.Block{o.service.noise.block(t, qrypt.Origin{}), o.service.noise.block(t, qrypt.Origin{})})
		o.service.set(func() { o.service.err = nil })
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if !o.Upstream().Up {
			t.Errorf("upstream is %+v", o.Upstream())
		}
	})
}

// TestNewAccountToken: after a 401 nothing is asked until there is another token, which
// is seen within half a minute.
func TestNewAccountToken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t, Config{Stock: 4, BatchBlocks: 2})
		o.service.set(func() {
			o.service.calls, o.service.err = nil, &qrypt.Error{StatusCode: 401, Class: qrypt.ErrUnauthorized}
		})
		pieces(t, o.quantum(o.token, 2))
		time.Sleep(50 * time.Minute)
		if len(o.service.calls) != 1 {
			t.Errorf("%d requests with a token that is refused", len(o.service.calls))
		}
		o.service.set(func() { o.service.newToken, o.service.err = true, nil })
		time.Sleep(outage.TokenInterval + time.Second)
		synctest.Wait()
		if len(o.service.calls) != 2 || !o.Upstream().Up {
			t.Errorf("%d requests; upstream is %+v", len(o.service.calls), o.Upstream())
		}
	})
}

// TestLookAtTokenTakesLong: no request is made beside a look at the token, for its
// answer would be taken for the other's.
func TestLookAtTokenTakesLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t, Config{Stock: 4, BatchBlocks: 2})
		o.service.set(func() {
			o.service.check, o.service.err = 13*time.Second, &qrypt.Error{StatusCode: 401, Class: qrypt.ErrUnauthorized}
		})
		pieces(t, o.quantum(o.token, 2))
		time.Sleep(time.Hour - 5*time.Second)
		o.service.set(func() { o.service.err = nil })
		time.Sleep(6 * time.Second) // the request is due, and the token has been looked at for 2 s
		o.quantum(o.token, 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		if given, account := int64(len(o.service.all())), o.Account(); !o.Upstream().Up || given != account.Received {
			t.Errorf("%d bytes were given, upstream is %+v, the account %+v", given, o.Upstream(), account)
		}
	})
}

// TestHang: a request without an end is told, and its late answer is used.
func TestHang(t *testing.T) {
	bubble(t, func(t *testing.T) {
		service := newFakeService(t)
		service.hang = 5 * time.Minute
		o := newOffice(t, Config{Stock: 4, BatchBlocks: 2, Blocks: service})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if up := o.Upstream(); up.Reason != qrand.TimedOut || !strings.Contains(up.LastError, "token function hang") {
			t.Errorf("upstream is %+v", up)
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if up := o.Upstream(); !up.Up || !o.Ready() {
			t.Errorf("upstream is %+v", up)
		}
	})
}

// TestBadBlocks: an answer with a block that is stuck or was there before is
// refused as a whole, wiped, and nobody gets a byte of it.
func TestBadBlocks(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*fakeService)
		want  qrand.Reason
	}{
		"repeated": {func(f *fakeService) { f.repeat = true }, qrand.Repeated},
		"stuck":    {func(f *fakeService) { f.stuck = true }, qrand.Unhealthy},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				o := newOffice(t, Config{Stock: 4, BatchBlocks: 2})
				o.service.set(func() {
					o.service.given = nil
					test.spoil(o.service)
				})
				pieces(t, o.quantum(o.token, 2))
				time.Sleep(time.Minute)
				synctest.Wait()
				up, account := o.Upstream(), o.Account()
				if up.Up || up.Reason != test.want || up.RefusedBlocks == 0 {
					t.Errorf("upstream is %+v", up)
				}
				if account.Received != 4*qrypt.BlockSize || account.Stock != 2*qrypt.BlockSize {
					t.Errorf("the account is %+v", account)
				}
				for _, b := range o.service.given {
					if !bytes.Equal(b.Bytes(), make([]byte, qrypt.BlockSize)) {
						t.Fatal("a refused block was not wiped")
					}
				}
			})
		})
	}
}

// TestMaxAge: blocks that nobody wants in time are wiped and replaced, though
// nobody asks.
func TestMaxAge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t, Config{Stock: 4, BatchBlocks: 2, MaxAge: time.Hour})
		old := slices.Clone(o.service.given)
		time.Sleep(time.Hour)
		synctest.Wait()
		for _, b := range old {
			if !bytes.Equal(b.Bytes(), make([]byte, qrypt.BlockSize)) {
				t.Fatal("an old block is still there")
			}
		}
		if got := o.Account(); got.Expired != 4*qrypt.BlockSize || got.Stock != 4*qrypt.BlockSize || got.Received != 8*qrypt.BlockSize {
			t.Errorf("the account is %+v", got)
		}
	})
}

// TestMaxAgeInAnOutage: blocks expire on time, cut or whole, whatever the service
// does meanwhile, and nobody is told that there are any.
func TestMaxAgeInAnOutage(t *testing.T) {
	for name, break_ := range map[string]func(*fakeService){
		"refused":       func(f *fakeService) { f.err = &qrypt.Error{StatusCode: 400, Class: qrypt.ErrBadRequest} },
		"without token": func(f *fakeService) { f.err = &qrypt.Error{StatusCode: 401, Class: qrypt.ErrUnauthorized} },
		"hanging":       func(f *fakeService) { f.hang = 10 * time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				o := newOffice(t, Config{Stock: 4, BatchBlocks: 2, MaxAge: 10 * time.Minute})
				o.service.set(func() { break_(o.service) })
				pieces(t, o.keys(o.token, 24, 1))
				pieces(t, o.quantum(o.token, 1))
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				for _, b := range o.service.given {
					if !bytes.Equal(b.Bytes(), make([]byte, qrypt.BlockSize)) {
						t.Fatal("an old block is still there")
					}
				}
				if o.Account().Stock != 0 || o.Ready() {
					t.Errorf("ready: %v, the account is %+v", o.Ready(), o.Account())
				}
			})
		})
	}
}

// TestTooOld: blocks that are too old when they come are an outage, not a reason to
// ask for more at once.
func TestTooOld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		service := newFakeService(t)
		service.age = 2 * time.Hour
		o := newOffice(t, Config{Stock: 4, BatchBlocks: 2, MaxAge: time.Hour, Blocks: service})
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(service.calls); n > 40 {
			t.Errorf("%d requests in an hour", n)
		}
		if up := o.Upstream(); up.Up || !strings.Contains(up.LastError, "MaxAge") || up.RefusedBlocks == 0 || o.Account().Received != 0 {
			t.Errorf("upstream is %+v, the account %+v", up, o.Account())
		}
	})
}

// TestEmulatedInPart: one emulated block of an answer is enough to say so, for good.
func TestEmulatedInPart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t, Config{Stock: 4, BatchBlocks: 2})
		f := newRefiller(o.Relay, make([]byte, 32))
		give := func(emulated ...bool) {
			f.fetching = true
			var blocks []qrypt.Block
			for _, e := range emulated {
				blocks = append(blocks, o.service.noise.block(t, qrypt.Origin{Emulated: e}))
			}
			f.receive(fetched{asked: len(blocks), blocks: blocks}, time.Now())
		}
		give(false, true)
		give(false, false)
		if !o.Upstream().Emulated || strings.Count(o.log.String(), "emulated, not quantum") != 1 {
			t.Errorf("upstream is %+v, logged\n%s", o.Upstream(), o.log)
		}
	})
}

// TestReplay: a service that gives the blocks of a whole stock again is found out.
func TestReplay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const cycle = 5000
		o := newOffice(t, Config{Stock: 6000, BatchBlocks: 500})
		f := newRefiller(o.Relay, make([]byte, 32))
		for i := range cycle {
			f.memory.Add([]byte{byte(i), byte(i >> 8)})
		}
		if err := f.memory.Add([]byte{0, 0}); !errors.Is(err, health.ErrRepeated) {
			t.Errorf("a block from %d blocks ago: %v", cycle, err)
		}
	})
}

// TestCloseWipesWhatComesLate: what a BlockSource gives after Close is wiped.
func TestCloseWipesWhatComesLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t, Config{Stock: 4, BatchBlocks: 2})
		o.service.set(func() { o.service.hang, o.service.stubborn = time.Minute, true })
		pieces(t, o.quantum(o.token, 2))
		o.Close()
		if len(o.service.given) != 6 {
			t.Errorf("%d blocks were given", len(o.service.given))
		}
		for _, b := range o.service.given {
			if !bytes.Equal(b.Bytes(), make([]byte, qrypt.BlockSize)) {
				t.Fatal("a block is still there")
			}
		}
	})
}

// TestClose: Close ends a request under way, wipes what there is, and leaves no
// goroutine (or the bubble fails).
func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t, Config{Stock: 4, BatchBlocks: 2})
		o.service.set(func() { o.service.hang = time.Hour })
		pieces(t, o.quantum(o.token, 2))
		begin := time.Now()
		if err := o.Close(); err != nil || time.Since(begin) > time.Second {
			t.Errorf("Close took %v: %v", time.Since(begin), err)
		}
		for _, b := range o.service.given {
			if !bytes.Equal(b.Bytes(), make([]byte, qrypt.BlockSize)) {
				t.Fatal("a block is still there")
			}
		}
		if w := o.quantum(o.token, 1); w.Code != 503 {
			t.Errorf("a closed relay answers %d", w.Code)
		}
	})
}
