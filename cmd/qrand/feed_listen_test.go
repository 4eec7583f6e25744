package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"example.com/qrand"
	"example.com/qrand/internal/monitoring"
	"example.com/qrand/kernel"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// TestFeedMetrics: the metrics are what the feed did, with names as Prometheus wants them.
func TestFeedMetrics(t *testing.T) {
	m := newFeedMonitor(time.Minute)
	at := time.Unix(1_700_000_000, 0)
	for _, e := range []kernel.Event{
		{Time: at, Next: at.Add(time.Minute), Result: kernel.Result{Mixed: 1024, Credited: 8, Reseeded: true}},
		{Time: at, Err: errors.New("no"), Reason: qrand.RateLimited},
		{Time: at, Err: errors.New("no")},
	} {
		m.event(e)
	}
	if up := testutil.ToFloat64(m.up); up != 0 {
		t.Errorf("after a failure up is %v", up)
	}
	m.event(kernel.Event{Time: at.Add(time.Second), Result: kernel.Result{Mixed: 1024, Origin: qrypt.Origin{Emulated: true}}})
	text := get(m, http.MethodGet, "/metrics").Body.String()
	for _, want := range []string{
		"mixed_blocks_total 2", "emulated_blocks_total 1", "reseeds_total 1", "credited_bytes_total 1", "up 1", "interval_seconds 60",
		`failures_total{reason="rate_limited"} 1`, `failures_total{reason="kernel"} 1`, `failures_total{reason="no_token"} 0`,
		"last_mixed_timestamp_seconds 1.700000001e+09", "next_attempt_timestamp_seconds 1.70000006e+09",
	} {
		if !strings.Contains(text, "\nqrand_feed_"+want+"\n") {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	if text := get(newFeedMonitor(time.Minute), http.MethodGet, "/metrics").Body.String(); strings.Contains(text, "timestamp") {
		t.Errorf("a time that has not been is shown:\n%s", text)
	}
}

func get(h http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

// TestFeedProbes: a feed is healthy while it runs. It is ready while blocks are mixed.
func TestFeedProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFeedMonitor(time.Minute)
		check := func(path string, status int, text string) {
			t.Helper()
			if w := get(m, http.MethodGet, path); w.Code != status || !strings.Contains(w.Body.String(), text) {
				t.Errorf("%s answers %d, %q", path, w.Code, w.Body)
			}
		}
		time.Sleep(10 * time.Second)
		check("/readyz", 503, "no block was mixed in the 10s since the start")
		check("/healthz", 200, "ok")
		m.event(kernel.Event{Time: time.Now(), Result: kernel.Result{Mixed: 1024}})
		time.Sleep(3 * time.Minute)
		check("/readyz", 200, "ok")
		m.event(kernel.Event{Time: time.Now(), Err: errors.New("no")})
		check("/readyz", 200, "ok")
		time.Sleep(time.Second)
		check("/readyz", 503, "the last block was mixed 3m1s ago")
		check("/healthz", 200, "ok")
		m.event(kernel.Event{Time: time.Now(), Result: kernel.Result{Mixed: 1024}})
		check("/readyz", 200, "ok")
		check("/", 404, "")
		if w := get(m, http.MethodPost, "/metrics"); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("POST answers %d", w.Code)
		}
	})
}

// TestFeedListens: the command serves all that while it runs. With --log-format json each
// line on stderr is JSON, and stdout is empty.
func TestFeedListens(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux's pool can be fed")
	}
	serve(t, qrypttest.Config{})
	for _, format := range []string{"text", "json"} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c, out, _ := screen(false, nil)
		log, stderr := io.Pipe()
		c.err = stderr
		ended := make(chan int, 1)
		go func() {
			ended <- execute(ctx, []string{"feed", "--listen", "127.0.0.1:0", "--log-format", format}, c)
			stderr.Close()
		}()
		lines := bufio.NewScanner(log)
		address, last := "", ""
		fields := map[string]any{}
		for lines.Scan() {
			last = lines.Text()
			if format == "text" {
				_, address, _ = strings.Cut(strings.TrimSuffix(last, "/metrics"), "http://")
			} else if err := json.Unmarshal(lines.Bytes(), &fields); err != nil {
				t.Errorf("%s is no JSON: %v", last, err)
			} else if at, ok := fields["address"].(string); ok {
				address = at
			}
			if address != "" {
				break
			}
		}
		if address == "" {
			t.Fatalf("it does not say where it listens: %q", last)
		}
		rest := make(chan []string, 1)
		go func() {
			var all []string
			for lines.Scan() {
				all = append(all, lines.Text())
			}
			rest <- all
		}()
		ask := func(path string) (int, string) {
			resp, err := http.Get("http://" + address + path)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, string(text)
		}
		eventually(func() bool { status, _ := ask("/readyz"); return status == 200 })
		if status, text := ask("/metrics"); status != 200 || !strings.Contains(text, "\nqrand_feed_up 1\n") || !strings.Contains(text, "\nqrand_feed_emulated_blocks_total 1\n") {
			t.Errorf("%d, %s", status, text)
		}
		cancel()
		if status := <-ended; status != exitOK {
			t.Errorf("%s: status %d", format, status)
		}
		if _, err := http.Get("http://" + address + "/healthz"); err == nil {
			t.Error("it is served after its end")
		}
		all := <-rest
		if format == "text" {
			if !strings.HasPrefix(out.String(), "mixed 1024 bytes of EMULATED entropy") || len(all) > 0 {
				t.Errorf("stdout is %q, stderr %q", out, all)
			}
			continue
		}
		if out.Len() > 0 || len(all) < 2 || !strings.Contains(all[len(all)-1], `"msg":"feed: stopped","mixed":1,"emulated":1,`) {
			t.Errorf("stdout is %q, stderr %q", out, all)
		}
		for _, line := range all {
			if err := json.Unmarshal([]byte(line), &fields); err != nil {
				t.Errorf("%s is no JSON: %v", line, err)
			}
		}
	}
}

// TestFeedMonitoring: alerts, dashboards and docs say what is so.
func TestFeedMonitoring(t *testing.T) {
	monitoring.Check(t, "../..", "qrand_feed_", newFeedMonitor(time.Minute).registry)
}
