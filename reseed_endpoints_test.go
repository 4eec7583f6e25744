package qrand

import (
	"errors"
	"testing"
	"time"

	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// Several endpoints that fail in different ways, or one that many Sources ask. Most of
// these tests are of what went wrong once.

// always is a fault that stays.
func always(status int, retryAfter time.Duration) qrypttest.Fault {
	return qrypttest.Fault{Kind: qrypttest.Status, Status: status, RetryAfter: retryAfter, Times: -1}
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

// TestReseedTriesBothEndpoints: Reseed fails only when both endpoints have.
func TestReseedTriesBothEndpoints(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		s := w.source(t, Config{})
		waitSeeded(t, s)
		w.ScriptRegion("api-eus", qrypttest.Fault{Kind: qrypttest.HTML, Times: -1})
		if err := s.Reseed(t.Context()); err != nil {
			t.Error(err)
		}
		if at := s.Status().LastEndpoint; at != "http://127.0.0.2" {
			t.Errorf("the block came from %s", at)
		}
		w.ScriptRegion("api-weu", qrypttest.Fault{Kind: qrypttest.Stuck, Times: -1})
		time.Sleep(time.Second)
		err := s.Reseed(t.Context())
		hear(err)
		if err == nil {
			t.Error("Reseed succeeded with a stuck source and a page of HTML")
		}
	})
}

// TestRetryAfterIsALowerBound: Retry-After is waited for, even a short one. It is not
// forgotten when the other endpoint fails without one, and Reseed does not skip it.
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

// TestAnHourIsItsOwn: an endpoint that answers 404 is asked once an hour. That does not
// delay requests to another endpoint, which was out for two seconds.
func TestAnHourIsItsOwn(t *testing.T) {
	for range 20 {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
			s := w.source(t, Config{})
			waitSeeded(t, s)
			w.ScriptRegion("api-eus", always(503, 0))
			w.ScriptRegion("api-weu", always(404, 0))
			s.Reseed(t.Context())
			time.Sleep(2 * time.Second)
			w.ClearScript()
			w.ScriptRegion("api-weu", always(404, 0))
			time.Sleep(30 * time.Second) // it was out for 2 s: our own waits are 4 s at most by then
			if st := s.Status(); st.State != Seeded || st.LastEndpoint != "http://127.0.0.1" {
				t.Errorf("half a minute after an outage of 2 s: %v", st)
			}
			if err := s.Reseed(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAnothersRefusal: what an endpoint says about the token, the quota or the rate holds
// for that endpoint only. Relays have their own lists of clients.
func TestAnothersRefusal(t *testing.T) {
	for _, fault := range []qrypttest.Fault{
		always(401, 0), always(403, 0), always(403, 10*time.Hour), always(429, 0), always(429, time.Hour), always(404, 0), always(503, time.Hour), always(500, 0),
		{Kind: qrypttest.HTML, Times: -1}, {Kind: qrypttest.Redirect, Times: -1}, {Kind: qrypttest.Hang, Times: -1}, {Kind: qrypttest.Stuck, Times: -1},
	} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
			w.ScriptRegion("api-eus", fault)
			s := w.source(t, Config{})
			time.Sleep(time.Minute)
			wantState(t, s, Seeded, "")
			for range 24 * 60 {
				mustRead(t, s, 1)
				time.Sleep(time.Minute)
			}
			st := s.Status()
			if st.State != Seeded || st.OSReseeds > 2 || st.LastEndpoint != "http://127.0.0.2" {
				t.Errorf("%v %d: after a day %v", fault.Kind, fault.Status, st)
			}
			wantLogs(t, w, 0, 0) // there is no outage
		})
	}
}

// TestQuotaBeginsAnew: after a 403 with Retry-After the endpoint is asked at that time, no
// later.
func TestQuotaBeginsAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{Regions: []string{"relay"}}, qrypt.DialectQuantumEntropy)
		w.Script(qrypttest.Fault{Kind: qrypttest.Status, Status: 403, RetryAfter: 37 * time.Second})
		s := w.source(t, Config{})
		time.Sleep(37*time.Second + 20*time.Second + time.Second) // and a spread of 20 s
		wantState(t, s, Seeded, "")
		if got := w.times(); got[1] < 37*time.Second {
			t.Errorf("requests at %v", got)
		}
	})
}

// TestQuotaOfAnotherAccount: a new token ends the wait for a quota, too.
func TestQuotaOfAnotherAccount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{Quota: 8, Tokens: []string{testToken, testToken2}}, qrypt.DialectQuantumEntropy)
		s := w.source(t, Config{})
		for range 6 {
			mustRead(t, s, 32)
			time.Sleep(time.Minute)
		}
		wantState(t, s, Degraded, QuotaReached)
		w.token.Store(testToken2)
		time.Sleep(supply.TokenInterval * 3 / 2)
		wantState(t, s, Seeded, "")
	})
}

// TestBackToThePreferred: after its outage the first endpoint is used again.
func TestBackToThePreferred(t *testing.T) {
	for _, batch := range []int{1, 8} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
			s := w.source(t, Config{BatchBlocks: batch})
			waitSeeded(t, s)
			w.ScriptRegion("api-eus", always(502, 0))
			s.Reseed(t.Context())
			if at := s.Status().LastEndpoint; at != "http://127.0.0.2" {
				t.Errorf("during the outage the block came from %s", at)
			}
			w.ClearScript()
			for range 10 {
				mustRead(t, s, 1)
				time.Sleep(time.Minute)
			}
			if err := s.Reseed(t.Context()); err != nil {
				t.Error(err)
			}
			if at := s.Status().LastEndpoint; at != "http://127.0.0.1" {
				t.Errorf("ten minutes after the outage the block came from %s", at)
			}
			if moved, back := w.logged.moved.Load(), w.logged.back.Load(); moved != 1 || back != 1 {
				t.Errorf("the log says %d times that another endpoint gives blocks, and %d times that the preferred one does again", moved, back)
			}
		})
	}
}

// TestAnothersRetryAfter: a long Retry-After of one endpoint does not delay requests to
// another, although both say 429 and may share a limit.
func TestAnothersRetryAfter(t *testing.T) {
	for _, first := range []qrypttest.Fault{always(429, 10*time.Minute), always(429, 0)} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
			w.ScriptRegion("api-eus", first)
			w.ScriptRegion("api-weu", qrypttest.Fault{Kind: qrypttest.Reset, Times: 20}, qrypttest.Fault{Kind: qrypttest.Status, Status: 429, Times: 1})
			s := w.source(t, Config{})
			if err := s.WaitSeeded(t.Context()); err != nil { // by when the first one has refused us for an hour
				t.Error(err)
			}
			weu := w.requestsTo("api-weu")
			if wait := weu[21] - weu[20]; wait > time.Minute {
				t.Errorf("a healthy endpoint that refused us once was asked after %v", wait)
			}
		})
	}
}

// TestSlowProbe: an endpoint that gives no answer does not keep us from one that does.
func TestSlowProbe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		w.ScriptRegion("api-eus", qrypttest.Fault{Kind: qrypttest.Hang, Times: -1})
		s := w.source(t, Config{Policy: RequireFresh, MaxAge: 61 * time.Second, AllowEmulated: true})
		waitSeeded(t, s)
		for i := range 2 * 60 * 60 {
			if _, err := s.Read(make([]byte, 1)); err != nil {
				t.Fatalf("after %d s %v", i, err)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(3 * time.Minute)
		for range 20 {
			begin := time.Now()
			if err := s.Reseed(t.Context()); err != nil || time.Since(begin) > 6*time.Second {
				t.Errorf("after %v Reseed returned %v", time.Since(begin), err)
			}
			time.Sleep(time.Minute)
		}
	})
}
