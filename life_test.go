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

// TestLife leads a Source and the model of life_model_test.go through the same random life:
// reads of all sizes, reseeds, faults of every kind, clocks that jump, new tokens, Close.
// After each step it compares all that can be seen of them: every byte, key, event and
// field of Status. The Source decides when it makes a request, and the model checks that
// this is as promised. If two things happen at one instant, their order is random, and the
// life ends early. Where the two differ, the test prints the shortest life that shows it.
// To look for longer:
//
//	go test -run TestLife -rapid.checks=10000 .
func TestLife(t *testing.T) {
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
	l := newLife(t, mix, policy)
	t.Repeat(map[string]func(*rapid.T){
		"read":       func(t *rapid.T) { l.read(t, readSize.Draw(t, "bytes"), false) },
		"read again": func(t *rapid.T) { l.read(t, readSize.Draw(t, "bytes"), false) },
		"read long":  func(t *rapid.T) { l.read(t, longSize.Draw(t, "bytes"), rapid.Bool().Draw(t, "held")) },
		"sleep":      func(t *rapid.T) { l.sleep(sleepTime.Draw(t, "for")) },
		"await":      l.await,
		"set clock":  l.setClock,
		"service":    l.changeService,
		"reseed":     l.reseed,
		"new token":  func(*rapid.T) { l.service.tokenNew = true },
		"close":      func(t *rapid.T) { l.close(rapid.IntRange(0, 19).Draw(t, "if 13") == 13) },
		"":           l.compare,
	})
	l.close(true)
	l.compare(t)
	l.read(t, 100, false)
	l.compare(t)
}

var (
	readSize  = rapid.OneOf(rapid.SampledFrom(readSizes[:len(readSizes)-3]), rapid.IntRange(0, 10_000))
	longSize  = rapid.SampledFrom([]int{longest + 64, 2 * longest, 2*longest + 1000, 3*longest + 4064}) // a last piece long enough to tell shards apart
	sleepTime = rapid.Map(rapid.OneOf(rapid.IntRange(0, 100_000), rapid.IntRange(0, 10_000_000)), func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond })
)

// A life is a Source, its service, and its model.
type life struct {
	s       *Source
	service *lifeService
	model   *model
	os      *lifeTape
	begin   time.Time
	skew    atomic.Int64 // of the wall clock, a time.Duration
	looks   atomic.Int64 // at the clock, since the Source last came to rest
	asks    []chan error // Reseed's results; nil: compared
	events  []Event
	modelLog
}

func newLife(t *rapid.T, mix Mix, policy Policy) *life {
	l := &life{os: &lifeTape{rand: mathrand.NewChaCha8([32]byte{'m'})}, begin: time.Now()}
	cfg := Config{
		Mix:            mix,
		Policy:         policy,
		AllowEmulated:  rapid.Bool().Draw(t, "allow emulated"),
		ReseedInterval: rapid.SampledFrom([]time.Duration{0, time.Second, 10 * time.Minute}).Draw(t, "interval"),
		ReseedBytes:    rapid.SampledFrom([]int64{0, 1, 100, 10_000, 150_000, 1 << 40}).Draw(t, "reseed bytes"),
		BatchBlocks:    rapid.SampledFrom([]int{0, 1, 2, 5, 20}).Draw(t, "batch"),
		Logger:         slog.New(l),
		OnEvent:        func(e Event) { l.events = append(l.events, e) },
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
	l.model = &model{Config: full, fail: t.Fatalf, os: l.os, shards: make([]modelShard, shards)}
	l.model.begin, l.model.time = outside.Add(-time.Hour), time.Hour // as 0 stands for never
	l.service = &lifeService{now: l.now, begin: l.model.begin, maxAge: l.model.MaxAge - 2*l.model.lead(), old: cfg.Policy == RequireFresh, closing: make(chan struct{})}
	cfg.Blocks = l.service
	l.changeService(t)

	var err error
	l.s, err = newSource(cfg, shards, testParts(parts{os: l.os, now: l.now, random: random}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.os.hold(nil)
		l.looks.Store(0)
		l.s.Close()
	})
	l.rest()
	l.model.start()
	l.compare(t)
	return l
}

// now is the time as the machine's clocks tell it.
func (l *life) now() time.Time {
	if l.looks.Add(1) > 1e6 {
		panic("the Source goes round in circles")
	}
	return setWall(outside.Add(time.Since(l.begin)), time.Duration(l.skew.Load()))
}

// rest waits until the Source waits, and tells the model what the service saw.
func (l *life) rest() {
	synctest.Wait()
	l.looks.Store(0)
	l.model.seen = append(l.model.seen, l.service.seen...)
	l.service.seen = nil
}

func (l *life) sleep(d time.Duration) {
	if l.model.tie {
		return
	}
	l.looks.Store(0) // orders what we did before the Source's next look at the clock, in place of locks
	time.Sleep(d)
	l.rest()
	l.model.advance(l.model.time + d)
}

// await sleeps until something happens, or a block is too old, to the nanosecond.
func (l *life) await(t *rapid.T) {
	m := l.model
	tooOld := m.time + m.MaxAge - m.age(m.newest)
	times := []time.Duration{m.alarm(), m.due, tooOld - m.lead(), tooOld, l.service.answers}
	times = slices.DeleteFunc(times, func(at time.Duration) bool { return at <= m.time || at == never })
	if len(times) > 0 {
		at := rapid.SampledFrom(times).Draw(t, "until") + time.Duration(rapid.IntRange(-1, 1).Draw(t, "off by"))
		l.sleep(at - m.time)
	}
}

// setClock moves the wall clock, as a sleep of the machine or a person may.
func (l *life) setClock(t *rapid.T) {
	m := l.model
	nearly := max(1, m.MaxAge-m.age(m.newest)) // then the newest block will soon be too old
	by := rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour, 1000 * time.Hour, nearly, nearly}).Draw(t, "by")
	if by != nearly && rapid.Bool().Draw(t, "back") {
		by = -by
	}
	m.skew += by
	l.skew.Add(int64(by))
	if by == nearly {
		l.read(t, 1, false)
	}
}

func (l *life) changeService(t *rapid.T) {
	i := rapid.IntRange(-12, len(faults)-1).Draw(t, "fault") // none more often than another
	l.service.behaviour = behaviour{
		fault:      faults[max(0, i)],
		retryAfter: rapid.SampledFrom([]time.Duration{0, time.Millisecond, 3 * time.Second, 5 * time.Minute, 48 * time.Hour}).Draw(t, "retry after"),
		latency:    rapid.SampledFrom([]time.Duration{0, 0, 300 * time.Millisecond, 20 * time.Second, time.Hour}).Draw(t, "latency"),
		least:      rapid.Bool().Draw(t, "one block"),
		emulated:   rapid.Bool().Draw(t, "emulated") && !faults[max(0, i)].blocks, // one thing is wrong at a time
		kept:       rapid.SampledFrom([]time.Duration{0, 0, l.model.MaxAge / 3, l.service.maxAge - 1, l.service.maxAge}).Draw(t, "kept"),
		bad:        rapid.IntRange(0, 3).Draw(t, "bad block"),
		slowToken:  rapid.Bool().Draw(t, "slow token"),
		deaf:       rapid.Bool().Draw(t, "deaf"),
	}
}

// read calls Read, and chooses which shard serves it. A long Read takes several pieces. The
// reseeder may run between them, or if held, after them.
func (l *life) read(t *rapid.T, n int, held bool) {
	m := l.model
	if m.tie {
		return
	}
	for m.ages() { // it wakes the reseeder before its bytes go out, which one without bytes does, too
		l.s.Read(nil)
		l.rest()
		m.permitted()
		m.loop()
		m.settle()
	}
	shard := rapid.IntRange(0, len(m.shards)-1).Draw(t, "shard")
	for i := range l.s.hints {
		l.s.hints[i].Store(uint32(shard))
	}
	held = held || n > longest && m.Mix != MixXOR // there crypto/rand is read under the shard's lock
	if held {
		l.os.hold(make(chan struct{}))
	}
	if n > longest && !held {
		l.os.pieces, l.os.pause = 0, func() { l.service.see(observation{kind: paused}) }
	}
	p := bytes.Repeat([]byte{0xa5}, n)
	read, err := l.s.Read(p)
	l.os.pause = nil
	l.os.hold(nil)
	l.rest()
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

// reseed calls Reseed once, or as often as that may cause a request.
func (l *life) reseed(t *rapid.T) {
	wait := rapid.SampledFrom([]time.Duration{0, 7*time.Second + 11, 11*time.Minute + 13}).Draw(t, "deadline")
	for range rapid.SampledFrom([]int{1, 1, 1, 1, 1, 1, 1, 40}).Draw(t, "times") {
		m := l.model
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
		l.asks = append(l.asks, result)
		go func() { result <- l.s.Reseed(ctx) }()
		l.rest()
		m.ask(deadline, len(result) > 0)
		m.loop()
		m.settle()
		l.compare(t)
		if m.due > m.time && m.due <= m.time+slowest {
			l.sleep(m.due - m.time)
		}
	}
}

func (l *life) close(really bool) {
	if !really || l.model.tie {
		return
	}
	go l.s.Close() // which waits for a deaf call
	synctest.Wait()
	if !l.model.closed {
		close(l.service.closing)
	}
	l.rest()
	l.model.close()
	l.model.settle()
}

// compare compares all that can be seen.
func (l *life) compare(t *rapid.T) {
	m := l.model
	if m.tie {
		return
	}
	if len(l.os.reader) != 0 || len(l.os.reseeder) != 0 {
		t.Fatalf("crypto/rand was read without need: %d times by Reads, %d by reseeds", len(l.os.reader), len(l.os.reseeder))
	}
	same := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Fatalf("%s: %v, want %v", what, got, want)
		}
	}

	want := m.status
	want.Time, want.Stock = m.now(), len(m.stock)
	want.Stale = m.Policy == RequireFresh && !m.closed && !m.newest.IsZero() && m.age(m.newest) > m.MaxAge
	for i, sh := range m.shards {
		want.Reads, want.Bytes = want.Reads+sh.reads, want.Bytes+sh.bytes
		if !sh.seeded {
			sh.readsBefore, sh.bytesBefore = sh.reads, sh.bytes
		}
		want.ReadsBeforeBlock, want.BytesBeforeBlock = want.ReadsBeforeBlock+sh.readsBefore, want.BytesBeforeBlock+sh.bytesBefore
		l.compareShard(t, i)
	}
	if !allZero(l.os.reseeds) {
		t.Fatal("a reseed keeps the bytes of crypto/rand that went into a key")
	}
	st := l.s.Status()
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

	same("events", len(l.events), len(m.events))
	for i, e := range l.events {
		if !errors.Is(e.Err, m.events[i].Err) {
			t.Fatalf("the error of an event is %v, want %v", e.Err, m.events[i].Err)
		}
		e.Err = m.events[i].Err
		same("an event", e, m.events[i])
	}
	l.events, m.events = nil, nil
	same("the log", l.modelLog, m.modelLog)
	same("blocks not wiped", l.service.alive(), len(m.stock))
	l.compareAsks(t)
	l.compareSeeded(t)
}

// compareShard wants the key and the buffer of the model, and nothing else in memory.
func (l *life) compareShard(t *rapid.T, i int) {
	sh, want := l.s.shards[i], &l.model.shards[i].gen
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

func (l *life) compareAsks(t *rapid.T) {
	for i, a := range l.model.asks {
		if l.asks[i] == nil {
			continue
		}
		var err error
		returned := len(l.asks[i]) > 0
		if returned {
			err, l.asks[i] = <-l.asks[i], nil
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

func (l *life) compareSeeded(t *rapid.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 1)
	defer cancel()
	m, want := l.model, []error{nil}
	switch {
	case m.closed:
		want = []error{ErrClosed}
	case m.status.Blocks > 0:
	case m.failing != nil && (m.failing.retry == newToken || errors.Is(m.failing.err, ErrEmulated)): // it may give up for that
		cancel()
		if err := l.s.WaitSeeded(ctx); !errors.Is(err, m.failing.err) {
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
	err := l.s.WaitSeeded(ctx)
	for _, want := range want {
		if !errors.Is(err, want) || errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("WaitSeeded returned %v, want %v", err, want)
		}
	}
}

// A life is the slog.Handler of its Source, too.
func (l *life) Enabled(context.Context, slog.Level) bool { return true }
func (l *life) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *life) WithGroup(string) slog.Handler            { return l }
func (l *life) Handle(_ context.Context, r slog.Record) error {
	switch {
	case strings.Contains(r.Message, "ignore the reader"): // of the Go release
	case strings.Contains(r.Message, "emulated"):
		l.emulations++
	case r.Level == slog.LevelWarn:
		l.warns++
	default:
		l.infos++
	}
	return nil
}
