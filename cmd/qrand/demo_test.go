package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"example.com/qrand"
	"example.com/qrand/qrypttest"
)

// wantNoGoroutines fails a test that leaves a goroutine of the module behind.
func wantNoGoroutines(t *testing.T) {
	t.Cleanup(func() {
		var left []string
		if !eventually(func() bool { left = otherGoroutines(); return len(left) == 0 }) {
			t.Errorf("goroutines are left:\n%s", strings.Join(left, "\n\n"))
		}
	})
}

// otherGoroutines returns the stacks of the module's goroutines, except the caller
// and TestMain.
func otherGoroutines() (stacks []string) {
	buf := make([]byte, 1<<20)
	all := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
	for _, stack := range all[1:] {
		if strings.Contains(stack, "example.com/qrand") && !strings.HasPrefix(stack, "goroutine 1 ") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestDemoJSON(t *testing.T) {
	wantNoGoroutines(t)
	c, out, errs := screen(false, nil)
	var played []outage
	for _, i := range []int{0, 3, 4} {
		played = append(played, outages[i])
	}
	logger := slog.New(logHandler{w: errs})
	if err := runDemo(t.Context(), c, played, logger, true, true); err != nil {
		t.Fatal(err)
	}
	var got summary
	d := json.NewDecoder(bytes.NewReader(out.Bytes()))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !got.Emulated || !got.OK || got.Reads == 0 || got.Failed != 0 || got.Blocks < 4 || len(got.Problems) != 0 {
		t.Errorf("%+v", got)
	}
	if len(got.Rows) != 1+2*len(played) {
		t.Fatalf("%d rows", len(got.Rows))
	}
	var reads int64
	for i, r := range got.Rows {
		reads += r.Reads
		state, reason := qrand.Seeded, qrand.Reason("")
		if i > 0 && i%2 == 1 {
			state, reason = qrand.Degraded, played[i/2].reason
		}
		if r.State != state || r.Reason != reason || r.Reads == 0 {
			t.Errorf("row %d: %+v", i, r)
		}
	}
	if reads > got.Reads {
		t.Errorf("the rows have %d reads, the sum %d", reads, got.Reads)
	}
	if !strings.HasPrefix(errs.String(), "The entropy in this demo is EMULATED, not quantum.\n") {
		t.Errorf("stderr begins with %.80q", errs)
	}
	if !strings.Contains(errs.String(), "qrand: degraded: ") {
		t.Errorf("the log is not shown: %q", errs)
	}
	if token := regexp.MustCompile(`[A-Z2-7]{26}`).FindString(out.String() + errs.String()); token != "" {
		t.Errorf("a token is shown: %q", token)
	}
}

// TestDemoFails: an outage with another reason than announced is a failure. So is
// one that does not begin, or does not end.
func TestDemoFails(t *testing.T) {
	wantNoGoroutines(t)
	defer func(limit time.Duration) { stepLimit = limit }(stepLimit)
	stepLimit = 1500 * time.Millisecond
	wrong := outage{"503", qrand.Unreachable, failWith(qrypttest.Fault{Kind: qrypttest.Status, Status: 503}), stopFailing, ""}
	c, out, _ := screen(false, map[string]string{})
	err := runDemo(t.Context(), c, []outage{wrong}, discard(), false, false)
	if want := "503: the state is Degraded, service out of supply (503), not Degraded, service unreachable"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	if !strings.Contains(out.String(), "FAIL 503            noticed in ") {
		t.Errorf("output:\n%s", out)
	}

	never := outage{"calm", qrand.NoSupply, stopFailing, stopFailing, ""}
	if err := runDemo(t.Context(), c, []outage{never}, discard(), false, false); err == nil || !strings.Contains(err.Error(), "calm: the state is Seeded, not Degraded") {
		t.Errorf("an outage that does not come: %v", err)
	}
	if !strings.Contains(out.String(), "FAIL calm           not noticed, not recovered\n") {
		t.Errorf("output:\n%s", out)
	}
	stays := outage{"stays", qrand.NoSupply, wrong.begin, wrong.begin, ""}
	if err := runDemo(t.Context(), c, []outage{stays}, discard(), false, false); err == nil {
		t.Error("an outage that does not end is no failure")
	}
	if !strings.Contains(out.String(), "s, not recovered\n") {
		t.Errorf("output:\n%s", out)
	}
}

func TestTimeTo(t *testing.T) {
	began := time.Now()
	for _, test := range []struct {
		state qrand.State
		since time.Duration // from began
		want  time.Duration
	}{
		{qrand.Seeded, time.Second, time.Second}, {qrand.Seeded, 0, 0},
		{qrand.Seeded, -time.Second, -1}, {qrand.Degraded, time.Second, -1},
	} {
		if got := timeTo(qrand.Seeded, qrand.Status{State: test.state, Since: began.Add(test.since)}, began); got != test.want {
			t.Errorf("%v since %v: %v, want %v", test.state, test.since, got, test.want)
		}
	}
}

func TestDemoIsInterrupted(t *testing.T) {
	wantNoGoroutines(t)
	ctx, cancel := context.WithCancel(t.Context())
	endless := outage{"hang", qrand.TimedOut, func(s *scenario) error {
		s.service.Script(qrypttest.Fault{Kind: qrypttest.Hang, Times: -1})
		cancel()
		return nil
	}, stopFailing, ""}
	began := time.Now()
	c, _, errs := screen(false, map[string]string{})
	if err := runDemo(ctx, c, []outage{endless}, discard(), false, false); !errors.Is(err, errInterrupted) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %v; stderr %q", took, errs)
	}
}

// readerFunc is a reader that may do it wrong.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestReaders(t *testing.T) {
	fill := func(p []byte) (int, error) {
		for i := range p {
			p[i] = 1
		}
		return len(p), nil
	}
	for _, test := range []struct {
		name string
		read readerFunc
		want string
	}{
		{"good", fill, ""},
		{"error", func(p []byte) (int, error) { return 0, io.ErrUnexpectedEOF }, "unexpected EOF"},
		{"short", func(p []byte) (int, error) { n, _ := fill(p); return n - 1, nil }, "31 bytes of 32"},
		{"zeros", func(p []byte) (int, error) { return len(p), nil }, "32 zeros"},
	} {
		c := startReaders(test.read, 1)
		if !eventually(func() bool { return c.reads.Load() > 20 }) {
			t.Fatalf("%s: no reads", test.name)
		}
		c.stop()
		var first string
		if text := c.firstFailure.Load(); text != nil {
			first = *text
		}
		if first != test.want {
			t.Errorf("%s: %q, want %q", test.name, first, test.want)
		}
		if failed := c.failed.Load(); failed != 0 && test.want == "" || test.want != "" && failed != c.reads.Load() {
			t.Errorf("%s: %d of %d failed", test.name, failed, c.reads.Load())
		}
	}
}
