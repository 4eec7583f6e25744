package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/health"
	"example.com/qrand/internal/outage"
	"example.com/qrand/qrypt"
)

// A fakePool notes what is done to it.
type fakePool struct {
	calls              []string
	got                [][]byte // copies of what was put in
	given              [][]byte // what was given, itself
	onMix, onCredit    error
	onReseed, onClosed error
}

func (p *fakePool) take(block []byte) {
	p.got = append(p.got, bytes.Clone(block))
	p.given = append(p.given, block)
}

func (p *fakePool) mix(block []byte) error {
	p.calls = append(p.calls, "mix")
	p.take(block)
	return p.onMix
}

func (p *fakePool) credit(block []byte, bits int) error {
	p.calls = append(p.calls, fmt.Sprintf("credit %d", bits))
	p.take(block)
	return p.onCredit
}

func (p *fakePool) reseed() error {
	p.calls = append(p.calls, "reseed")
	return p.onReseed
}

func (p *fakePool) close() error {
	p.calls = append(p.calls, "close")
	return p.onClosed
}

// fakeBlocks is a service that answers or fails as it is told to.
type fakeBlocks struct {
	emulated  bool
	fail      error                              // each request
	answer    func(n int) ([]qrypt.Block, error) // nil: n good blocks
	wait      func(ctx context.Context)          // before an answer
	at        []time.Time                        // of the requests
	given     []qrypt.Block                      // what it has handed out
	failovers []string
	onLook    func() bool // for another token
	looked    int
	endpoints []string
}

func (s *fakeBlocks) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) {
	s.at = append(s.at, time.Now())
	if s.wait != nil {
		s.wait(ctx)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if s.fail != nil {
		return nil, s.fail
	}
	var blocks []qrypt.Block
	var err error
	if s.answer != nil {
		blocks, err = s.answer(n)
	} else {
		for range n {
			blocks = append(blocks, s.block(goodBytes(uint64(len(s.given)+len(blocks)))))
		}
	}
	s.given = append(s.given, blocks...)
	return blocks, err
}

func (s *fakeBlocks) block(p []byte) qrypt.Block {
	b, err := qrypt.NewBlock(p, qrypt.Origin{Endpoint: "https://fake", Emulated: s.emulated})
	if err != nil {
		panic(err)
	}
	return b
}

func (s *fakeBlocks) Endpoints() []string  { return s.endpoints }
func (s *fakeBlocks) Failover(from string) { s.failovers = append(s.failovers, from) }
func (s *fakeBlocks) TokenChanged(context.Context) bool {
	s.looked++
	return s.onLook != nil && s.onLook()
}

// goodBytes are a block that passes the health tests, the same for the same seed.
func goodBytes(seed uint64) []byte {
	p := make([]byte, qrypt.BlockSize)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1}).Read(p)
	return p
}

// newTestFeeder feeds a fakePool from a fakeBlocks.
func newTestFeeder(t *testing.T, cfg Config) (*Feeder, *fakePool, *fakeBlocks) {
	t.Helper()
	source, ok := cfg.Blocks.(*fakeBlocks)
	if !ok {
		source = &fakeBlocks{}
		cfg.Blocks = source
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	p := &fakePool{}
	return newFeeder(cfg, p, make([]byte, 32)), p, source
}

// wiped reports whether nothing is left of the blocks that went through.
func wiped(p *fakePool, s *fakeBlocks) bool {
	for _, b := range s.given {
		if slices.ContainsFunc(b.Bytes(), func(c byte) bool { return c != 0 }) {
			return false
		}
	}
	for _, g := range p.given {
		if slices.ContainsFunc(g, func(c byte) bool { return c != 0 }) {
			return false
		}
	}
	return true
}

// TestAchieved: what is done to the pool in each case, and what is said of it.
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
		f, p, s := newTestFeeder(t, Config{CreditBits: c.bits, Blocks: &fakeBlocks{emulated: c.emulated}})
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

// TestMixFails: a block that the pool does not take is no block of the pool's.
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
		t.Errorf("%d requests: another endpoint does not mend the pool", len(s.at))
	}
}

// TestRefused: what is no good block does not reach the pool, and is wiped.
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
		{"none", nil, outage.ErrBlockCount},
		{"two", []qrypt.Block{s.block(goodBytes(8)), s.block(goodBytes(9))}, outage.ErrBlockCount},
		{"empty", make([]qrypt.Block, 1), outage.ErrBlockCount},
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
		if bad := c.want != outage.ErrBlockCount; (len(s.failovers) == 1) != bad {
			t.Errorf("%s: failovers %v", c.name, s.failovers)
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

// TestRun: a block at once and at each interval, told of as a change once.
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

// TestOutages: whatever fails for a day, requests are few, and never none; the
// end of it is seen.
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

// TestTokenChanges: a refused token is not asked with again within the hour, but
// another one is, within 30 s.
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
		if len(events) != 2 || len(p.got) != 1 || s.looked != 21 {
			t.Fatalf("%d events, %d blocks mixed, looked %d times for a token", len(events), len(p.got), s.looked)
		}
		if at := s.at[1].Sub(began); at != 10*time.Minute+30*time.Second {
			t.Errorf("the new token was used after %v", at)
		}
	})
}

// TestHanging: a request that nobody answers has failed after two minutes.
func TestHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events, _, _ := run(t, 3*time.Minute, Config{Blocks: &fakeBlocks{wait: func(ctx context.Context) { <-ctx.Done() }}}, nil)
		if len(events) != 1 || !errors.Is(events[0].Err, outage.ErrHangs) || events[0].Reason != "timed_out" {
			t.Fatalf("%+v", events)
		}
	})
}

// TestElsewhere: the other endpoint is tried before Once gives up.
func TestElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := &qrypt.Error{Class: qrypt.ErrServer}
		for _, c := range []struct {
			works bool
			fail  error
			want  int
		}{{true, down, 2}, {false, down, 2}, {false, &qrypt.Error{Class: qrypt.ErrUnauthorized}, 1}} {
			f, p, s := newTestFeeder(t, Config{Blocks: &fakeBlocks{endpoints: []string{"a", "b"}}})
			s.answer = func(int) ([]qrypt.Block, error) {
				if len(s.at) == 2 && c.works {
					return []qrypt.Block{s.block(goodBytes(1))}, nil
				}
				return nil, c.fail
			}
			r, err := f.Once(t.Context())
			if (err == nil) != c.works || len(s.at) != c.want || (len(p.got) == 1) != c.works || r.Reseeded != c.works {
				t.Errorf("%+v: %v, %v after %d requests", c, r, err, len(s.at))
			}
			if c.want == 2 && len(s.at) == 2 && s.at[1].Sub(s.at[0]) > time.Second {
				t.Errorf("the other endpoint was asked after %v", s.at[1].Sub(s.at[0]))
			}
		}
	})
}

// TestCancelled: a caller that gives up is no failure of the service.
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
	if told > 0 || f.requests.Failing() {
		t.Error("it counts as a failure")
	}
	for range 100 { // what is due and who gives up may come together
		if err := sleepUntil(ctx, time.Time{}); err != enough {
			t.Fatalf("sleepUntil: %v", err)
		}
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
