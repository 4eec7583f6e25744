package qrand

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/clock"
	"example.com/qrand/qrypt"
	"pgregory.net/rapid"
)

// TestMachine puts a Source and the model of machinemodel_test.go through the
// same random life (reads of all sizes, reseeds, faults of every kind, clocks
// that jump, new tokens, Close) and compares all that can be seen of them after
// each step: every byte, every key, every request, event and field of Status.
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
		"new token":  func(*rapid.T) { w.newToken() },
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
	skew    atomic.Int64 // of the wall clock, a time.Duration
	begin   time.Time    // when the model's time is 0
	asks    []chan error // Reseed's results; nil: compared

	mu                       sync.Mutex
	events                   []Event
	warns, infos, emulations int
}

func newMachineWorld(t *rapid.T, mix Mix, policy Policy) *machineWorld {
	w := &machineWorld{begin: outside.Add(-time.Hour), os: &machineTape{rand: mathrand.NewChaCha8([32]byte{'m'})}}
	half := rapid.Bool().Draw(t, "jitter halves")
	jitters := func(d time.Duration) time.Duration {
		if half {
			return d / 2
		}
		return d
	}
	cfg := Config{
		Mix:            mix,
		Policy:         policy,
		ReseedInterval: rapid.SampledFrom([]time.Duration{0, time.Second, 10 * time.Minute}).Draw(t, "interval"),
		ReseedBytes:    rapid.SampledFrom([]int64{0, 1, 100, 10_000, 150_000, 1 << 40}).Draw(t, "reseed bytes"),
		BatchBlocks:    rapid.SampledFrom([]int{0, 1, 2, 5, 20}).Draw(t, "batch"),
		Logger:         slog.New(w),
		OnEvent:        w.hear,
	}
	interval := orDefault(cfg.ReseedInterval, time.Minute)
	if cfg.Policy == RequireFresh {
		cfg.MaxAge = rapid.SampledFrom([]time.Duration{0, 1, time.Hour}).Draw(t, "max age")
		if cfg.MaxAge == 1 || interval >= 10*time.Minute {
			cfg.MaxAge += interval + 1
		}
	}
	shards := rapid.IntRange(1, 4).Draw(t, "shards")
	w.model = &machine{
		fail:     t.Fatalf,
		os:       w.os,
		mix:      cfg.Mix,
		policy:   cfg.Policy,
		maxAge:   orDefault(cfg.MaxAge, 10*time.Minute),
		interval: interval,
		quantity: orDefault(cfg.ReseedBytes, 1<<20),
		batch:    orDefault(cfg.BatchBlocks, 8),
		jitter:   jitters,
		shards:   make([]modelShard, shards),
		time:     time.Hour, // as 0 stands for never
	}
	endpoints := rapid.IntRange(0, 3).Draw(t, "endpoints")
	w.model.endpoints = max(1, endpoints)
	w.service = &machineService{endpoints: endpoints, maxAge: w.model.maxAge, old: cfg.Policy == RequireFresh}
	cfg.Blocks = w.service
	w.changeMood(t)

	savedReader, savedNow, savedJitter := osReader, clock.Now, jitter
	osReader, jitter = w.os, jitters
	begin := time.Now()
	clock.Now = func() time.Time {
		return setWall(outside.Add(time.Since(begin)), time.Duration(w.skew.Load()))
	}
	var err error
	w.s, err = newSource(cfg, shards)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.os.hold(nil)
		w.s.Close()
		osReader, clock.Now, jitter = savedReader, savedNow, savedJitter
	})
	synctest.Wait()
	w.model.start()
	w.compare(t)
	return w
}

func (w *machineWorld) sleep(d time.Duration) {
	if w.model.tie {
		return
	}
	time.Sleep(d)
	synctest.Wait()
	w.model.advance(w.model.time + d)
}

// await sleeps until the next thing happens, or until the last block is too old,
// to the nanosecond.
func (w *machineWorld) await(t *rapid.T) {
	m := w.model
	at, _ := m.next()
	if m.lastBlock != nil && rapid.Bool().Draw(t, "age") {
		at = m.time + m.maxAge - m.now().age(*m.lastBlock)
	}
	if at += time.Duration(rapid.IntRange(-1, 1).Draw(t, "off by")); at > m.time {
		w.sleep(at - m.time)
	}
}

// setClock is a sleep of the machine, or somebody who sets the clock.
func (w *machineWorld) setClock(t *rapid.T) {
	by := rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour, 1000 * time.Hour}).Draw(t, "by")
	if rapid.Bool().Draw(t, "back") {
		by = -by
	}
	w.model.skew += by
	w.skew.Add(int64(by))
}

func (w *machineWorld) changeMood(t *rapid.T) {
	i := rapid.IntRange(-4, len(faults)-1).Draw(t, "fault") // none more often than another
	next := mood{
		fault:      faults[max(0, i)],
		retryAfter: rapid.SampledFrom([]time.Duration{0, time.Millisecond, 3 * time.Second, 5 * time.Minute, 48 * time.Hour}).Draw(t, "retry after"),
		latency:    rapid.SampledFrom([]time.Duration{0, 0, 300 * time.Millisecond, 20 * time.Second, time.Hour}).Draw(t, "latency"),
		least:      rapid.Bool().Draw(t, "one block"),
		emulated:   rapid.Bool().Draw(t, "emulated"),
		bad:        rapid.IntRange(0, 3).Draw(t, "bad block"),
		slowToken:  rapid.Bool().Draw(t, "slow token"),
	}
	switch {
	case next.name == "foreign":
		next.failure, next.retryAfter = next.err, 0
	case next.err != nil:
		next.failure = &qrypt.Error{Endpoint: "https://there", Class: next.err, RetryAfter: next.retryAfter}
	}
	w.model.mood = next
	w.service.mu.Lock()
	w.service.mood = next
	w.service.mu.Unlock()
}

func (w *machineWorld) newToken() {
	w.model.tokenNew = true
	w.service.mu.Lock()
	w.service.tokenNew = true
	w.service.mu.Unlock()
}

// read is a Read that a shard of our choice serves. A long one takes several
// pieces, between which the reseeder may come; held, it comes after them.
func (w *machineWorld) read(t *rapid.T, n int, held bool) {
	m := w.model
	if m.tie {
		return
	}
	shard := rapid.IntRange(0, len(m.shards)-1).Draw(t, "shard")
	for i := range w.s.hints {
		w.s.hints[i].Store(uint32(shard))
	}
	held = held || n > longest && m.mix != MixXOR // there crypto/rand is read under the shard's lock
	if held {
		w.os.hold(make(chan struct{}))
	}
	w.os.begin(n > longest && !held)
	p := bytes.Repeat([]byte{0xa5}, n)
	read, err := w.s.Read(p)
	w.os.begin(false)
	w.os.hold(nil)
	synctest.Wait()

	if want := m.permitted(); err != want {
		t.Fatalf("Read returned %v, want %v", err, want)
	}
	if err != nil {
		if read != 0 || !bytes.Equal(p, bytes.Repeat([]byte{0xa5}, n)) {
			t.Fatalf("a refused Read returned %d, or altered p", read)
		}
		if err == ErrStale {
			m.loop()
			m.settle()
		}
		return
	}
	if read != n {
		t.Fatalf("a Read of %d bytes returned %d", n, read)
	}
	m.read(p, shard, held)
}

var errDeadline = context.DeadlineExceeded

func (w *machineWorld) reseed(t *rapid.T) {
	m := w.model
	if m.tie {
		return
	}
	ctx, cancel := context.Background(), func() {}
	deadline := time.Duration(0)
	if wait := rapid.SampledFrom([]time.Duration{0, 7 * time.Second, 11 * time.Minute}).Draw(t, "deadline"); wait != 0 {
		ctx, cancel = context.WithTimeout(ctx, wait)
		deadline = m.time + wait
	}
	t.Cleanup(cancel)
	result := make(chan error, 1)
	w.asks = append(w.asks, result)
	go func() { result <- w.s.Reseed(ctx) }()
	synctest.Wait()
	m.ask(deadline)
	m.loop()
	m.settle()
}

func (w *machineWorld) close(really bool) {
	if !really || w.model.tie {
		return
	}
	w.s.Close()
	synctest.Wait()
	w.model.close()
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
	moments := func(at time.Time) moment { return moment{at.Sub(w.begin), at.Round(0).Sub(w.begin.Round(0))} }
	same := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Fatalf("%s: %v, want %v", what, got, want)
		}
	}

	st, want := w.s.Status(), m.status
	same("State", st.State, want.State)
	same("Reason", st.Reason, want.Reason)
	same("Since", moments(st.Since), m.since)
	same("Time", moments(st.Time), m.now())
	same("Mix", st.Mix, m.mix)
	same("Policy", st.Policy, m.policy)
	same("whether a block is in", !st.LastBlock.IsZero(), m.lastBlock != nil)
	if m.lastBlock != nil {
		same("LastBlock", moments(st.LastBlock), *m.lastBlock)
		same("LastReceived", moments(st.LastReceived), m.lastReceived)
		same("LastEndpoint", st.LastEndpoint, "fake")
	}
	same("Emulated", st.Emulated, want.Emulated)
	same("Blocks", st.Blocks, want.Blocks)
	same("Fingerprints", strings.Join(st.Fingerprints, " "), strings.Join(want.Fingerprints, " "))
	same("OSReseeds", st.OSReseeds, want.OSReseeds)
	same("Stock", st.Stock, len(m.stock))
	same("RefusedBlocks", st.RefusedBlocks, want.RefusedBlocks)
	same("Requests", st.Requests, want.Requests)
	for _, f := range faults {
		same("Failures of "+string(f.reason), st.Failures[f.reason], m.reasons[f.reason])
	}
	same("whether there is a LastError", st.LastError != "", m.lastErr != nil)
	if m.lastErr != nil && !strings.HasPrefix(st.LastError, m.lastErr.Error()) {
		t.Fatalf("LastError: %s, want %v", st.LastError, m.lastErr)
	}
	same("whether a request is due", !st.NextRequest.IsZero(), m.wanted())
	if m.wanted() {
		same("NextRequest", st.NextRequest.Sub(w.begin), m.notBefore)
	}
	if !allZero(w.os.reseeds) {
		t.Fatal("a reseed keeps the bytes of crypto/rand that went into a key")
	}
	var reads, bytesRead, readsBefore, bytesBefore int64
	for i, sh := range m.shards {
		reads, bytesRead = reads+sh.reads, bytesRead+sh.bytes
		if !sh.seeded {
			sh.readsBefore, sh.bytesBefore = sh.reads, sh.bytes
		}
		readsBefore, bytesBefore = readsBefore+sh.readsBefore, bytesBefore+sh.bytesBefore
		w.compareShard(t, i)
	}
	same("Reads", st.Reads, reads)
	same("Bytes", st.Bytes, bytesRead)
	same("ReadsBeforeBlock", st.ReadsBeforeBlock, readsBefore)
	same("BytesBeforeBlock", st.BytesBeforeBlock, bytesBefore)

	w.mu.Lock()
	defer w.mu.Unlock()
	same("events", len(w.events), len(m.events))
	for i, e := range w.events {
		got := modelEvent{e.Kind, e.State, e.Reason, moments(e.Time), e.Endpoint, e.Emulated, e.Fingerprint}
		same("an event", got, m.events[i])
		same("whether an event has an error", e.Err != nil, e.Kind == RequestFailed)
	}
	w.events, m.events = nil, nil
	same("Warns", w.warns, m.warns)
	same("Infos", w.infos, m.infos)
	same("Warns of an emulator", w.emulations, m.emulations)

	w.service.compare(same, w.begin, m)
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
		select {
		case err := <-w.asks[i]:
			w.asks[i] = nil
			if !a.done {
				t.Fatalf("call %d of Reseed returned %v, too early", i, err)
			}
			if len(a.want) == 0 && err != nil || err == nil && len(a.want) > 0 {
				t.Fatalf("call %d of Reseed returned %v, want %v", i, err, a.want)
			}
			for _, want := range a.want {
				if !errors.Is(err, want) {
					t.Fatalf("call %d of Reseed returned %v, want %v", i, err, want)
				}
			}
			if a.not != nil && errors.Is(err, a.not) {
				t.Fatalf("call %d of Reseed returned %v", i, err)
			}
		default:
			if a.done {
				t.Fatalf("call %d of Reseed has not returned, want %v", i, a.want)
			}
		}
	}
}

func (w *machineWorld) compareSeeded(t *rapid.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var want error
	switch {
	case w.model.closed:
		want = ErrClosed
	case w.model.lastBlock == nil:
		cancel()
		want = context.Canceled
	}
	if err := w.s.WaitSeeded(ctx); !errors.Is(err, want) {
		t.Fatalf("WaitSeeded returned %v, want %v", err, want)
	}
}

// hear is its OnEvent.
func (w *machineWorld) hear(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// And these are its log.
func (w *machineWorld) Enabled(context.Context, slog.Level) bool { return true }
func (w *machineWorld) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w *machineWorld) WithGroup(string) slog.Handler            { return w }
func (w *machineWorld) Handle(_ context.Context, r slog.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case strings.Contains(r.Message, "emulated"):
		w.emulations++
	case r.Level == slog.LevelWarn:
		w.warns++
	default:
		w.infos++
	}
	return nil
}
