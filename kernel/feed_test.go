package kernel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/health"
	"example.com/qrand/internal/supply"
	"example.com/qrand/internal/verbs"
	"example.com/qrand/qrypt"
)

// TestAchieved: what happens to the pool in each case, and what the Result says.
func TestAchieved(t *testing.T) {
	odd := errors.New("kernel: input/output error")
	for _, c := range []struct {
		name     string
		bits     int
		emulated bool
		pool     fakePool
		calls    string
		says     string
	}{
		{"all permitted", 0, false, fakePool{}, "mix, reseed",
			"mixed 1024 bytes (credited 0 bits), reseeded"},
		{"no privilege", 0, false, fakePool{onReseed: ErrNotPermitted}, "mix, reseed",
			"mixed 1024 bytes (credited 0 bits), not reseeded: not permitted (needs CAP_SYS_ADMIN)"},
		{"early in the boot", 0, false, fakePool{onReseed: ErrNotReady}, "mix, reseed",
			"mixed 1024 bytes (credited 0 bits), not reseeded: the kernel's generator is not initialized yet"},
		{"an old kernel", 0, false, fakePool{onReseed: ErrUnknownCall}, "mix, reseed",
			"mixed 1024 bytes (credited 0 bits), not reseeded: this kernel does not know the call"},
		{"something else", 0, false, fakePool{onReseed: odd}, "mix, reseed",
			"mixed 1024 bytes (credited 0 bits), not reseeded: input/output error"},
		{"credit", 8192, false, fakePool{}, "credit 8192, reseed",
			"mixed 1024 bytes (credited 8192 bits), reseeded"},
		{"credit without privilege", 64, false, fakePool{onCredit: ErrNotPermitted, onReseed: ErrNotPermitted}, "credit 64, mix, reseed",
			"mixed 1024 bytes (credited 0 bits: not permitted (needs CAP_SYS_ADMIN)), not reseeded: not permitted (needs CAP_SYS_ADMIN)"},
		{"emulated", 0, true, fakePool{}, "mix, reseed",
			"mixed 1024 bytes of EMULATED entropy (credited 0 bits), reseeded"},
		{"emulated, with credit", 8192, true, fakePool{}, "mix, reseed",
			"mixed 1024 bytes of EMULATED entropy (credited 0 bits: EMULATED entropy is never credited), reseeded"},
	} {
		f, p, s := newTestFeeder(t, Config{CreditBits: c.bits, AllowEmulated: c.emulated && c.bits > 0, Blocks: &fakeBlocks{emulated: c.emulated}})
		*p = c.pool
		r, err := f.Once(t.Context())
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := strings.Join(p.calls, ", "); got != c.calls {
			t.Errorf("%s: the pool saw %s, want %s", c.name, got, c.calls)
		}
		if r.String() != c.says {
			t.Errorf("%s: %q, want %q", c.name, r, c.says)
		}
		if r.Mixed != qrypt.BlockSize || r.Reseeded != (c.pool.onReseed == nil) || r.NotReseeded != c.pool.onReseed || r.Origin.Emulated != c.emulated || r.Origin.Endpoint != "https://fake" {
			t.Errorf("%s: %+v", c.name, r)
		}
		if (r.Credited > 0) == (r.NotCredited != nil) && c.bits > 0 || r.Credited > 0 && r.Credited != c.bits {
			t.Errorf("%s: credited %d, and %v", c.name, r.Credited, r.NotCredited)
		}
		for _, block := range p.got {
			if !bytes.Equal(block, goodBytes(0)) {
				t.Errorf("%s: it is not the block that went in", c.name)
			}
		}
		if !wiped(p, s) {
			t.Errorf("%s: the block was not wiped", c.name)
		}
	}
	if got := (Result{}).String(); got != "nothing mixed" {
		t.Errorf("a zero Result says %q", got)
	}
}

// TestEmulatedRefused: where a credit is asked for, emulated blocks are not mixed
// either, unless that is allowed.
func TestEmulatedRefused(t *testing.T) {
	for _, c := range []struct {
		bits           int
		allow, refused bool
	}{{0, false, false}, {0, true, false}, {1, false, true}, {MaxCreditBits, false, true}, {MaxCreditBits, true, false}} {
		var last Event
		f, p, s := newTestFeeder(t, Config{CreditBits: c.bits, AllowEmulated: c.allow, Blocks: &fakeBlocks{emulated: true}, OnEvent: func(e Event) { last = e }})
		r, err := f.Once(t.Context())
		if c.refused != (err != nil) || c.refused == (r.Mixed > 0) || c.refused == (len(p.calls) > 0) || r.Credited > 0 {
			t.Errorf("%+v: %v, %v, the pool saw %v", c, r, err, p.calls)
		}
		if c.refused && (!errors.Is(err, qrand.ErrEmulated) || !strings.HasPrefix(err.Error(), "kernel: ") || last.Reason != qrand.Emulated) {
			t.Errorf("%+v: %v, %+v", c, err, last)
		}
		if len(s.given) != 1 || !wiped(p, s) {
			t.Errorf("%+v: the block was not wiped", c)
		}
	}
}

// TestMixFails: a block that could not be mixed is not reported as mixed.
func TestMixFails(t *testing.T) {
	f, p, s := newTestFeeder(t, Config{})
	p.onMix = errors.New("no space")
	r, err := f.Once(t.Context())
	if !errors.Is(err, p.onMix) || r != (Result{}) || !strings.HasPrefix(err.Error(), "kernel: ") {
		t.Errorf("%v, %v", r, err)
	}
	if got := strings.Join(p.calls, ", "); got != "mix" {
		t.Errorf("the pool saw %s", got)
	}
	if !wiped(p, s) {
		t.Error("the block was not wiped")
	}
	if len(s.at) != 1 {
		t.Errorf("%d requests: another endpoint does not repair the pool", len(s.at))
	}
}

// TestRefused: a bad block does not reach the pool, and is wiped.
func TestRefused(t *testing.T) {
	s := &fakeBlocks{}
	stuck := bytes.Repeat([]byte{7}, qrypt.BlockSize)
	for _, c := range []struct {
		name   string
		blocks []qrypt.Block
		want   error
	}{
		{"stuck", []qrypt.Block{s.block(stuck)}, health.ErrUnhealthy},
		{"seen before", []qrypt.Block{s.block(goodBytes(0))}, health.ErrRepeated},
		{"none", nil, supply.ErrBlockCount},
		{"two", []qrypt.Block{s.block(goodBytes(8)), s.block(goodBytes(9))}, supply.ErrBlockCount},
		{"empty", make([]qrypt.Block, 1), supply.ErrBlockCount},
	} {
		f, p, s := newTestFeeder(t, Config{})
		if _, err := f.Once(t.Context()); err != nil { // of goodBytes(0)
			t.Fatal(err)
		}
		s.answer = func(n int) ([]qrypt.Block, error) {
			if n != 1 {
				t.Errorf("%s: %d blocks asked for", c.name, n)
			}
			return c.blocks, nil
		}
		_, err := f.Once(t.Context())
		if !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), "kernel: ") {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if got := strings.Join(p.calls, ", "); got != "mix, reseed" { // of the first
			t.Errorf("%s: the pool saw %s", c.name, got)
		}
		if !wiped(p, s) {
			t.Errorf("%s: it was not wiped", c.name)
		}
	}
}

// run runs a Feeder in a bubble for so long, and returns its events.
func run(t *testing.T, d time.Duration, cfg Config, change func(*fakePool, *fakeBlocks, []Event)) (events []Event, p *fakePool, s *fakeBlocks) {
	t.Helper()
	var f *Feeder
	cfg.OnEvent = func(e Event) {
		events = append(events, e)
		if change != nil {
			change(p, s, events)
		}
	}
	f, p, s = newTestFeeder(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := f.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run: %v", err)
	}
	return events, p, s
}

// TestRun: a block is fed at once and at each interval. Only the first is a change.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			interval time.Duration
			want     int // in 10 min, less 1.5 s
		}{{0, 10}, {time.Second, 599}, {4 * time.Minute, 3}} {
			events, p, s := run(t, 10*time.Minute-1500*time.Millisecond, Config{Interval: c.interval}, nil)
			if len(events) != c.want || len(s.at) != c.want || len(p.got) != c.want {
				t.Errorf("each %v: %d events, %d requests, %d blocks mixed, want %d", c.interval, len(events), len(s.at), len(p.got), c.want)
			}
			for i, e := range events {
				if e.Err != nil || e.Reason != "" || e.Changed != (i == 0) || i > 0 && !e.Time.Equal(events[i-1].Next) {
					t.Fatalf("event %d: %+v", i, e)
				}
			}
			if !wiped(p, s) {
				t.Error("blocks are left")
			}
		}
	})
}

// TestLog: a line at each change, none in between.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, nil))
		_, _, s := run(t, time.Hour, Config{Logger: logger}, func(p *fakePool, s *fakeBlocks, events []Event) {
			switch len(events) {
			case 5:
				s.fail = &qrypt.Error{Endpoint: "https://fake", Class: qrypt.ErrServer}
			case 10:
				s.fail = &qrypt.Error{Endpoint: "https://fake", Class: qrypt.ErrNetwork}
			case 14:
				s.fail = nil
			case 20:
				p.onReseed = ErrNotPermitted
			}
		})
		var got []string
		for line := range strings.Lines(log.String()) {
			_, line, _ = strings.Cut(line, "level=")
			got = append(got, line)
		}
		want := []string{
			`INFO msg="kernel: mixed 1024 bytes (credited 0 bits), reseeded" from=https://fake`,
			`WARN msg="kernel: no block for the kernel's pool" error="qrypt: https://fake: internal error of the service" next=`,
			`WARN msg="kernel: no block for the kernel's pool" error="qrypt: https://fake: the service cannot be reached" next=`,
			`INFO msg="kernel: mixed 1024 bytes (credited 0 bits), reseeded" from=https://fake`,
			`INFO msg="kernel: mixed 1024 bytes (credited 0 bits), not reseeded: not permitted`,
		}
		if len(got) != len(want) {
			t.Fatalf("%d lines, want %d:\n%s", len(got), len(want), &log)
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("line %d is %s, want %s", i+1, got[i], want[i])
			}
		}
		if len(s.given) < 20 {
			t.Errorf("%d blocks in an hour", len(s.given))
		}
	})
}

// TestOutages: in a day of any kind of failure there are few requests, but some, and the end
// of the outage is seen.
func TestOutages(t *testing.T) {
	class := func(c error) error { return &qrypt.Error{Endpoint: "https://fake", Class: c} }
	for _, c := range []struct {
		fail        error
		reason      string
		least, most int // requests in a day
	}{
		{class(qrypt.ErrServer), "server_error", 250, 1100},
		{class(qrypt.ErrNoSupply), "no_supply", 250, 1100},
		{errors.New("a source's own"), "failed", 250, 1100},
		{class(qrypt.ErrRateLimited), "rate_limited", 100, 1100},
		{class(qrypt.ErrQuota), "quota_reached", 5, 12},
		{class(qrypt.ErrUnauthorized), "unauthorized", 20, 30},
		{class(qrypt.ErrBadRequest), "bad_request", 20, 30},
	} {
		synctest.Test(t, func(t *testing.T) {
			events, p, s := run(t, 24*time.Hour, Config{Blocks: &fakeBlocks{fail: c.fail}}, nil)
			if n := len(s.at); n < c.least || n > c.most {
				t.Errorf("%v: %d requests in a day, want %d to %d", c.fail, n, c.least, c.most)
			}
			if len(p.calls) > 0 {
				t.Errorf("%v: the pool saw %v", c.fail, p.calls)
			}
			for i, e := range events {
				if !errors.Is(e.Err, c.fail) || string(e.Reason) != c.reason || e.Changed != (i == 0) {
					t.Fatalf("%v: event %d is %+v", c.fail, i, e)
				}
			}
		})
	}
}

// TestTokenChanges: a refused token is not used again within the hour, but another one is
// used within 45 s.
func TestTokenChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		refused := &fakeBlocks{fail: &qrypt.Error{Class: qrypt.ErrUnauthorized}}
		refused.onLook = func() bool {
			if time.Since(began) < 10*time.Minute+10*time.Second {
				return false
			}
			refused.fail = nil
			return true
		}
		events, p, s := run(t, 11*time.Minute, Config{Blocks: refused}, nil)
		if len(events) != 2 || len(p.got) != 1 || s.looked < 14 || s.looked > 41 { // each 15 to 45 s
			t.Fatalf("%d events, %d blocks mixed, looked %d times for a token", len(events), len(p.got), s.looked)
		}
		if at := s.at[1].Sub(began); at < 10*time.Minute+10*time.Second || at > 10*time.Minute+55*time.Second {
			t.Errorf("the new token was used after %v", at)
		}
	})
}

// TestHanging: a request without an answer fails after a minute, and another one is made.
func TestHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		events, _, _ := run(t, 2*time.Minute+30*time.Second, Config{Blocks: &fakeBlocks{wait: func(ctx context.Context) { <-ctx.Done() }}}, nil)
		if len(events) != 2 || !errors.Is(events[0].Err, supply.ErrHangs) || events[0].Reason != "timed_out" || events[0].Time.Sub(began) != supply.HangLimit {
			t.Fatalf("%+v", events)
		}
	})
}

// TestElsewhere: the other endpoint is tried before Once gives up.
func TestElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, class := range []error{qrypt.ErrServer, qrypt.ErrUnauthorized, qrypt.ErrRateLimited, qrypt.ErrQuota} {
			for _, works := range []bool{true, false} {
				down := &qrypt.Error{Class: class}
				first, second := &fakeBlocks{fail: down}, &fakeBlocks{}
				if !works {
					second.fail = down
				}
				f, p, _ := newTestFeeder(t, Config{})
				f.supply = supply.New(supply.Config{
					Source:    supply.Preferred{first, second},
					Memory:    health.NewMemory(make([]byte, 32), health.Remembered),
					MaxBlocks: 1,
					Random:    func(d time.Duration) time.Duration { return d - 1 }, // a short wait could be over when the second one fails
				})
				r, err := f.Once(t.Context())
				if (err == nil) != works || len(first.at) != 1 || len(second.at) != 1 || (len(p.got) == 1) != works || r.Reseeded != works {
					t.Errorf("%v, the second works: %v: %v, %v after %d and %d requests", class, works, r, err, len(first.at), len(second.at))
				}
				if len(second.at) == 1 && second.at[0].Sub(first.at[0]) > time.Second {
					t.Errorf("the other endpoint was asked after %v", second.at[0].Sub(first.at[0]))
				}
			}
		}
	})
}

// TestCancelled: that a caller gives up is not a failure of the service.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	told := 0
	f, _, s := newTestFeeder(t, Config{OnEvent: func(Event) { told++ }})
	s.wait = func(context.Context) { cancel(enough) }
	if err := f.Run(ctx); err != enough || len(s.at) != 1 {
		t.Errorf("Run: %v after %d requests", err, len(s.at))
	}
	if _, err := f.Once(ctx); err != enough {
		t.Errorf("Once: %v", err)
	}
	if told > 0 || f.supply.Failing() {
		t.Error("it counts as a failure")
	}
}

// TestLate: a block that comes when nobody waits any more is wiped, and not mixed.
func TestLate(t *testing.T) {
	for name, feed := range map[string]func(*Feeder, context.Context) error{
		"Run":  (*Feeder).Run,
		"Once": func(f *Feeder, ctx context.Context) error { _, err := f.Once(ctx); return err },
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		enough := errors.New("enough")
		blocks := &fakeBlocks{deaf: true, wait: func(context.Context) { cancel(enough) }}
		f, p, s := newTestFeeder(t, Config{Blocks: blocks})
		if err := feed(f, ctx); err != enough {
			t.Errorf("%s: %v", name, err)
		}
		if len(s.given) != 1 || !wiped(p, s) || len(p.calls) > 0 {
			t.Errorf("%s: %d blocks came, the pool saw %v", name, len(s.given), p.calls)
		}
	}
}

// TestAfterOutage: when the service answers again, one block is fed, and the next one an
// interval later. The blocks that were missed are not fetched.
func TestAfterOutage(t *testing.T) {
	for _, length := range []time.Duration{5 * time.Second, 50 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			down := &fakeBlocks{}
			down.wait = func(context.Context) {
				down.fail = nil
				if since := time.Since(began); since >= 10*time.Minute && since < 10*time.Minute+length {
					down.fail = &qrypt.Error{Class: qrypt.ErrServer}
				}
			}
			var fed []time.Time
			run(t, 2*time.Hour, Config{Blocks: down}, func(_ *fakePool, _ *fakeBlocks, events []Event) {
				if e := events[len(events)-1]; e.Err == nil {
					fed = append(fed, e.Time)
				}
			})
			late := 0
			for i := 1; i < len(fed); i++ {
				gap := fed[i].Sub(fed[i-1])
				if gap < time.Minute {
					t.Errorf("an outage of %v: two blocks within %v", length, gap)
				}
				if gap > time.Minute {
					late++
				}
			}
			if late != 1 {
				t.Errorf("an outage of %v: %d blocks of %d were late", length, late, len(fed))
			}
		})
	}
}

// TestFlapping: a service of which every other request fails for an hour is worth
// three lines, and a fourth after it has answered for ten minutes.
func TestFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		began, lines := time.Now(), map[time.Duration]int{}
		flapping := &fakeBlocks{}
		flapping.wait = func(context.Context) {
			since := time.Since(began)
			lines[since.Truncate(time.Minute)] = strings.Count(log.String(), "\n")
			flapping.fail = nil
			if len(flapping.at)%2 == 1 && since < time.Hour {
				flapping.fail = &qrypt.Error{Class: qrypt.ErrNoSupply}
			}
		}
		_, p, s := run(t, 75*time.Minute, Config{Interval: time.Second, Blocks: flapping, Logger: slog.New(slog.NewTextHandler(&log, nil))}, nil)
		if failed := len(s.at) - len(p.got); failed < 1800 {
			t.Fatalf("it does not flap: %d failures", failed)
		}
		if lines[59*time.Minute] != 3 || lines[68*time.Minute] != 3 || lines[71*time.Minute] != 4 || lines[74*time.Minute] != 4 {
			t.Errorf("%d lines in an hour, %d before 10 min without a failure, %d after:\n%s", lines[59*time.Minute], lines[68*time.Minute], lines[71*time.Minute], &log)
		}
		if !strings.Contains(log.String(), "another within 10 min") {
			t.Errorf("nothing says that lines are held back:\n%s", &log)
		}
	})
}

// TestOnceAgain: a second Once after a failure does not skip a wait that the service or the
// token asks for, and never waits for hours.
func TestOnceAgain(t *testing.T) {
	for _, c := range []struct {
		class            error
		requests, looked int // by the second Once
		newToken         bool
	}{
		{class: qrypt.ErrServer, requests: 1},
		{class: qrypt.ErrRateLimited},
		{class: qrypt.ErrBadRequest},
		{class: qrypt.ErrUnauthorized, looked: 1},
		{class: qrypt.ErrUnauthorized, looked: 1, requests: 1, newToken: true},
		{class: qrypt.ErrQuota, looked: 1},
		{class: qrypt.ErrQuota, looked: 1, requests: 1, newToken: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			fail := &qrypt.Error{Endpoint: "https://fake", Class: c.class}
			f, _, s := newTestFeeder(t, Config{Blocks: &fakeBlocks{fail: fail, onLook: func() bool { return c.newToken }}})
			if _, err := f.Once(t.Context()); !errors.Is(err, c.class) || len(s.at) != 1 {
				t.Fatalf("%v: %v after %d requests", c.class, err, len(s.at))
			}
			began := time.Now()
			_, err := f.Once(t.Context())
			if !errors.Is(err, c.class) || strings.Contains(err.Error(), "not yet time") == (c.requests > 0) {
				t.Errorf("%+v: %v", c, err)
			}
			if took := time.Since(began); took > 400*time.Millisecond || len(s.at) != 1+c.requests || s.looked != c.looked {
				t.Errorf("%+v: %d requests and %d looks for a token in %v", c, len(s.at)-1, s.looked, took)
			}
		})
	}
}

// TestClose: a closed Feeder asks for nothing, and says so.
func TestClose(t *testing.T) {
	f, p, s := newTestFeeder(t, Config{})
	p.onClosed = io.ErrUnexpectedEOF
	if err := f.Close(); err != p.onClosed {
		t.Errorf("Close: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
	if _, err := f.Once(t.Context()); err != ErrClosed {
		t.Errorf("Once: %v", err)
	}
	if err := f.Run(t.Context()); err != ErrClosed {
		t.Errorf("Run: %v", err)
	}
	if len(s.at) > 0 || strings.Join(p.calls, ", ") != "close" {
		t.Errorf("%d requests, and the pool saw %v", len(s.at), p.calls)
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{CreditBits: -1}, "kernel: CreditBits is -1: a block has 0 to 8192"},
		{Config{CreditBits: 8193}, "kernel: CreditBits is 8193: "},
		{Config{Interval: time.Second - 1}, "at least 1s; zero means 1m0s"},
		{Config{Interval: -time.Hour}, "at least 1s"},
	} {
		if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.cfg, err)
		}
	}
	cfg, err := Config{CreditBits: MaxCreditBits, Interval: time.Second}.withDefaults()
	if err != nil || cfg.Interval != time.Second || cfg.CreditBits != 8192 {
		t.Errorf("%+v, %v", cfg, err)
	}
	if cfg, _ := (Config{}).withDefaults(); cfg.Interval != time.Minute || cfg.CreditBits != 0 || cfg.Logger == nil || cfg.OnEvent == nil {
		t.Errorf("the defaults are %+v", cfg)
	}
}

// TestNilBlocks: a nil pointer in Config.Blocks is refused before the pool is opened.
func TestNilBlocks(t *testing.T) {
	const want = "kernel: Config.Blocks is a nil *qrypt.Client: was the error of its constructor looked at?"
	if f, err := New(Config{Blocks: (*qrypt.Client)(nil)}); f != nil || err == nil || err.Error() != want {
		t.Errorf("New returned %v, want %q", err, want)
	}
}

// TestPrintedFeeder: no verb prints the key of the fingerprints.
func TestPrintedFeeder(t *testing.T) {
	const key = "fingerprints-have-this-MAC-key.."
	f := newFeeder(Config{Blocks: &fakeBlocks{}, Logger: slog.New(slog.DiscardHandler)}, &fakePool{}, []byte(key))
	for name, v := range map[string]any{
		"Feeder":                     f,
		"copy of a Feeder":           *f,
		"Feeder in a field":          struct{ f *Feeder }{f},
		"Feeder by value in a field": struct{ f Feeder }{*f},
	} {
		if shown := verbs.Showing(v, key); shown != nil {
			t.Errorf("%s: the key is shown by %v", name, shown)
		}
	}
}
