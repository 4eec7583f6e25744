package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/qrand/qrypttest"
)

func TestClock(t *testing.T) {
	for _, test := range []struct {
		skew time.Duration // the service's clock, from ours
		want status
		text string
	}{
		{0, ok, "within a minute"},
		{-30 * time.Second, ok, "within a minute"},
		{-time.Hour, warn, "1h0m0s ahead of"},
		{3 * time.Minute, warn, "behind"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(test.skew).UTC().Format(http.TimeFormat))
		}))
		var clock clock
		client := http.Client{Transport: &clockReader{next: &http.Transport{DisableKeepAlives: true}, clock: &clock}}
		res, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		server.Close()
		r := &report{tell: func(check) {}}
		clock.check(r, true)
		got := r.checks[0]
		// A Date has no fractions, and the request took its time.
		if text := strings.ReplaceAll(got.Detail, "1h0m1s", "1h0m0s"); got.Status != test.want || !strings.Contains(text, test.text) {
			t.Errorf("%v: %+v, want %s and %q", test.skew, got, test.want, test.text)
		}
	}
}

// TestFetchAdvice lets each kind of fault meet the doctor.
func TestFetchAdvice(t *testing.T) {
	server := serve(t, qrypttest.Config{Rate: -1})
	for script, want := range map[string]string{
		"401":                 "is one for 127.0.0.1:",
		"403":                 "for a larger quota",
		"429":                 "find out who else uses this token, or ask whoever runs 127.0.0.1:",
		"429 retry-after=7s":  "retry after 7s",
		"503":                 "nothing to do here",
		"500":                 "nothing to do here",
		"404":                 "QRYPT_DIALECT",
		"redirect":            "login page",
		"html":                "other than the service may answer",
		"stuck":               "does not look random",
		"short-body":          "cut short",
		"ok":                  "with --rehearsal",
		"expired-certificate": "clock right",
	} {
		server.ClearScript()
		faults, err := qrypttest.ParseScript(script)
		if err != nil {
			t.Fatal(err)
		}
		server.Script(faults...)
		c, out, errs := screen(false, nil)
		status := execute(t.Context(), []string{"doctor"}, c)
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s: no %q in:\n%s", script, want, out)
		}
		if good := script == "ok"; (status == exitOK) != good || errs.Len() > 0 {
			t.Errorf("%s: status %d, stderr %q", script, status, errs)
		}
	}
}

// TestDoctorOnOldBlocks: a relay that keeps blocks for long is told of.
func TestDoctorOnOldBlocks(t *testing.T) {
	for age, old := range map[string]bool{"599": false, "601": true} {
		serveUnlabelled(t, func(_ int, h http.Header) { h.Set("Age", age) })
		c, out, errs := screen(false, nil)
		status := execute(t.Context(), []string{"doctor"}, c)
		told := strings.Contains(out.String(), "s, 10m1s old\n") && strings.Contains(out.String(), "a relay keeps blocks for too long")
		if status != exitOK || told != old || !strings.Contains(out.String(), "1 block in ") {
			t.Errorf("Age %s: status %d, %s, it is told: %t:\n%s", age, status, errs, told, out)
		}
	}
}

// TestCheckGo: the doctor tells what this program does under its GODEBUG.
func TestCheckGo(t *testing.T) {
	for godebug, want := range map[string]string{
		"cryptocustomrand=0": "ignore the reader",
		"cryptocustomrand=1": "makes keys from the reader",
	} {
		t.Setenv("GODEBUG", godebug)
		r := &report{tell: func(check) {}}
		checkGo(r)
		got := r.checks[0]
		if got.Status != ok || !strings.Contains(got.Detail, want) || !strings.Contains(got.Detail, "keygen") {
			t.Errorf("GODEBUG=%s: %+v, want %q", godebug, got, want)
		}
	}
}
