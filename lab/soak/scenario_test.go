package main

import (
	"context"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.com/qrand/qrypttest"
)

// newTestScenario is one in which nothing goes wrong by itself.
func newTestScenario(t *testing.T) *scenario {
	t.Helper()
	cfg := short(t)
	cfg.faults = 0
	sc, err := newScenario(cfg, &report{cfg: cfg, began: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sc.close)
	return sc
}

// TestPortTaken: a region whose port was taken while it was down comes back when
// the port is free, and the report says what it waited for; if that is never, it is
// a failure that does not accuse the Sources.
func TestPortTaken(t *testing.T) {
	defer func(saved time.Duration) { portLimit = saved }(portLimit)
	sc := newTestScenario(t)
	at, err := url.Parse(sc.service.Endpoints()[0])
	if err != nil {
		t.Fatal(err)
	}
	sc.service.Stop(regions[0])
	other, err := net.Listen("tcp", at.Host)
	if err != nil {
		t.Skipf("somebody else was quicker to take the port: %v", err)
	}
	defer other.Close()

	portLimit = 100 * time.Millisecond
	sc.startRegion(t.Context(), regions[0])
	if _, noted, failure, note := sc.rep.problems(); noted != 1 || !strings.Contains(note, at.Host) || !strings.Contains(failure, "another process has kept its port") {
		t.Errorf("the port is never free: failure %q, %d notes, such as %q", failure, noted, note)
	}

	sc.rep = &report{began: time.Now()}
	ended, end := context.WithCancel(t.Context())
	end()
	if sc.startRegion(ended, regions[0]); !sc.rep.ok() {
		t.Errorf("a soak that ends meanwhile: %q", sc.rep.failures)
	}

	sc.rep = &report{began: time.Now()}
	portLimit = time.Minute
	waits, up := context.WithCancel(t.Context())
	go func() {
		sc.startRegion(t.Context(), regions[0])
		up()
	}()
	for noted := int64(0); noted == 0 && pause(waits, time.Millisecond); {
		_, noted, _, _ = sc.rep.problems()
	}
	other.Close()
	<-waits.Done()
	if !sc.rep.ok() {
		t.Errorf("the port was free again: %q", sc.rep.failures)
	}
	c, err := net.Dial("tcp", at.Host)
	if err != nil {
		t.Fatalf("the region is not back: %v", err)
	}
	c.Close()
}

// TestNotBack: a region that cannot be started for another reason is a failure at
// once.
func TestNotBack(t *testing.T) {
	sc := newTestScenario(t)
	sc.close()
	sc.startRegion(t.Context(), regions[0])
	if failed, noted, failure, _ := sc.rep.problems(); failed != 1 || noted != 0 || !strings.Contains(failure, "closed") {
		t.Errorf("%d failures, %d notes: %q", failed, noted, failure)
	}
}

// TestOldToken: a token that should be refused and is accepted, or is answered in
// another way, is a failure; an outage, or the end of the soak, proves nothing.
func TestOldToken(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	for _, c := range []struct {
		name    string
		ctx     context.Context
		prepare func(sc *scenario, token string)
		want    string // in the failure
		refused int64
	}{
		{"refused", t.Context(), func(sc *scenario, _ string) { sc.service.SetTokens("another") }, "", 1},
		{"accepted", t.Context(), func(*scenario, string) {}, "a token was accepted after", 0},
		{"an answer of another kind", t.Context(), func(sc *scenario, _ string) {
			sc.service.SetFault(func(qrypttest.Request) *qrypttest.Fault { return &qrypttest.Fault{Kind: qrypttest.HTML} })
		}, "an old token was answered with", 0},
		{"an outage", t.Context(), func(sc *scenario, _ string) { sc.service.Stop(regions[0]); sc.service.Stop(regions[1]) }, "", 0},
		{"the end", ended, func(*scenario, string) {}, "", 0},
	} {
		sc := newTestScenario(t)
		token := sc.service.Token()
		c.prepare(sc, token)
		sc.checkRefused(c.ctx, token)
		failed, _, failure, _ := sc.rep.problems()
		if (failed > 0) != (c.want != "") || !strings.Contains(failure, c.want) || sc.refusedTokens.Load() != c.refused {
			t.Errorf("%s: %q, and %d refused, want %q and %d", c.name, failure, sc.refusedTokens.Load(), c.want, c.refused)
		}
	}
}
