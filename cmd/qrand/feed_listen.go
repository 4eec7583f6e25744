package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"example.com/qrand/internal/supply"
	"example.com/qrand/internal/version"
	"example.com/qrand/kernel"
)

// A feedMonitor shows how a feed is: /metrics for Prometheus, /healthz and /readyz for probes.
type feedMonitor struct {
	registry *prometheus.Registry
	interval time.Duration

	mixed, emulated, reseeds, credited prometheus.Counter
	failures                           *prometheus.CounterVec
	up                                 prometheus.Gauge
	lastMixed, next                    *prometheus.GaugeVec // without labels; a GaugeVec has no series before the first Set

	mu    sync.Mutex
	began time.Time
	last  time.Time // when a block was mixed
}

// notMixed is the reason of a failure that is the kernel's, in place of one of the service's.
const notMixed = "kernel"

func newFeedMonitor(interval time.Duration) *feedMonitor {
	m := &feedMonitor{registry: prometheus.NewRegistry(), interval: interval, began: time.Now()}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "qrand_feed", Name: name, Help: help})
		m.registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "qrand_feed", Name: name, Help: help}, labels)
		m.registry.MustRegister(g)
		return g
	}
	m.mixed = counter("mixed_blocks_total", "Blocks of 1,024 bytes that were mixed into the kernel's pool.")
	m.emulated = counter("emulated_blocks_total", "Blocks of an emulator among the mixed ones: not quantum entropy.")
	m.reseeds = counter("reseeds_total", "Times that the kernel was told to reseed, and did.")
	m.credited = counter("credited_bytes_total", "Bytes of entropy that the kernel was told the blocks have.")
	m.failures = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "qrand_feed", Name: "failures_total",
		Help: "Attempts that mixed nothing, by reason: of the service, or kernel."}, []string{"reason"})
	m.registry.MustRegister(m.failures)
	for _, reason := range append(supply.Reasons(), notMixed) { // rate() does not see a counter's first step
		m.failures.WithLabelValues(reason)
	}
	m.up = gauge("up", "1 if the last attempt mixed a block.").WithLabelValues()
	m.lastMixed = gauge("last_mixed_timestamp_seconds", "When a block was last mixed, if one was.")
	m.next = gauge("next_attempt_timestamp_seconds", "When the next attempt is due.")
	gauge("interval_seconds", "The time from one block to the next, while all is well.").WithLabelValues().Set(interval.Seconds())
	gauge("build_info", "1; the labels say which program this is.", "version", "go").WithLabelValues(version.Get(), runtime.Version()).Set(1)
	return m
}

func (m *feedMonitor) event(e kernel.Event) {
	seconds := func(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
	if !e.Next.IsZero() {
		m.next.WithLabelValues().Set(seconds(e.Next))
	}
	if e.Err != nil {
		reason := string(e.Reason)
		if reason == "" {
			reason = notMixed
		}
		m.failures.WithLabelValues(reason).Inc()
		m.up.Set(0)
		return
	}
	m.mixed.Inc()
	m.credited.Add(float64(e.Result.Credited) / 8)
	if e.Result.Origin.Emulated {
		m.emulated.Inc()
	}
	if e.Result.Reseeded {
		m.reseeds.Inc()
	}
	m.up.Set(1)
	m.lastMixed.WithLabelValues().Set(seconds(e.Time))
	m.mu.Lock()
	m.last = e.Time
	m.mu.Unlock()
}

// readyIntervals is how many intervals may pass without a block while a feed is ready.
const readyIntervals = 3

// notReady says why the feed is not ready; empty if it is.
func (m *feedMonitor) notReady() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	since := time.Since(m.last)
	switch {
	case m.last.IsZero():
		return fmt.Sprintf("no block was mixed in the %v since the start", time.Since(m.began).Round(time.Second))
	case since > readyIntervals*m.interval:
		return fmt.Sprintf("the last block was mixed %v ago", since.Round(time.Second))
	}
	return ""
}

func (m *feedMonitor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case r.URL.Path != "/metrics" && r.URL.Path != "/healthz" && r.URL.Path != "/readyz":
		http.NotFound(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this path only knows GET", http.StatusMethodNotAllowed)
	case r.URL.Path == "/metrics":
		promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	default:
		if why := m.notReady(); why != "" && r.URL.Path == "/readyz" {
			http.Error(w, why, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}

// maxFeedConns is enough for every Prometheus and every probe. Whoever holds more connections
// than that keeps others out for seconds, and costs the feed no memory.
const maxFeedConns = 32

// serve serves on a listener until the returned function is called, which returns the error
// of the server, if any. failed is called if the server ends before.
func (m *feedMonitor) serve(l net.Listener, failed func()) (stop func() error) {
	server := &http.Server{
		Handler:        m,
		ReadTimeout:    5 * time.Second,
		WriteTimeout:   10 * time.Second,
		IdleTimeout:    15 * time.Second,
		MaxHeaderBytes: 8 << 10,
		ErrorLog:       slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // anybody who connects could fill it
	}
	result := make(chan error, 1)
	go func() {
		err := server.Serve(netutil.LimitListener(l, maxFeedConns))
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		} else {
			failed()
		}
		result <- err
	}()
	return func() error {
		server.Close()
		return <-result
	}
}
