package qrand

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestMachine puts a Source and the model of life_model_test.go through the
// same random life (reads of all sizes, reseeds, faults of every kind, clocks
// that jump, new tokens, Close) and compares all that can be seen of them after
// each step: every byte, every key, event and field of Status. The Source decides
// when it makes a request; the model checks that against what is promised.
// Where two things fall on one instant their order is chance, and a life ends early.
// A divergence is shrunk to the shortest life that shows it, and printed. To look
// for longer:
//
//	go test -run TestMachine -rapid.checks=10000 .
func TestMachine(t *testing.T) {
	for _, mix := range mixes {
		for _, policy := range []Policy{Augment, RequireInitial, RequireFresh} {
			t.Run(mix.String()+policy.String(), func(t *testing.T) {
				rapid.Check(t, func(t *rapid.T) {
					rapid.SyncTest(t, func(t *rapid.T) { live(t, mix, policy) })
				})
			})
		}
	}
}

func live(t *rapid.T, mix Mix, policy Policy) {
	w := newMachineWorld(t, mix, policy)
	t.Repeat(map[string]func(*rapid.T){
		"read":       func(t *rapid.T) { w.read(t, readSize.Draw(t, "bytes"), false) },
		"read again": func(t *rapid.T) { w.read(t, readSize.Draw(t, "bytes"), false) },
		"read long":  func(t *rapid.T) { w.read(t, longSize.Draw(t, "bytes"), rapid.Bool().Draw(t, "held")) },
		"sleep":      func(t *rapid.T) { w.sleep(sleepTime.Draw(t, "for")) },
		"await":      w.await,
		"set clock":  w.setClock,
		"service":    w.changeMood,
		"reseed":     w.reseed,
		"new token":  func(*rapid.T) { w.service.tokenNew = true },
		"close":      func(t *rapid.T) { w.close(rapid.IntRange(0, 19).Draw(t, "if 13") == 13) },
		"":           w.compare,
	})
	w.close(true)
	w.compare(t)
	w.read(t, 100, false)
	w.compare(t)
}

var (
	readSize  = rapid.OneOf(rapid.SampledFrom(readSizes[:len(readSizes)-3]), rapid.IntRange(0, 10_000))
	longSize  = rapid.SampledFrom([]int{longest + 64, 2 * longest, 2*longest + 1000, 3*longest + 4064}) // a last piece long enough to tell shards apart
	sleepTime = rapid.Map(rapid.OneOf(rapid.IntRange(0, 100_000), rapid.IntRange(0, 10_000_000)), func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond })
)

// A machineWorld is a Source, its service, and its model.
type machineWorld struct {
	s       *Source
	service *machineService
	model   *machine
	os      *machineTape
	begin   time.Time
	skew    atomic.Int64 // of the wall clock, a time.Duration
	looks   atomic.Int64 // at the clock, since the Source last came to rest
	asks    []chan error // Reseed's results; nil: compared
	events  []Event
	modelLog
}

func newMachineWorld(t *rapid.T, mix Mix, policy Policy) *machineWorld {
	w := &machineWorld{os: &machineTape{rand: mathrand.NewChaCha8([32]byte{'m'})}, begin: time.Now()}
	cfg := Config{
		Mix:            mix,
		Policy:         policy,
		AllowEmulated:  rapid.Bool().Draw(t, "allow emulated"),
		ReseedInterval: rapid.SampledFrom([]time.Duration{0, time.Second, 10 * time.Minute}).Draw(t, "interval"),
		ReseedBytes:    rapid.SampledFrom([]int64{0, 1, 100, 10_000, 150_000, 1 << 40}).Draw(t, "reseed bytes"),
		BatchBlocks:    rapid.SampledFrom([]int{0, 1, 2, 5, 20}).Draw(t, "batch"),
		Logger:         slog.New(w),
		OnEvent:        func(e Event) { w.events = append(w.events, e) },
	}
	var random func(time.Duration) time.Duration
	if seed := rapid.Uint64().Draw(t, "waits"); seed%2 == 0 {
		random = func(d time.Duration) time.Duration { return d / 2 }
	} else {
		waits := mathrand.New(mathrand.NewPCG(seed, 0))
		random = func(d time.Duration) time.Duration { return time.Duration(waits.Int64N(int64(d))) }
	}
	full := cfg
	full.ReseedInterval = cmp.Or(cfg.ReseedInterval, time.Minute)
	full.ReseedBytes = cmp.Or(cfg.ReseedBytes, 1<<20)
	full.BatchBlocks = cmp.Or(cfg.BatchBlocks, 8)
	if cfg.Policy == RequireFresh {
		cfg.MaxAge = rapid.SampledFrom([]time.Duration{0, 1, time.Hour}).Draw(t, "max age")
		if cfg.MaxAge == 1 || full.ReseedInterval >= 10*time.Minute {
			cfg.MaxAge += full.ReseedInterval + 1
		}
	}
	full.MaxAge = cmp.Or(cfg.MaxAge, 10*time.Minute)
	shards := rapid.IntRange(1, 4).Draw(t, "shards")
	w.model = &machine{Config: full, fail: t.Fatalf, os: w.os, shards: make([]modelShard, shards)}
	w.model.begin, w.model.time = outside.Add(-time.Hour), time.Hour // as 0 stands for never
	w.service = &machineService{now: w.now, begin: w.model.begin, maxAge: w.model.MaxAge - 2*w.model.lead(), old: cfg.Policy == RequireFresh, closing: make(chan struct{})}
	cfg.Blocks = w.service
	w.changeMood(t)

	var err error
	w.s, err = newSource(cfg, shards, testParts(parts{os: w.os, now: w.now, random: random}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.os.hold(nil)
		w.looks.Store(0)
		w.s.Close()
	})
	w.rest()
	w.model.start()
	w.compare(t)
	return w
}

// now is the time as the machine's clocks tell it.
func (w *machineWorld) now() time.Time {
	if w.looks.Add(1) > 1e6 {
		panic("the Source goes round in circles")
	}
	return setWall(outside.Add(time.Since(w.begin)), time.Duration(w.skew.Load()))
}

// rest waits until the Source waits, and tells the model what the service saw.
func (w *machineWorld) rest() {
	synctest.Wait()
	w.looks.Store(0)
	w.model.seen = append(w.model.seen, w.service.seen...)
	w.service.seen = nil
}

func (w *machineWorld) sleep(d time.Duration) {
	if w.model.tie {
		return
	}
	w.looks.Store(0) // orders what we did before the Source's next look at the clock, in place of locks
	time.Sleep(d)
	w.rest()
	w.model.advance(w.model.time + d)
}

// await sleeps until something happens, or a block is too old, to the nanosecond.
func (w *machineWorld) await(t *rapid.T) {
	m := w.model
	tooOld := m.time + m.MaxAge - m.age(m.newest)
	times := []time.Duration{m.alarm(), m.due, tooOld - m.lead(), tooOld, w.service.answers}
	times = slices.DeleteFunc(times, func(at time.Duration) bool { return at <= m.time || at == never })
	if len(times) > 0 {
		at := rapid.SampledFrom(times).Draw(t, "until") + time.Duration(rapid.IntRange(-1, 1).Draw(t, "off by"))
		w.sleep(at - m.time)
	}
}

// setClock is a sleep of the machine, or somebody who sets the clock.
func (w *machineWorld) setClock(t *rapid.T) {
	m := w.model
	nearly := max(1, m.MaxAge-m.age(m.newest)) // then the newest block will soon be too old
	by := rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour, 1000 * time.Hour, nearly, nearly}).Draw(t, "by")
	if by != nearly && rapid.Bool().Draw(t, "back") {
		by = -by
	}
	m.skew += by
	w.skew.Add(int64(by))
	if by == nearly {
		w.read(t, 1, false)
	}
}

func (w *machineWorld) changeMood(t *rapid.T) {
	i := rapid.IntRange(-12, len(faults)-1).Draw(t, "fault") // none more often than another
	w.service.mood = mood{
		fault:      faults[max(0, i)],
		retryAfter: rapid.SampledFrom([]time.Duration{0, time.Millisecond, 3 * time.Second, 5 * time.Minute, 48 * time.Hour}).Draw(t, "retry after"),
		latency:    rapid.SampledFrom([]time.Duration{0, 0, 300 * time.Millisecond, 20 * time.Second, time.Hour}).Draw(t, "latency"),
		least:      rapid.Bool().Draw(t, "one block"),
		emulated:   rapid.Bool().Draw(t, "emulated") && !faults[max(0, i)].blocks, // one thing is wrong at a time
		kept:       rapid.SampledFrom([]time.Duration{0, 0, w.model.MaxAge / 3, w.service.maxAge - 1, w.service.maxAge}).Draw(t, "kept"),
		bad:        rapid.IntRange(0, 3).Draw(t, "bad block"),
		slowToken:  rapid.Bool().Draw(t, "slow token"),
		deaf:       rapid.Bool().Draw(t, "deaf"),
	}
}

// read is a Read that a shard of our choice serves. A long one takes several
// pieces, between which the reseeder may come; held, it comes after them.
func (w *machineWorld) read(t *rapid.T, n int, held bool) {
	m := w.model
	if m.tie {
		return
	}
	for m.ages() { // it wakes the reseeder before its bytes go out, which one without bytes does, too
		w.s.Read(nil)
		w.rest()
		m.permitted()
		m.loop()
		m.settle()
	}
	shard := rapid.IntRange(0, len(m.shards)-1).Draw(t, "shard")
	for i := range w.s.hints {
		w.s.hints[i].Store(uint32(shard))
	}
	held = held || n > longest && m.Mix != MixXOR // there crypto/rand is read under the shard's lock
	if held {
		w.os.hold(make(chan struct{}))
	}
	if n > longest && !held {
		w.os.pieces, w.os.pause = 0, func() { w.service.see(sight{kind: paused}) }
	}
	p := bytes.Repeat([]byte{0xa5}, n)
	read, err := w.s.Read(p)
	w.os.pause = nil
	w.os.hold(nil)
	w.rest()
	if want := m.permitted(); err != want {
		t.Fatalf("Read returned %v, want %v", err, want)
	}
	if err == nil && read != n || err != nil && (read != 0 || !bytes.Equal(p, bytes.Repeat([]byte{0xa5}, n))) {
		t.Fatalf("a Read of %d bytes returned %d and %v, or altered p", n, read, err)
	}
	switch err {
	case nil:
		m.read(p, shard, held)
	case ErrStale:
		m.loop()
		m.settle()
	}
}

// reseed calls Reseed once, or as often as that may bring a request.
func (w *machineWorld) reseed(t *rapid.T) {
	wait := rapid.SampledFrom([]time.Duration{0, 7*time.Second + 11, 11*time.Minute + 13}).Draw(t, "deadline")
	for range rapid.SampledFrom([]int{1, 1, 1, 1, 1, 1, 1, 40}).Draw(t, "times") {
		m := w.model
		if m.tie {
			return
		}
		ctx, cancel, deadline := context.Background(), func() {}, never
		if wait != 0 {
			ctx, cancel = context.WithTimeout(ctx, wait)
			deadline = m.time + wait
		}
		t.Cleanup(cancel)
		result := make(chan error, 1)
		w.asks = append(w.asks, result)
		go func() { result <- w.s.Reseed(ctx) }()
		w.rest()
		m.ask(deadline, len(result) > 0)
		m.loop()
		m.settle()
		w.compare(t)
		if m.due > m.time && m.due <= m.time+slowest {
			w.sleep(m.due - m.time)
		}
	}
}

func (w *machineWorld) close(really bool) {
	if !really || w.model.tie {
		return
	}
	go w.s.Close() // which waits for a deaf call
	synctest.Wait()
	if !w.model.closed {
		close(w.service.closing)
	}
	w.rest()
	w.model.close()
	w.model.settle()
}

// compare compares all that can be seen.
func (w *machineWorld) compare(t *rapid.T) {
	m := w.model
	if m.tie {
		return
	}
	if len(w.os.reader) != 0 || len(w.os.reseeder) != 0 {
		t.Fatalf("crypto/rand was read without need: %d times by Reads, %d by reseeds", len(w.os.reader), len(w.os.reseeder))
	}
	same := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Fatalf("%s: %v, want %v", what, got, want)
		}
	}

	want := m.status
	want.Time, want.Stock = m.now(), len(m.stock)
	for i, sh := range m.shards {
		want.Reads, want.Bytes = want.Reads+sh.reads, want.Bytes+sh.bytes
		if !sh.seeded {
			sh.readsBefore, sh.bytesBefore = sh.reads, sh.bytes
		}
		want.ReadsBeforeBlock, want.BytesBeforeBlock = want.ReadsBeforeBlock+sh.readsBefore, want.BytesBeforeBlock+sh.bytesBefore
		w.compareShard(t, i)
	}
	if !allZero(w.os.reseeds) {
		t.Fatal("a reseed keeps the bytes of crypto/rand that went into a key")
	}
	st := w.s.Status()
	if (st.LastError != "") != (m.failing != nil) || m.failing != nil && !strings.Contains(st.LastError, m.failing.err.Error()) {
		t.Fatalf("LastError is %q after %v", st.LastError, m.failing)
	}
	same("whether a request is due", !st.NextRequest.IsZero(), m.wanted())
	if m.wanted() {
		due := st.NextRequest.Sub(m.begin)
		if due < m.time && !m.looking || due < m.soonest() || due > m.latest() || m.due != 0 && due != m.due {
			t.Fatalf("at %v NextRequest is %v, want one from %v to %v, or as before %v", m.time, due, m.soonest(), m.latest(), m.due)
		}
		m.due = due
		if m.failing != nil && m.failing.retry.token && !m.renewed && !m.looking && m.time-m.looked > 45*time.Second+slowest {
			t.Fatalf("the token has not been looked at since %v", m.looked)
		}
	}
	st.LastError, st.NextRequest = "", time.Time{}
	if !reflect.DeepEqual(st, want) {
		t.Fatalf("the Status is\n%+v, want\n%+v", st, want)
	}

	same("events", len(w.events), len(m.events))
	for i, e := range w.events {
		if !errors.Is(e.Err, m.events[i].Err) {
			t.Fatalf("the error of an event is %v, want %v", e.Err, m.events[i].Err)
		}
		e.Err = m.events[i].Err
		same("an event", e, m.events[i])
	}
	w.events, m.events = nil, nil
	same("the log", w.modelLog, m.modelLog)
	same("blocks not wiped", w.service.alive(), len(m.stock))
	w.compareAsks(t)
	w.compareSeeded(t)
}

// compareShard: the key and the buffer are the model's, and nothing else is left.
func (w *machineWorld) compareShard(t *rapid.T, i int) {
	sh, want := w.s.shards[i], &w.model.shards[i].gen
	sh.mu.Lock()
	defer sh.mu.Unlock()
	g := sh.gen.Load()
	if g.key != want.key || !bytes.Equal(g.chunk[g.at:g.end], want.left) {
		t.Fatalf("the key or the buffer of shard %d is not the model's", i)
	}
	if !allZero(g.chunk[:g.at]) || !allZero(g.chunk[g.end:]) || !allZero(g.os[:]) {
		t.Fatalf("shard %d keeps what it has used", i)
	}
}

func (w *machineWorld) compareAsks(t *rapid.T) {
	for i, a := range w.model.asks {
		if w.asks[i] == nil {
			continue
		}
		var err error
		returned := len(w.asks[i]) > 0
		if returned {
			err, w.asks[i] = <-w.asks[i], nil
		}
		same := returned == a.done && (err != nil) == (len(a.want) > 0) && errors.Is(err, ErrHeld) == slices.Contains(a.want, ErrHeld)
		for _, want := range a.want {
			same = same && errors.Is(err, want)
		}
		if !same {
			t.Fatalf("call %d of Reseed: returned %t, %v, want %t, %v", i, returned, err, a.done, a.want)
		}
	}
}

func (w *machineWorld) compareSeeded(t *rapid.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 1)
	defer cancel()
	m, want := w.model, []error{nil}
	switch {
	case m.closed:
		want = []error{ErrClosed}
	case m.status.Blocks > 0:
	case m.failing != nil && m.failing.retry == newToken: // it may give up for that
		cancel()
		if err := w.s.WaitSeeded(ctx); !errors.Is(err, m.failing.err) {
			t.Fatalf("WaitSeeded returned %v, want %v", err, m.failing.err)
		}
		return
	default:
		cancel()
		want = []error{context.Canceled}
		if m.failing != nil {
			want = append(want, m.failing.err)
		}
	}
	err := w.s.WaitSeeded(ctx)
	for _, want := range want {
		if !errors.Is(err, want) || errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("WaitSeeded returned %v, want %v", err, want)
		}
	}
}

// These are its log.
func (w *machineWorld) Enabled(context.Context, slog.Level) bool { return true }
func (w *machineWorld) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w *machineWorld) WithGroup(string) slog.Handler            { return w }
func (w *machineWorld) Handle(_ context.Context, r slog.Record) error {
	switch {
	case strings.Contains(r.Message, "ignore the reader"): // of the Go release
	case strings.Contains(r.Message, "emulated"):
		w.emulations++
	case r.Level == slog.LevelWarn:
		w.warns++
	default:
		w.infos++
	}
	return nil
}
