package main

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/qrand"
	"example.com/qrand/qrypt"
)

// newTestFleet has a scenario in which nothing goes wrong by itself, and no readers.
func newTestFleet(t *testing.T) (*fleet, *scenario) {
	t.Helper()
	sc := newTestScenario(t)
	f, err := newFleet(sc.cfg, sc, sc.rep)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	for _, m := range f.members {
		if err := m.src.WaitSeeded(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return f, sc
}

// plainBlocks is a BlockSource whose blocks do not say that they are emulated.
type plainBlocks struct{}

func (plainBlocks) Blocks(context.Context, int) ([]qrypt.Block, error) {
	p := make([]byte, qrypt.BlockSize)
	rand.Read(p)
	block, err := qrypt.NewBlock(p, qrypt.Origin{Endpoint: "a test"})
	return []qrypt.Block{block}, err
}

// TestAccount: each sum that does not agree is a failure, and nothing else is.
func TestAccount(t *testing.T) {
	defer func(saved time.Duration) { closeLimit = saved }(closeLimit)
	f, sc := newTestFleet(t)
	if f.account(sc, sc.rep); !sc.rep.ok() {
		t.Errorf("nothing was done to it: %q", sc.rep.failures)
	}
	closeLimit = 100 * time.Millisecond
	for _, c := range []struct {
		want  string // in the only failure, or note
		spoil func(m *member, sc *scenario)
		undo  func(m *member, sc *scenario)
	}{
		{"the readers got 1 and", func(m *member, _ *scenario) { m.reads.Add(1) }, func(m *member, _ *scenario) { m.reads.Add(-1) }},
		{"of 1", func(m *member, _ *scenario) { m.received.Add(1000) }, func(m *member, _ *scenario) { m.received.Add(-1000) }},
		{"no old token could be tried", func(_ *member, sc *scenario) { sc.rotations.Store(2) }, func(_ *member, sc *scenario) { sc.rotations.Store(0) }},
		{"in spoiled answers", func(_ *member, sc *scenario) { sc.spoiled -= 1 << 20 }, func(_ *member, sc *scenario) { sc.spoiled += 1 << 20 }},
		{"does not say that the entropy is emulated", func(m *member, _ *scenario) {
			saved := m.src
			t.Cleanup(func() { saved.Close() })
			src, err := qrand.New(qrand.Config{Blocks: plainBlocks{}, BatchBlocks: 1, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			if err := src.WaitSeeded(t.Context()); err != nil {
				t.Fatal(err)
			}
			m.src = src
			m.received.Store(1)
		}, func(*member, *scenario) {}},
	} {
		rep := &report{began: time.Now()}
		c.spoil(f.members[0], sc)
		f.account(sc, rep)
		c.undo(f.members[0], sc)
		if all := slices.Concat(rep.failures, rep.notes); len(all) != 1 || !strings.Contains(all[0], c.want) {
			t.Errorf("%q, want %q alone", all, c.want)
		}
	}
}

// TestClosed: a Source that is open when it should be closed is a failure, and one that
// is closed when it should be open.
func TestClosed(t *testing.T) {
	f, sc := newTestFleet(t)
	f.checkClosed(sc.rep)
	for _, m := range f.members {
		want := []string{m.name + ": after Close: "}
		if m.policy != qrand.Augment {
			want = append(want, m.name+": after Close Read returned 32, <nil>, want ErrClosed")
		}
		for _, want := range want {
			if !slices.ContainsFunc(sc.rep.failures, func(f string) bool { return strings.HasPrefix(f, want) }) {
				t.Errorf("open: %q is not among %q", want, sc.rep.failures)
			}
		}
	}
	f.close()
	rep := &report{began: time.Now()}
	f.rep = rep
	if f.checkClosed(rep); !rep.ok() {
		t.Errorf("closed: %q", rep.failures)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	asked := make(chan bool)
	go func() {
		f.askForReseeds(ctx)
		close(asked)
	}()
	for rep.ok() && pause(ctx, time.Millisecond) {
	}
	cancel()
	<-asked
	if _, _, failure, _ := rep.problems(); !strings.Contains(failure, qrand.ErrClosed.Error()) {
		t.Errorf("a Reseed of one that is closed: %q", failure)
	}
}

// TestRefusals: a Read may be refused where its Policy says so, and not before its
// time.
func TestRefusals(t *testing.T) {
	now, long := time.Now(), time.Now().Add(-time.Hour)
	for _, c := range []struct {
		policy           qrand.Policy
		err              error
		mixed            *time.Time
		notSeeded, stale int64
	}{
		{qrand.RequireInitial, qrand.ErrNotSeeded, nil, 1, 0},
		{qrand.RequireFresh, qrand.ErrNotSeeded, nil, 1, 0},
		{qrand.RequireFresh, qrand.ErrStale, &long, 0, 1},
		{qrand.Augment, qrand.ErrNotSeeded, nil, 0, 0},
		{qrand.RequireInitial, qrand.ErrNotSeeded, &long, 0, 0},
		{qrand.RequireInitial, qrand.ErrStale, &long, 0, 0},
		{qrand.RequireFresh, qrand.ErrStale, &now, 0, 0},
		{qrand.RequireFresh, qrand.ErrStale, nil, 0, 0},
		{qrand.RequireFresh, io.EOF, &long, 0, 0},
	} {
		f := &fleet{rep: &report{began: now}}
		m := &member{name: "it", policy: c.policy, maxAge: time.Minute}
		f.check(m, make([]byte, 32), 0, c.err, c.mixed)
		if m.notSeeded.Load() != c.notSeeded || m.stale.Load() != c.stale || f.rep.ok() != (c.notSeeded+c.stale > 0) {
			t.Errorf("%v, %v: %d and %d counted, failures %q", c.policy, c.err, m.notSeeded.Load(), m.stale.Load(), f.rep.failures)
		}
	}
}

// TestCounterGoesBack: the Status of a Source that counts less than it did is a
// failure.
func TestCounterGoesBack(t *testing.T) {
	f, sc := newTestFleet(t)
	f.members[1].src.Read(make([]byte, 1000))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sc.cfg.watch = func(sample) {
		if sc.rep.samples[0].reads == 0 || len(sc.rep.samples) > 1 {
			cancel()
			return
		}
		if !sc.rep.ok() {
			t.Errorf("before: %q", sc.rep.failures)
		}
		f.members[0].src, f.members[1].src = f.members[1].src, f.members[0].src
	}
	watch(ctx, sc.cfg, f, sc, sc.rep)
	if _, _, failure, _ := sc.rep.problems(); !strings.Contains(failure, f.members[1].name+": a counter went back") {
		t.Errorf("the failure is %q", failure)
	}
}
