package main

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/qrand"
	"example.com/qrand/qrypttest"
)

// short is a configuration for a short soak, which says nothing of memory.
func short(t *testing.T) config {
	cfg := config{
		duration: 3 * time.Minute, interval: 50 * time.Millisecond, readers: 18, rate: 500, faults: 0.25,
		rotate: 200 * time.Millisecond, outage: 300 * time.Millisecond, reseed: 100 * time.Millisecond,
		seed: uint64(time.Now().UnixNano()), growth: 100, slack: 1 << 10, spare: 1000, out: io.Discard,
	}
	if err := cfg.check(nil); err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d", cfg.seed)
	return cfg
}

// soakUntil ends the soak as soon as a sample is enough, and else after its
// duration, which no machine should need.
func soakUntil(t *testing.T, cfg config, enough func(sample) bool) *report {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reached := false
	cfg.watch = func(s sample) {
		if enough(s) {
			reached = true
			cancel()
		}
	}
	rep, err := run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !reached {
		t.Error("all its time was not enough")
	}
	return rep
}

// TestSoak: with good Sources, and everything happening to them, the verdict is
// good, and the report has what happened.
func TestSoak(t *testing.T) {
	for _, screen := range []bool{false, true} {
		var out bytes.Buffer
		cfg := short(t)
		cfg.out, cfg.screen = &out, screen
		if screen { // and where blocks come only to be refused, they are accounted for
			cfg.kinds = []qrypttest.Kind{qrypttest.Repeat, qrypttest.Stuck, qrypttest.Biased}
		}
		rep := soakUntil(t, cfg, func(s sample) bool {
			return s.reads > 1000 && s.used > 20 && s.rotations >= 2 && s.outages >= 3 && (!screen || s.spoiled > 50)
		})
		rep.print(&out)
		if !rep.ok() {
			t.Errorf("not ok:\n%s", out.String())
		}
		if rep.reads <= 1000 || rep.bytes <= 1000 || rep.used <= 20 || rep.rotations < 2 || rep.outages < 3 || rep.issued+rep.spoiled < rep.used { // a Repeat may be new to another Source
			t.Errorf("the report:\n%s", out.String())
		}
		shown := []string{"EMULATED", "reads/s  ", "degraded", "| ok"}
		if screen {
			shown = []string{"\x1b[H", "EMULATED", "MixRefill/RequireFresh", "Reads/s  ", "| ok"}
		}
		for _, want := range shown {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in\n%s", want, out.String())
			}
		}
	}
}

// A broken reader is a reader that does one thing wrong.
type broken struct {
	io.Reader
	read func(src io.Reader, p []byte) (int, error)
}

func (b broken) Read(p []byte) (int, error) { return b.read(b.Reader, p) }

// TestBrokenReader: whatever a reader does wrong, the verdict says it.
func TestBrokenReader(t *testing.T) {
	hang := make(chan struct{})
	var left sync.WaitGroup
	defer left.Wait()
	defer close(hang)
	for _, c := range []struct {
		name string
		want string // among the failures
		read func(src io.Reader, p []byte) (int, error)
	}{
		{"zeros", "returned zeros", func(src io.Reader, p []byte) (int, error) {
			n, err := src.Read(p)
			clear(p)
			return n, err
		}},
		{"the same to all", "began as another had", func(src io.Reader, p []byte) (int, error) {
			n, err := src.Read(p)
			if err == nil {
				copy(p, "the same 32 bytes in each of them")
			}
			return n, err
		}},
		{"short", "and no error", func(src io.Reader, p []byte) (int, error) {
			n, err := src.Read(p)
			return max(n-1, 0), err
		}},
		{"an error of its own", "unexpected error of a Read: unexpected EOF", func(src io.Reader, p []byte) (int, error) {
			return 0, io.ErrUnexpectedEOF
		}},
		{"an error that is not due", "unexpected error of a Read: " + qrand.ErrStale.Error(), func(src io.Reader, p []byte) (int, error) {
			return 0, qrand.ErrStale
		}},
		{"bytes with an error", "or left bytes", func(src io.Reader, p []byte) (int, error) {
			n, _ := src.Read(p)
			return n, qrand.ErrNotSeeded
		}},
		{"bytes that nobody counts", "Status has", func(src io.Reader, p []byte) (int, error) {
			src.Read(make([]byte, 1))
			return src.Read(p)
		}},
		{"a goroutine left behind", "are left after Close", func(src io.Reader, p []byte) (int, error) {
			left.Go(func() { <-hang })
			return src.Read(p)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func(saved time.Duration) { closeLimit = saved }(closeLimit)
			closeLimit = 100 * time.Millisecond
			cfg := short(t)
			cfg.faults = 0
			var reads atomic.Int64
			cfg.wrap = func(src io.Reader) io.Reader {
				return broken{src, func(src io.Reader, p []byte) (int, error) {
					reads.Add(1)
					return c.read(src, p)
				}}
			}
			// A Policy may refuse the first ones.
			rep := soakUntil(t, cfg, func(s sample) bool { return reads.Load() > 500 })
			if all := strings.Join(rep.failures, "\n"); !strings.Contains(all, c.want) {
				t.Errorf("no %q among the failures:\n%s", c.want, all)
			}
			var out bytes.Buffer
			if rep.print(&out); rep.ok() || !strings.Contains(out.String(), "failures** |") {
				t.Errorf("the verdict:\n%s", out.String())
			}
		})
	}
}

// TestFaults: as many requests meet a fault as was said, none with a token that
// is refused anyhow; no fault holds a Source for an hour; and the blocks that
// come without being in Issued are counted.
func TestFaults(t *testing.T) {
	cfg := short(t)
	sc, err := newScenario(cfg, &report{})
	if err != nil {
		t.Fatal(err)
	}
	defer sc.close()
	const asked = 4000
	kinds := map[qrypttest.Kind]int64{}
	var met int64
	for range asked {
		if f := sc.nextFault(qrypttest.Request{Token: 0, Blocks: 8}); f != nil {
			met++
			kinds[f.Kind]++
			if f.Status == 400 || f.Status == 404 {
				t.Errorf("a fault %v", f)
			}
		}
		if sc.nextFault(qrypttest.Request{Token: -2, Blocks: 8}) != nil {
			t.Fatal("a fault for a token that is refused")
		}
	}
	if met < asked/5 || met > asked*3/10 {
		t.Errorf("%d of %d requests met a fault, want a quarter", met, asked)
	}
	want := 8 * (kinds[qrypttest.Repeat] + kinds[qrypttest.Stuck] + kinds[qrypttest.Biased])
	if faults, spoiled := sc.counts(); faults != met || spoiled != want || want == 0 {
		t.Errorf("counted %d faults and %d blocks, want %d and %d", faults, spoiled, met, want)
	}
}

// TestFlat: memory and goroutines may go up and down, and may be more at the end
// by no more than was said.
func TestFlat(t *testing.T) {
	cfg := short(t)
	cfg.warmup, cfg.growth, cfg.slack, cfg.spare = 10*time.Second, 0.10, 8, 8
	const base = 100 << 20
	for _, c := range []struct {
		name  string
		value func(i int) sample // of a hundred, after a wild warm-up
		want  string             // in the failure
	}{
		{"flat", func(i int) sample { return sample{rss: base, heap: base, goroutines: 80} }, ""},
		{"saw-tooth", func(i int) sample {
			return sample{rss: base + int64(i%5)<<24, heap: base + int64(i%7)<<24, goroutines: 80 + i%5*30}
		}, ""},
		{"one peak", func(i int) sample {
			return sample{rss: base, heap: base, goroutines: 80 + i/99*1000}
		}, ""},
		{"less", func(i int) sample { return sample{rss: base - int64(i)<<19, heap: base, goroutines: 80 - i/2} }, ""},
		{"a little more", func(i int) sample {
			return sample{rss: base + int64(i)<<17, heap: base + int64(i)<<17, goroutines: 80 + i/15}
		}, ""},
		{"more memory", func(i int) sample { return sample{rss: base + int64(i)<<18, heap: base, goroutines: 80} }, "resident memory grew"},
		{"more heap", func(i int) sample { return sample{rss: base, heap: base + int64(i)<<18, goroutines: 80} }, "live heap grew"},
		{"more goroutines", func(i int) sample { return sample{rss: base, heap: base, goroutines: 80 + i/5} }, "goroutines grew"},
		{"no /proc", func(i int) sample { return sample{rss: -1, heap: base, goroutines: 80} }, ""},
	} {
		rep := &report{cfg: cfg, began: time.Now()}
		for i := range 10 {
			rep.samples = append(rep.samples, sample{at: time.Duration(i) * time.Second, rss: int64(i) << 30, goroutines: i})
		}
		for i := range 100 {
			s := c.value(i)
			s.at = time.Duration(10+i) * time.Second
			rep.samples = append(rep.samples, s)
		}
		rep.checkFlat()
		if got := strings.Join(rep.failures, "\n"); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: failures %q, want %q", c.name, got, c.want)
		}
	}
	rep := &report{cfg: cfg, began: time.Now(), samples: make([]sample, 5)}
	if rep.checkFlat(); !rep.ok() || len(rep.notes) != 1 {
		t.Errorf("five samples: %q, %q", rep.failures, rep.notes)
	}
}

// TestClockWatch: a clock that is set, and a sample that comes late, are noted.
func TestClockWatch(t *testing.T) {
	for _, c := range []struct {
		ran, wall time.Duration
		want      string
	}{
		{time.Second, time.Second, ""},
		{2500 * time.Millisecond, 2550 * time.Millisecond, ""},
		{time.Second, time.Hour, "jumped by 59m59s"},
		{time.Second, -time.Hour, "jumped by -1h0m1s"},
		{3500 * time.Millisecond, 3500 * time.Millisecond, "2.5s late"},
	} {
		rep := &report{began: time.Now()}
		rep.noteClock(c.ran, c.wall, time.Second)
		if got := strings.Join(rep.notes, "\n"); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%v by one clock and %v by the other: %q, want %q", c.ran, c.wall, got, c.want)
		}
	}
}

// TestRSS: where there is a /proc, the memory of a process that has touched more
// of it is more.
func TestRSS(t *testing.T) {
	debug.FreeOSMemory() // so that what is allocated is not resident yet
	before := readRSS()
	if before < 0 {
		if runtime.GOOS == "linux" {
			t.Fatal("not known")
		}
		t.Skip("there is no /proc on this system")
	}
	const size = 64 << 20
	held := make([]byte, size)
	for i := 0; i < size; i += 1024 {
		held[i] = 1
	}
	if after := readRSS(); after < before+size/2 {
		t.Errorf("%d bytes, and %d after %d were written", before, after, size)
	}
	runtime.KeepAlive(held)
}

// TestCheck: a configuration that makes no sense is refused with the flag's name.
func TestCheck(t *testing.T) {
	good := short(t)
	for want, edit := range map[string]func(*config){
		"-d":          func(c *config) { c.duration = 0 },
		"-warmup":     func(c *config) { c.warmup = c.duration },
		"-readers":    func(c *config) { c.readers = 0 },
		"-rate":       func(c *config) { c.rate = -1 },
		"-faults":     func(c *config) { c.faults = 1.5 },
		"-rotate":     func(c *config) { c.rotate = 0 },
		"-goroutines": func(c *config) { c.spare = -1 },
	} {
		cfg := good
		edit(&cfg)
		if err := cfg.check(nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s in it", err, want)
		}
	}
	if err := good.check([]string{"1h"}); err == nil {
		t.Error("an argument was taken")
	}
}
