package relay

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
)

// TestFill: the stock is filled at once in the largest requests that fit, and
// again as soon as there is room for one.
func TestFill(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 1300})
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

// TestUpstreamRate: the service sees at most 30 requests in any 10 s, even if clients
// want more.
func TestUpstreamRate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 4, BatchBlocks: 1})
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
		o := newTestRelay(t, Config{Stock: 8, BatchBlocks: 4})
		o.service.set(func() {
			o.service.calls = nil
			o.service.err = &qrypt.Error{Endpoint: "https://service.example", StatusCode: 429, Class: qrypt.ErrRateLimited, RetryAfter: time.Minute}
		})
		pieces(t, o.quantum(o.token, 4))
		time.Sleep(5*time.Minute + 30*time.Second)
		synctest.Wait()
		calls := len(o.service.calls)
		if calls < 3 || calls > 6 {
			t.Errorf("%d requests in 5 min 30 s with a Retry-After of 1 min", calls)
		}
		for i := 1; i < calls; i++ {
			if gap := o.service.calls[i].Sub(o.service.calls[i-1]); gap < time.Minute {
				t.Errorf("request %d came %v after the one before it", i+1, gap)
			}
		}
		up := o.Upstream()
		if up.Up || up.Reason != qrand.RateLimited || up.Failed[qrand.RateLimited] != int64(calls) || up.LastError == "" || time.Since(up.Since) < 5*time.Minute {
			t.Errorf("upstream is %+v", up)
		}
		until := time.Until(up.NextRequest)
		if until <= 0 || until > 200*time.Second { // after refusals in a row it waits longer, at random
			t.Errorf("the next request is due in %v", until)
		}
		pieces(t, o.quantum(o.token, 4))
		if w := o.quantum(o.token, 1); w.Code != 503 || w.Header().Get("Retry-After") != strconv.Itoa(int(math.Ceil(min(until, maxSupplyWait).Seconds()))) {
			t.Errorf("%d, Retry-After %q, %v before the next request", w.Code, w.Header().Get("Retry-After"), until)
		}
		o.service.set(func() { o.service.err = nil })
		time.Sleep(until + 20*time.Second) // so soon after the refusals, requests are some seconds apart
		synctest.Wait()
		pieces(t, o.quantum(o.token, 4))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if up := o.Upstream(); !up.Up || up.Reason != "" || up.LastError != "" || up.Answered != 5 {
			t.Errorf("upstream is %+v", up)
		}
		log := o.log.String()
		if strings.Count(log, "level=WARN") != 1 || strings.Count(log, "recovered") != 1 {
			t.Errorf("logged\n%s", log)
		}
	})
}

// TestOutageEndsWithFullStock: the relay sees the end of an outage even if its stock
// is full.
func TestOutageEndsWithFullStock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 4, BatchBlocks: 2})
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
// is seen within three quarters of a minute.
func TestNewAccountToken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 4, BatchBlocks: 2})
		o.service.set(func() {
			o.service.calls, o.service.err = nil, &qrypt.Error{StatusCode: 401, Class: qrypt.ErrUnauthorized}
		})
		pieces(t, o.quantum(o.token, 2))
		time.Sleep(50 * time.Minute)
		if len(o.service.calls) != 1 {
			t.Errorf("%d requests with a token that is refused", len(o.service.calls))
		}
		o.service.set(func() { o.service.newToken, o.service.err = true, nil })
		time.Sleep(supply.TokenInterval*3/2 + time.Second)
		synctest.Wait()
		if len(o.service.calls) != 2 || !o.Upstream().Up {
			t.Errorf("%d requests; upstream is %+v", len(o.service.calls), o.Upstream())
		}
	})
}

// TestSlowTokenCheck: no request is made while the token is being checked, even if one
// is due.
func TestSlowTokenCheck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 4, BatchBlocks: 2})
		o.service.set(func() {
			o.service.check, o.service.err = 10*time.Minute, &qrypt.Error{StatusCode: 401, Class: qrypt.ErrUnauthorized}
		})
		pieces(t, o.quantum(o.token, 2))
		time.Sleep(time.Hour - 5*time.Second)
		o.service.set(func() { o.service.err = nil })
		o.quantum(o.token, 1)
		for range 16 * 60 { // 5 min of them are the spread of the probe
			time.Sleep(time.Second)
			o.wakeRefiller()
		}
		synctest.Wait()
		if given, account := int64(len(o.service.all())), o.Account(); !o.Upstream().Up || given != account.Received || o.service.beside > 0 {
			t.Errorf("%d bytes were given, %d requests made beside a look, upstream is %+v, the account %+v", given, o.service.beside, o.Upstream(), account)
		}
	})
}

// TestHang: a request that does not end is reported and cancelled, and another one is
// made.
func TestHang(t *testing.T) {
	bubble(t, func(t *testing.T) {
		service := newFakeService(t)
		service.hang = time.Hour
		began := time.Now()
		o := newTestRelay(t, Config{Stock: 4, BatchBlocks: 2, Blocks: service})
		if up := o.Upstream(); up.Reason != qrand.TimedOut || up.Since.Sub(began) != supply.HangLimit || !strings.Contains(up.LastError, "token function hang") {
			t.Errorf("upstream is %+v", up)
		}
		synctest.Wait()
		if up := o.Upstream(); up.Up || up.Failed[qrand.TimedOut] != 1 {
			t.Errorf("upstream is %+v", up)
		}
		service.set(func() { service.hang = 0 })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if up := o.Upstream(); !up.Up || !o.Ready() || up.Failed[qrand.TimedOut] != 1 {
			t.Errorf("upstream is %+v", up)
		}
	})
}

// TestBadBlocks: an answer with a stuck block, or with one that came before, is
// refused as a whole and wiped. Nobody gets a byte of it.
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
				o := newTestRelay(t, Config{Stock: 4, BatchBlocks: 2})
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
				for _, b := range o.service.blocks() {
					if !bytes.Equal(b.Bytes(), make([]byte, qrypt.BlockSize)) {
						t.Fatal("a refused block was not wiped")
					}
				}
			})
		})
	}
}

// TestMaxAge: blocks that wait too long are wiped and replaced, even if nobody asks.
func TestMaxAge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 4, BatchBlocks: 2, MaxAge: time.Hour})
		old := o.service.blocks()
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

// TestMaxAgeInAnOutage: whole and partial blocks expire on time even if the service
// fails, and do not count as stock then.
func TestMaxAgeInAnOutage(t *testing.T) {
	for name, break_ := range map[string]func(*fakeService){
		"refused":       func(f *fakeService) { f.err = &qrypt.Error{StatusCode: 400, Class: qrypt.ErrBadRequest} },
		"without token": func(f *fakeService) { f.err = &qrypt.Error{StatusCode: 401, Class: qrypt.ErrUnauthorized} },
		"hanging":       func(f *fakeService) { f.hang = 10 * time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				o := newTestRelay(t, Config{Stock: 4, BatchBlocks: 2, MaxAge: 10 * time.Minute})
				o.service.set(func() { break_(o.service) })
				pieces(t, o.keys(o.token, 24, 1))
				pieces(t, o.quantum(o.token, 1))
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				for _, b := range o.service.blocks() {
					if !bytes.Equal(b.Bytes(), make([]byte, qrypt.BlockSize)) {
						t.Fatal("an old block is still there")
					}
				}
				if o.Account().Stock != 0 {
					t.Errorf("the account is %+v", o.Account())
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
		o := newTestRelay(t, Config{Stock: 4, BatchBlocks: 2, MaxAge: time.Hour, Blocks: service})
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

// TestTooOldElsewhere: if the blocks of one endpoint are too old, another one is asked
// at once, and clients get blocks from that one only.
func TestTooOldElsewhere(t *testing.T) {
	for name, sources := range map[string]func(old, fresh *fakeService) qrand.BlockSource{
		"Received": func(old, fresh *fakeService) qrand.BlockSource { return supply.Preferred{old, fresh} },
		"Age": func(old, fresh *fakeService) qrand.BlockSource {
			return supply.Preferred{clientOf(old, "https://old.example"), clientOf(fresh, "https://fresh.example")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				old, fresh := newFakeService(t), newFakeService(t)
				old.age, fresh.noise = 2*time.Hour, newNoise(10)
				began := time.Now()
				o := newTestRelay(t, Config{Stock: 4, BatchBlocks: 2, MaxAge: time.Hour, Blocks: sources(old, fresh)})
				for range 24 {
					pieces(t, o.quantum(o.token, 2))
					time.Sleep(5 * time.Minute)
				}
				synctest.Wait()
				if len(fresh.calls) < 24 || fresh.calls[0].Sub(began) > time.Second {
					t.Fatalf("%d requests to the one that has fresh blocks, and %d to the other", len(fresh.calls), len(old.calls))
				}
				if n := len(old.calls); n < 2 || n > 60 { // it is tried every 2 to 4 min, where there is room for blocks
					t.Errorf("%d requests to the one whose blocks are old", n)
				}
				up, account := o.Upstream(), o.Account()
				if !up.Up || up.Failed[qrand.TooOld] != int64(len(old.calls)) || up.RefusedBlocks != int64(len(old.blocks())) {
					t.Errorf("upstream is %+v", up)
				}
				if account.Received != int64(len(fresh.all())) {
					t.Errorf("the account is %+v, and %d bytes were fresh", account, len(fresh.all()))
				}
				if strings.Contains(o.log.String(), "no entropy comes") || strings.Count(o.log.String(), "than the preferred one") != 1 {
					t.Errorf("logged\n%s", o.log)
				}
			})
		})
	}
}

// TestElsewhere: after any failure of an endpoint the next one is asked at once. The
// service is up all the time, and one line of the log tells of the change.
func TestElsewhere(t *testing.T) {
	for _, class := range []error{qrypt.ErrUnauthorized, qrypt.ErrQuota, qrypt.ErrRateLimited, qrypt.ErrNoSupply, qrypt.ErrBadRequest} {
		for _, early := range []bool{true, false} {
			bubble(t, func(t *testing.T) {
				a, b := newFakeService(t), newFakeService(t)
				b.noise = newNoise(10)
				began, failure := time.Now(), &qrypt.Error{Class: class, RetryAfter: time.Hour}
				if early {
					a.err = failure
				}
				o := newTestRelay(t, Config{Stock: 8, BatchBlocks: 2, Blocks: supply.Preferred{a, b}})
				if !early {
					if len(b.calls) > 0 {
						t.Errorf("%v: the other endpoint was asked while the first one answered", class)
					}
					a.set(func() { a.err = failure })
					began = time.Now()
					pieces(t, o.quantum(o.token, 2))
					time.Sleep(time.Minute)
					synctest.Wait()
				}
				if len(b.calls) == 0 || b.calls[0].Sub(began) > time.Second {
					t.Fatalf("%v: %d requests to the other endpoint within a minute", class, len(b.calls))
				}
				up := o.Upstream()
				if !up.Up || up.Reason != "" || !early && up.Since.After(began) || len(up.Failed) != 1 || o.Account().Stock != 8*qrypt.BlockSize {
					t.Errorf("%v: upstream is %+v, the account %+v", class, up, o.Account())
				}
				log := o.log.String()
				if moved := strings.Count(log, "than the preferred one"); strings.Contains(log, "no entropy comes") || moved != 1 {
					t.Errorf("%v: logged\n%s", class, log)
				}
			})
		}
	}
}

// TestFlapping: if every other request fails for an hour, the log has three lines, and
// a fourth after the service has answered for ten minutes.
func TestFlapping(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 4, BatchBlocks: 1})
		run := func(d time.Duration) (lines int) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
				o.quantum(o.token, 1)
			}
			return strings.Count(o.log.String(), `msg="relay: `)
		}
		o.service.set(func() { o.service.flaps = true })
		lines := run(time.Hour)
		if up := o.Upstream(); up.Answered < 1800 || up.Failed[qrand.NoSupply] < 1800 {
			t.Fatalf("it does not flap: upstream is %+v", up)
		}
		if lines != 3 || !strings.Contains(o.log.String(), "another within 10 min") {
			t.Errorf("%d lines in an hour", lines)
		}
		o.service.set(func() { o.service.flaps = false })
		if lines := run(9 * time.Minute); lines != 3 {
			t.Errorf("%d lines after 9 min without a failure", lines)
		}
		if lines := run(2 * time.Minute); lines != 4 || strings.Count(o.log.String(), "recovered") != 2 {
			t.Errorf("%d lines after 11 min without a failure", lines)
		}
	})
}

// TestNextRequest: it has no time while one is under way, or while none is wanted.
func TestNextRequest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 4, BatchBlocks: 2})
		for _, test := range []struct {
			name string
			draw int
			set  func(f *fakeService)
			due  bool
		}{
			{"room for less than a batch", 1, func(f *fakeService) {}, false},
			{"under way", 1, func(f *fakeService) { f.hang = 10 * time.Second }, false},
			{"failed", 2, func(f *fakeService) {
				f.hang, f.err = 0, &qrypt.Error{Class: qrypt.ErrRateLimited, RetryAfter: time.Minute}
			}, true},
		} {
			o.service.set(func() { test.set(o.service) })
			pieces(t, o.quantum(o.token, test.draw))
			if next := o.Upstream().NextRequest; next.IsZero() == test.due || test.due && time.Until(next) < time.Minute {
				t.Errorf("%s: the next request is due at %v", test.name, next)
			}
			time.Sleep(15 * time.Second)
		}
	})
}

// TestEmulatedInPart: after one emulated block the relay says so until it ends.
func TestEmulatedInPart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 4, BatchBlocks: 2})
		f := newRefiller(o.Relay, make([]byte, 32))
		give := func(emulated ...bool) {
			var blocks []qrypt.Block
			for _, e := range emulated {
				blocks = append(blocks, o.service.noise.block(t, qrypt.Origin{Emulated: e}))
			}
			f.Handle(supply.Outcome{Blocks: blocks}, time.Now())
		}
		give(false, true)
		give(false, false)
		if !o.Upstream().Emulated || strings.Count(o.log.String(), "emulated, not quantum") != 1 {
			t.Errorf("upstream is %+v, logged\n%s", o.Upstream(), o.log)
		}
	})
}

// TestReplay: a block that comes again is refused, even a whole stock later.
func TestReplay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 6000, BatchBlocks: 500})
		o.service.set(func() { o.service.repeat = true })
		pieces(t, o.quantum(o.token, 500))
		time.Sleep(time.Second)
		synctest.Wait()
		if up := o.Upstream(); up.Reason != qrand.Repeated || up.RefusedBlocks < 500 || len(o.service.copies) < 6000 {
			t.Errorf("a block from 6,000 blocks ago: upstream is %+v", up)
		}
	})
}

// TestCloseWipesWhatComesLate: Close waits 5 s at most for a BlockSource. What that gives after
// Close is wiped.
func TestCloseWipesWhatComesLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 4, BatchBlocks: 2})
		o.service.set(func() { o.service.hang, o.service.stubborn = time.Minute, true })
		pieces(t, o.quantum(o.token, 2))
		began := time.Now()
		if err := o.Close(); err == nil || time.Since(began) != closeLimit {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(o.service.blocks()) != 6 {
			t.Errorf("%d blocks were given", len(o.service.blocks()))
		}
		for _, b := range o.service.blocks() {
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
		o := newTestRelay(t, Config{Stock: 4, BatchBlocks: 2})
		o.service.set(func() { o.service.hang = time.Hour })
		pieces(t, o.quantum(o.token, 2))
		begin := time.Now()
		if err := o.Close(); err != nil || time.Since(begin) > time.Second {
			t.Errorf("Close took %v: %v", time.Since(begin), err)
		}
		for _, b := range o.service.blocks() {
			if !bytes.Equal(b.Bytes(), make([]byte, qrypt.BlockSize)) {
				t.Fatal("a block is still there")
			}
		}
		if w := o.quantum(o.token, 1); w.Code != 503 {
			t.Errorf("a closed relay answers %d", w.Code)
		}
	})
}

// TestRetry: when somebody has put the account right and says so, the service is asked at
// once, and what is in stock stays.
func TestRetry(t *testing.T) {
	for _, class := range []error{qrypt.ErrQuota, qrypt.ErrUnauthorized, qrypt.ErrBadRequest, qrypt.ErrRateLimited} {
		bubble(t, func(t *testing.T) {
			o := newTestRelay(t, Config{Stock: 4, BatchBlocks: 2})
			time.Sleep(time.Minute)
			synctest.Wait()
			o.service.set(func() { o.service.err = &qrypt.Error{Class: class, RetryAfter: 5 * time.Minute} })
			pieces(t, o.quantum(o.token, 3))
			time.Sleep(30 * time.Second)
			synctest.Wait()
			if up := o.Upstream(); up.Up || up.NextRequest.Before(time.Now().Add(time.Minute)) {
				t.Fatalf("%v: %+v", class, up)
			}
			o.service.set(func() { o.service.err = nil })
			stock := o.Account().Stock
			o.Retry()
			time.Sleep(time.Second)
			synctest.Wait()
			if up := o.Upstream(); !up.Up || o.Account().Stock <= stock || o.Account().Expired != 0 {
				t.Errorf("%v: %+v, %+v", class, up, o.Account())
			}
		})
	}
}
