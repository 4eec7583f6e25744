package qrypttest_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/qrand/qrypttest"
)

func TestParseScript(t *testing.T) {
	const s = time.Second
	for _, test := range []struct {
		text string
		want []qrypttest.Fault
	}{
		{"", nil},
		{" ;\n;; # nothing; 503\n", nil},
		{"hang", []qrypttest.Fault{{Kind: qrypttest.Hang}}},
		{"429 retry-after=5s x3; ok x2; hang; 503 x*", []qrypttest.Fault{
			{Kind: qrypttest.Status, Status: 429, RetryAfter: 5 * s, Times: 3},
			{Kind: qrypttest.OK, Times: 2},
			{Kind: qrypttest.Hang},
			{Kind: qrypttest.Status, Status: 503, Times: -1}}},
		{"ok latency=1m30s x1 # fine; hang\r\n\tbase64url\tx2 retry-after-date=1m", []qrypttest.Fault{
			{Latency: 90 * s, Times: 1},
			{Kind: qrypttest.URLBase64, RetryAfter: 60 * s, RetryAfterDate: true, Times: 2}}},
		{"999;201", []qrypttest.Fault{{Kind: qrypttest.Status, Status: 999}, {Kind: qrypttest.Status, Status: 201}}},
	} {
		got, err := qrypttest.ParseScript(test.text)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%q: %+v, %v; want %+v", test.text, got, err, test.want)
		}
	}
}

func TestParseScriptErrors(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string // parts of the error
	}{
		{"ok\nhung", []string{"line 2", `"hung"`, "201 to 999", "hang", "expired-certificate"}},
		{"x9 hang", []string{"line 1", `"x9"`}},
		{"status", []string{`"status"`, "a status from"}},
		{"Hang", []string{`"Hang"`}},
		{"200", []string{`"200"`, "201 to 999", "ok"}},
		{"100", []string{`"100"`}},
		{"000", []string{`"000"`}},
		{"5030", []string{`"5030"`}},
		{"-03", []string{`"-03"`}},
		{"ok x0", []string{`"x0"`, "above zero"}},
		{"ok x-1", []string{`"x-1"`}},
		{"ok x+1", []string{`"x+1"`}},
		{"ok x", []string{`"x"`}},
		{"ok x99999999999999999999", []string{`"x99999999999999999999"`}},
		{"ok 3", []string{`"3"`, "latency=DURATION", "retry-after=DURATION", "retry-after-date=DURATION", "xN"}},
		{"ok latency", []string{`"latency"`}},
		{"ok latency=", []string{`"latency="`, "5s"}},
		{"ok latency=5", []string{`"latency=5"`}},
		{"ok latency=-5s", []string{`"latency=-5s"`}},
		{"ok latency=0s", []string{`"latency=0s"`}},
		{"ok delay=5s", []string{`"delay=5s"`}},
		{"429 retry-after=1500ms", []string{`"retry-after=1500ms"`, "whole seconds"}},
		{"429 retry-after=1s retry-after-date=1s", []string{`"retry-after-date=1s"`, "twice"}},
		{"ok x2 x3", []string{`"x3"`, "twice"}},
		{"ok latency=1s latency=2s", []string{`"latency=2s"`, "twice"}},
	} {
		_, err := qrypttest.ParseScript(test.text)
		if err == nil {
			t.Errorf("%q: no error", test.text)
			continue
		}
		for _, part := range append(test.want, "qrypttest: script") {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: error %q does not say %q", test.text, err, part)
			}
		}
	}
}

// A fault is the same after its text was parsed.
func checkRoundTrip(t *testing.T, f qrypttest.Fault) {
	t.Helper()
	got, err := qrypttest.ParseScript(f.String())
	if err != nil || len(got) != 1 || got[0] != f {
		t.Errorf("%+v is %q, which is %+v, %v", f, f, got, err)
	}
}

func TestFaultRoundTrip(t *testing.T) {
	for _, f := range qrypttest.RandomScript(1, 2000, qrypttest.ExpiredCertificate) {
		checkRoundTrip(t, f)
		f.Times = 0
		checkRoundTrip(t, f)
		f.Times = -1
		checkRoundTrip(t, f)
	}
	checkRoundTrip(t, qrypttest.Fault{
		Kind: qrypttest.Drip, Latency: math.MaxInt64, Times: math.MaxInt,
		RetryAfter: math.MaxInt64 / time.Second * time.Second, RetryAfterDate: true,
	})
	checkRoundTrip(t, qrypttest.Fault{Latency: 1})
}

func FuzzParseScript(f *testing.F) {
	f.Add("429 retry-after=5s x3; ok x2; hang; 503 x*")
	f.Add("oversize latency=1h2m3.004s # slow\nreset retry-after-date=90s x1")
	f.Add("x*;=;#\n ok x00012 latency=.5s")
	f.Fuzz(func(t *testing.T, text string) {
		faults, err := qrypttest.ParseScript(text)
		if err != nil {
			if len(faults) > 0 {
				t.Errorf("%q: faults and an error", text)
			}
			return
		}
		var all []string
		for _, fault := range faults {
			checkRoundTrip(t, fault)
			all = append(all, fault.String())
		}
		again, err := qrypttest.ParseScript(strings.Join(all, ";"))
		if err != nil || !slices.Equal(again, faults) {
			t.Errorf("%q: %v is parsed as %v, %v", text, faults, again, err)
		}
		// Valid for the emulator too, which panics otherwise.
		e := qrypttest.New(qrypttest.Config{Tokens: []string{"t"}})
		e.Script(faults...)
		if (e.Pending() == 0) != (len(faults) == 0) {
			t.Errorf("%q: pending %d", text, e.Pending())
		}
	})
}

func TestRandomScript(t *testing.T) {
	a, b := qrypttest.RandomScript(7, 1000), qrypttest.RandomScript(7, 1000)
	if !slices.Equal(a, b) {
		t.Error("one seed, two scripts")
	}
	if slices.Equal(a, qrypttest.RandomScript(8, 1000)) {
		t.Error("two seeds, one script")
	}
	seen := make(map[qrypttest.Kind]bool)
	for _, f := range a {
		seen[f.Kind] = true
		if f.Times != 1 {
			t.Errorf("%v: Times %d, want 1", f, f.Times)
		}
	}
	for k := range qrypttest.ExpiredCertificate {
		if !seen[k] {
			t.Errorf("%v is never drawn", k)
		}
	}
	if seen[qrypttest.ExpiredCertificate] {
		t.Error("expired-certificate drawn, and nobody asked for it")
	}
	if !slices.ContainsFunc(qrypttest.RandomScript(7, 1000, qrypttest.ExpiredCertificate), func(f qrypttest.Fault) bool {
		return f.Kind == qrypttest.ExpiredCertificate
	}) {
		t.Error("expired-certificate never drawn, although asked for")
	}
}

// TestQueues: SetFault comes before a region's own queue, and that before the shared one.
func TestQueues(t *testing.T) {
	s := newServer(t, qrypttest.Config{Rate: -1, Regions: []string{"a", "b"}})
	ask := func(region int, want int) {
		t.Helper()
		if got := get(t, s.Client(), s.Endpoints()[region], s.Token(), 1).status; got != want {
			t.Errorf("status %d, want %d", got, want)
		}
	}
	pending := func(want int) {
		t.Helper()
		if got := s.Pending(); got != want {
			t.Errorf("pending %d, want %d", got, want)
		}
	}
	pending(0)
	s.Script(mustScript(t, "500 x2; 502")...)
	s.ScriptRegion("b", mustScript(t, "503 x2")...)
	pending(5)
	ask(1, 503)
	ask(0, 500)
	pending(3)
	ask(1, 503)
	ask(1, 500)
	ask(0, 502)
	ask(1, 200)
	pending(0)

	s.SetFault(func(r qrypttest.Request) *qrypttest.Fault {
		s.Pending() // the hook may use the emulator
		if r.Region == "b" && r.Blocks == 1 && r.Token == 0 {
			return &qrypttest.Fault{Kind: qrypttest.Status, Status: 504, Times: 9}
		}
		return nil
	})
	s.ScriptRegion("b", mustScript(t, "503 x*")...)
	pending(-1)
	s.Script(mustScript(t, "500 x*")...)
	pending(-1)
	ask(1, 504)
	ask(1, 504)
	ask(0, 500)
	s.SetFault(nil)
	ask(1, 503)
	s.ClearScript()
	pending(0)
	ask(0, 200)
	ask(1, 200)
	s.ScriptRegion("a", mustScript(t, fmt.Sprintf("500 x%d; 500 x9", math.MaxInt))...)
	s.ScriptRegion("b", mustScript(t, "500 x9")...)
	pending(math.MaxInt)
	s.ClearScript()

	s.SetFault(func(qrypttest.Request) *qrypttest.Fault { return &qrypttest.Fault{Kind: 1000} })
	ask(0, 500)
}
