package qrand

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// TestConfigErrors: a bad Config is refused with the words that mend it.
func TestConfigErrors(t *testing.T) {
	t.Setenv(qrypt.EnvToken, "")
	t.Setenv(qrypt.EnvTokenFile, "")
	t.Setenv(qrypt.EnvEndpoints, "")
	t.Setenv(qrypt.EnvDialect, "")
	blocks := &fakeBlocks{}
	for want, cfg := range map[string]Config{
		"use MixXOR, MixRekey":          {Blocks: blocks, Mix: 3},
		"use MixXOR":                    {Blocks: blocks, Mix: -1},
		"use Augment":                   {Blocks: blocks, Policy: 3},
		"unknown Policy -1":             {Blocks: blocks, Policy: -1},
		"must not be negative":          {Blocks: blocks, ReseedInterval: -1},
		"and ReseedBytes must not be":   {Blocks: blocks, ReseedBytes: -1},
		"MaxAge, ReseedInterval and":    {Blocks: blocks, Policy: RequireFresh, MaxAge: -1},
		"1 to 512":                      {Blocks: blocks, BatchBlocks: 513},
		"BatchBlocks is -1":             {Blocks: blocks, BatchBlocks: -1},
		"use RequireFresh":              {Blocks: blocks, MaxAge: time.Hour},
		"stale between reseeds":         {Blocks: blocks, Policy: RequireFresh, MaxAge: time.Minute},
		"not longer than ReseedInter":   {Blocks: blocks, Policy: RequireFresh, ReseedInterval: time.Hour},
		"set QRYPT_TOKEN, or QRYPT_TOK": {},
		"is a nil *qrypt.Client: was":   {Blocks: (*qrypt.Client)(nil)},
		"is a nil qrand.blockFunc":      {Blocks: blockFunc(nil)},
	} {
		s, err := New(cfg)
		hear(err)
		if s != nil || err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "qrand: ") {
			t.Errorf("New(%+v) returned %v, want an error with %q", cfg, err, want)
		}
	}
}

// TestFromEnvironment: the zero Config works with a token in the environment.
func TestFromEnvironment(t *testing.T) {
	t.Setenv(qrypt.EnvToken, testToken)
	t.Setenv(qrypt.EnvEndpoints, "http://127.0.0.1:1") // nobody listens
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	hear(s, s.cfg.Blocks)
	mustRead(t, s, 32)
}

// TestDropped: a Source that is dropped stays as it is until it is closed, as the
// documentation of New says, and is collected after that.
func TestDropped(t *testing.T) {
	collect := func() {
		for range 3 {
			runtime.GC() // also what a finalizer or a sync.Pool has kept
		}
	}
	dropped := func() weak.Pointer[Source] {
		s, err := New(Config{Blocks: &fakeBlocks{}})
		if err != nil {
			t.Fatal(err)
		}
		waitSeeded(t, s)
		return weak.Make(s)
	}()
	collect()
	func() {
		s := dropped.Value()
		if s == nil {
			t.Fatal("it is collected, and Close was not called")
		}
		if allZero(s.shards[0].gen.Load().key[:]) {
			t.Error("its keys are wiped")
		}
		if err := s.Reseed(t.Context()); err != nil {
			t.Errorf("its goroutine does not work: %v", err)
		}
		if st := s.Status(); st.State != Seeded || st.Stock == 0 {
			t.Errorf("its status: %v", st)
		}
		s.Close()
	}()
	collect()
	if dropped.Value() != nil {
		t.Error("it is not collected after Close")
	}
}

// TestRequireInitial: no byte before the first block, every byte after it.
func TestRequireInitial(t *testing.T) {
	bubble(t, func(t *testing.T) {
		blocks := &fakeBlocks{err: errors.New("not yet")}
		s := newTestSource(t, Config{Blocks: blocks, Policy: RequireInitial}, 2)
		wantRefused(t, s, ErrNotSeeded)
		time.Sleep(time.Hour)
		wantRefused(t, s, ErrNotSeeded)
		blocks.setErr(nil)
		if err := s.Reseed(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustRead(t, s, 100)
		blocks.setErr(errors.New("no more"))
		for range 100 {
			mustRead(t, s, 100)
			time.Sleep(time.Hour)
		}
		if st := s.Status(); st.State != Degraded || st.ReadsBeforeBlock != 0 {
			t.Errorf("status: %v", st)
		}
		s.Close()
		wantRefused(t, s, ErrClosed)
	})
}

// wantRefused: a refused Read returns 0 and leaves p as it was.
func wantRefused(t *testing.T, s *Source, want error) {
	t.Helper()
	p := bytes.Repeat([]byte{0x5a}, 100)
	n, err := s.Read(p)
	hear(err)
	if n != 0 || err != want || !bytes.Equal(p, bytes.Repeat([]byte{0x5a}, 100)) {
		t.Errorf("Read returned %d, %v (or altered p), want 0, %v", n, err, want)
	}
}

// TestRequireFresh: no byte when the last block is older than MaxAge; the
// refused Read is what brings the next one.
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

// TestClose: after it a Source holds no key and reads crypto/rand alone.
func TestClose(t *testing.T) {
	for _, mix := range mixes {
		os := newTape()
		s := newTestSource(t, Config{Blocks: &fakeBlocks{}, Mix: mix}, 3, parts{os: os})
		waitSeeded(t, s)
		mustRead(t, s, 100)
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		for _, sh := range s.shards {
			left := *sh.gen.Load()
			left.keystream = nil
			if !reflect.DeepEqual(left, secrets{}) {
				t.Errorf("%v: a key or output is left", mix)
			}
		}
		os.reads = nil
		if got := mustRead(t, s, 100); !bytes.Equal(got, os.next(t, 100)) {
			t.Errorf("%v: after Close a Read is not crypto/rand's", mix)
		}
		if st := s.Status(); st.State != Closed || st.Stock != 0 || st.Reads != 2 {
			t.Errorf("%v: status: %v", mix, st)
		}
	}
}

// TestReadOvertakenByClose: a Read that was permitted before Close, and reaches
// its shard after it, returns no byte that lacks what the Policy requires.
func TestReadOvertakenByClose(t *testing.T) {
	s := newTestSource(t, Config{Blocks: &fakeBlocks{}, Policy: RequireInitial}, 1)
	waitSeeded(t, s)
	s.Close()
	s.closed.Store(false) // as permit saw it
	p := []byte{1, 2, 3}
	if n, err := s.Read(p); n != 0 || err != ErrClosed || !allZero(p) {
		t.Errorf("Read returned %d, %v, %v", n, err, p)
	}
}

// TestZeroSource: a Source that New did not make says so.
func TestZeroSource(t *testing.T) {
	s := new(Source)
	if n, err := s.Read(make([]byte, 8)); n != 0 || err != errNotMade {
		t.Errorf("Read returned %d, %v", n, err)
	}
	for name, err := range map[string]error{"WaitSeeded": s.WaitSeeded(t.Context()), "Reseed": s.Reseed(t.Context()), "Close": s.Close()} {
		if err != errNotMade {
			t.Errorf("%s returned %v", name, err)
		}
	}
}

// brokenOS is a stub of crypto/rand that fails after some reads.
type brokenOS struct{ left int }

func (b *brokenOS) Read(p []byte) (int, error) {
	if b.left--; b.left < 0 {
		return 0, errors.New("no entropy device")
	}
	return len(p), nil
}

// TestBrokenOS: where crypto/rand fails a Read panics, emits nothing new, and
// does not leave the Source locked for those who recover.
func TestBrokenOS(t *testing.T) {
	for _, mix := range mixes {
		broken := &brokenOS{left: 2} // at New
		s := newTestSource(t, Config{Blocks: &fakeBlocks{err: errors.New("none")}, Mix: mix}, 1, parts{os: broken})
		for range 2 {
			func() {
				defer func() {
					if r := recover(); r == nil || !strings.Contains(r.(string), "no entropy device") {
						t.Errorf("%v: Read panicked with %v", mix, r)
					}
				}()
				s.Read(make([]byte, 10))
			}()
		}
		broken.left = 1 << 30
		mustRead(t, s, 10)
		s.Close()
	}
}

// TestConcurrentUse is for the race detector: reads in all sizes, reseeds as
// fast as they come, Status and Close, at once.
func TestConcurrentUse(t *testing.T) {
	for _, mix := range mixes {
		s := newTestSource(t, Config{Blocks: &fakeBlocks{}, Mix: mix, ReseedBytes: 1}, 3)
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				p, zero := make([]byte, 2000), make([]byte, 2000)
				for i := range 300 {
					n := 16 + (i*37+worker*101)%len(p[16:])
					clear(p)
					if m, err := s.Read(p[:n]); m != n || err != nil {
						t.Errorf("%v: Read returned %d, %v", mix, m, err)
					}
					if bytes.Equal(p[:n], zero[:n]) {
						t.Errorf("%v: %d zeros", mix, n)
					}
					if i%50 == 0 {
						_ = s.Status()
					}
					if worker == 0 && i == 250 {
						s.Close()
					}
				}
			})
		}
		wg.Wait()
		if st := s.Status(); st.Reads != 8*300 {
			t.Errorf("%v: %d reads counted, want %d", mix, st.Reads, 8*300)
		}
	}
}

// TestStatus: the numbers add up, String has them, JSON has them all.
func TestStatus(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{Regions: []string{"api-eus"}}, qrypt.DialectOpenAPI)
		w.Script(qrypttest.Fault{Kind: qrypttest.Status, Status: 429, RetryAfter: 10 * time.Second})
		s := w.source(t, Config{}, parts{random: func(time.Duration) time.Duration { return 0 }})
		mustRead(t, s, 300)
		mustRead(t, s, 700)
		synctest.Wait()
		st := s.Status()
		if want := time.Now().Add(10 * time.Second); !st.NextRequest.Equal(want) {
			t.Errorf("the next request is due at %v, want %v", st.NextRequest, want)
		}
		for _, want := range []string{"Degraded (rate limited (429)) for 0s", "no block in the key", "(1000 in 2 before the first block)", "requests: 1, 1 rate limited (429)", "next in 10s"} {
			if !strings.Contains(st.String(), want) {
				t.Errorf("String is %q, without %q", st, want)
			}
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		mustRead(t, s, 24)
		time.Sleep(30 * time.Second)
		st = s.Status()
		hear(st)
		text, err := json.Marshal(st)
		if err != nil {
			t.Fatal(err)
		}
		var back Status
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		for _, st := range []Status{st, back} {
			if st.State != Seeded || st.Reason != "" || st.Blocks != 1 || st.OSReseeds != 0 || st.Stock != 7 || st.RefusedBlocks != 0 ||
				st.Reads != 3 || st.Bytes != 1024 || st.ReadsBeforeBlock != 2 || st.BytesBeforeBlock != 1000 ||
				st.Requests != 2 || st.Failures[RateLimited] != 1 || st.LastError != "" || !st.Emulated ||
				st.LastEndpoint != "http://127.0.0.1" || st.Time.Sub(st.LastBlock) != 30*time.Second || !st.NextRequest.IsZero() {
				t.Errorf("status is %s", text)
			}
		}
		for _, want := range []string{"Seeded for 30s: last block 30s ago from http://127.0.0.1 (EMULATED, not quantum)", "1 with a block, 0 without; stock 7"} {
			if !strings.Contains(st.String(), want) {
				t.Errorf("String is %q, without %q", st, want)
			}
		}
		st.Failures[RateLimited] = 99
		if s.Status().Failures[RateLimited] == 99 {
			t.Error("a Status shares its map with the Source")
		}
	})
}

// TestText: the names of all kinds read back or say what they are not.
func TestText(t *testing.T) {
	for state := Starting; state <= Closed; state++ {
		text, _ := state.MarshalText()
		var back State
		if err := back.UnmarshalText(text); err != nil || back != state {
			t.Errorf("%v reads back as %v, %v", state, back, err)
		}
	}
	var mix Mix
	var policy Policy
	for _, err := range []error{new(State).UnmarshalText([]byte("Gone")), mix.UnmarshalText([]byte("Stir")), policy.UnmarshalText([]byte("Hope"))} {
		if err == nil {
			t.Error("an unknown name was read")
		}
	}
	if got := State(9).String() + Mix(9).String() + Policy(-1).String() + EventKind(9).String(); got != "State(9)Mix(9)Policy(-1)EventKind(9)" {
		t.Error(got)
	}
}

// TestReadFull: a Source is a reader like any other.
func TestReadFull(t *testing.T) {
	s := newTestSource(t, Config{Blocks: &fakeBlocks{}}, 1)
	p := make([]byte, 200_000)
	if n, err := io.ReadFull(io.LimitReader(s, int64(len(p))), p); n != len(p) || err != nil {
		t.Errorf("ReadFull returned %d, %v", n, err)
	}
	if n, err := s.Read(nil); n != 0 || err != nil {
		t.Errorf("Read of nothing returned %d, %v", n, err)
	}
}

// TestStatusOfClosing: what a Read got from a shard that Close has shut is not
// taken for a seeded one's, while Close is still at the next shard.
func TestStatusOfClosing(t *testing.T) {
	s := newTestSource(t, Config{Blocks: &fakeBlocks{}}, 2)
	waitSeeded(t, s)
	s.closed.Store(true) // as Close begins
	s.shards[0].mu.Lock()
	s.shards[0].closed = true
	s.shards[0].mu.Unlock()
	if st := s.Status(); st.State != Closed || st.Reason != "" {
		t.Errorf("status: %v", st)
	}
}

// TestEmulatedBeforeItIsIn: no byte with an emulated block in it is read before
// Status says so.
func TestEmulatedBeforeItIsIn(t *testing.T) {
	var s *Source
	told := false
	extract := func(os *[keySize]byte, shard byte, block []byte) [keySize]byte {
		told = s.Status().Emulated
		return hmacExtract(os, shard, block)
	}
	made := make(chan struct{})
	s = newTestSource(t, Config{Blocks: blockFunc(func(context.Context, int) ([]qrypt.Block, error) {
		<-made
		block, err := qrypt.NewBlock(newTestBlock(1).Bytes(), qrypt.Origin{Endpoint: "fake", Emulated: true})
		return []qrypt.Block{block}, err
	}), BatchBlocks: 1}, 1, parts{extract: extract})
	close(made)
	waitSeeded(t, s)
	if !told {
		t.Error("the block was mixed in before it was said that it is emulated")
	}
}

// TestSmallReadsCount: in each mode, small Reads are counted, each once and empty
// ones not, and bring reseeds by what they took.
func TestSmallReadsCount(t *testing.T) {
	for _, mix := range mixes {
		bubble(t, func(t *testing.T) {
			s := newTestSource(t, Config{Blocks: &fakeBlocks{}, Mix: mix, ReseedBytes: 100}, 1)
			waitSeeded(t, s)
			for range 1000 {
				mustRead(t, s, 10)
				mustRead(t, s, 0)
				synctest.Wait()
			}
			st := s.Status()
			if st.Reads != 1000 || st.Bytes != 10_000 {
				t.Errorf("%v: %d bytes in %d reads", mix, st.Bytes, st.Reads)
			}
			if n := st.Blocks + st.OSReseeds; n < 80 || n > 101 { // 100 bytes, and up to an eighth more
				t.Errorf("%v: %d reseeds", mix, n)
			}
		})
	}
}
