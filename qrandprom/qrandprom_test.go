package qrandprom

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"example.com/qrand"
	"example.com/qrand/internal/monitoring"
	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
)

// series are all series of a registry, with what they are.
func series(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, family := range families {
		for _, m := range family.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			all[strings.TrimPrefix(family.GetName(), "qrand_source_")+"{"+strings.Join(labels, ",")+"}"] = m.Gauge.GetValue() + m.Counter.GetValue()
		}
	}
	return all
}

// TestStatus: each number of a Status is in its metric. No series is missing at first that
// comes later, except times.
func TestStatus(t *testing.T) {
	at := func(n int64) time.Time { return time.Unix(1_700_000_000+n, 500_000_000) }
	st := qrand.Status{
		State: qrand.Degraded, Reason: qrand.QuotaReached, Since: at(1), Mix: qrand.MixRekey, Policy: qrand.RequireFresh,
		MaxAgeSeconds: 600, Stale: true, LastBlock: at(2), LastReceived: at(3), LastAnswer: at(4), NextRequest: at(5), Emulated: true,
		Blocks: 6, OSReseeds: 7, Stock: 8, Accepted: 9, RefusedBlocks: 10, Reads: 11, Bytes: 12, ReadsBeforeBlock: 13, BytesBeforeBlock: 14, RefusedReads: 15,
		Requests: 100, Failures: map[qrand.Reason]int64{qrand.QuotaReached: 16, qrand.Failed: 17, qrand.NoToken: 18},
		LastEndpoint: "https://secret.example", LastError: "an error", Fingerprints: []string{"a fingerprint"},
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(func() qrand.Status { return st }, "keys"))
	got := series(t, registry)
	const zero = 1_700_000_000.5
	want := map[string]float64{
		`state{source="keys",state="Degraded"}`:                 1,
		`state_since_timestamp_seconds{source="keys"}`:          zero + 1,
		`degraded_reason{reason="quota_reached",source="keys"}`: 1,
		`seeded{source="keys"}`:                                 1,
		`emulated{source="keys"}`:                               1,
		`stale{source="keys"}`:                                  1,
		`max_age_seconds{source="keys"}`:                        600,
		`last_block_timestamp_seconds{source="keys"}`:           zero + 2,
		`last_block_received_timestamp_seconds{source="keys"}`:  zero + 3,
		`last_answer_timestamp_seconds{source="keys"}`:          zero + 4,
		`next_request_timestamp_seconds{source="keys"}`:         zero + 5,
		`requests_total{result="quota_reached",source="keys"}`:  16,
		`requests_total{result="failed",source="keys"}`:         17,
		`requests_total{result="no_token",source="keys"}`:       18,
		`requests_total{result="ok",source="keys"}`:             100 - 16 - 17,
		`accepted_blocks_total{source="keys"}`:                  9,
		`refused_blocks_total{source="keys"}`:                   10,
		`stock_blocks{source="keys"}`:                           8,
		`reseeds_total{source="keys",with="block"}`:             6,
		`reseeds_total{source="keys",with="crypto_rand"}`:       7,
		`reads_total{source="keys"}`:                            11,
		`read_bytes_total{source="keys"}`:                       12,
		`reads_before_block_total{source="keys"}`:               13,
		`read_bytes_before_block_total{source="keys"}`:          14,
		`refused_reads_total{source="keys"}`:                    15,
	}
	for name, v := range got {
		switch {
		case strings.HasPrefix(name, "info{"):
			if v != 1 || !strings.Contains(name, `mix="MixRekey",policy="RequireFresh",source="keys",version="`) {
				t.Errorf("%s is %v", name, v)
			}
		case v != want[name]:
			t.Errorf("%s is %v, want %v", name, v, want[name])
		}
	}
	for name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("there is no %s", name)
		}
	}
	if len(got) > 65 {
		t.Errorf("a Source has %d series: the doc says about 60", len(got))
	}
	if shown := fmt.Sprint(got); strings.Contains(shown, "secret") || strings.Contains(shown, "an error") || strings.Contains(shown, "fingerprint") {
		t.Error("a text that may be anything is in a label")
	}

	st = qrand.Status{Since: at(1)}
	first := series(t, registry)
	for name := range got {
		if _, ok := first[name]; !ok && !strings.Contains(name, "timestamp") && !strings.Contains(name, "max_age") && !strings.Contains(name, "info") {
			t.Errorf("at first there is no %s", name)
		}
	}
	st.State, st.Blocks = qrand.Closed, 3
	if closed := series(t, registry); closed[`seeded{source="keys"}`] != 0 || closed[`state{source="keys",state="Closed"}`] != 1 {
		t.Errorf("a closed Source is %v", closed)
	}
}

// randomBlocks are a service that is always there.
type randomBlocks struct{}

func (randomBlocks) Blocks(_ context.Context, n int) (blocks []qrypt.Block, err error) {
	p := make([]byte, qrypt.BlockSize)
	for range n {
		rand.Read(p)
		b, err := qrypt.NewBlock(p, qrypt.Origin{Endpoint: "test"})
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

func newSource(t *testing.T, cfg qrand.Config) *qrand.Source {
	t.Helper()
	cfg.Blocks, cfg.Logger = randomBlocks{}, slog.New(slog.DiscardHandler)
	src, err := qrand.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	if err := src.WaitSeeded(t.Context()); err != nil {
		t.Fatal(err)
	}
	return src
}

// TestSources: several Sources are side by side. One name is taken once. The names of the
// metrics are as Prometheus wants them, and a closed Source says so.
func TestSources(t *testing.T) {
	keys, nonces := newSource(t, qrand.Config{Policy: qrand.RequireFresh}), newSource(t, qrand.Config{Mix: qrand.MixRekey})
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewCollector(keys, "keys"), NewCollector(nonces, "nonces"), NewCollector(new(qrand.Source), "zero"))
	var taken prometheus.AlreadyRegisteredError
	if err := registry.Register(NewCollector(nonces, "keys")); !errors.As(err, &taken) {
		t.Errorf("a name that is taken: %v", err)
	}
	if _, err := keys.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	keys.Close()
	if _, err := keys.Read(make([]byte, 100)); err != qrand.ErrClosed {
		t.Errorf("a Read of a closed Source: %v", err)
	}
	got := series(t, registry)
	for name, want := range map[string]float64{
		`state{source="keys",state="Closed"}`:   1,
		`seeded{source="keys"}`:                 0,
		`read_bytes_total{source="keys"}`:       100,
		`refused_reads_total{source="keys"}`:    1,
		`max_age_seconds{source="keys"}`:        600,
		`state{source="nonces",state="Seeded"}`: 1,
		`seeded{source="nonces"}`:               1,
		`read_bytes_total{source="nonces"}`:     0,
		`state{source="zero",state="Starting"}`: 1,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestNil: a Source that is nil is noticed at once.
func TestNil(t *testing.T) {
	defer func() {
		if text, _ := recover().(string); !strings.HasPrefix(text, "qrandprom: the Source is nil") {
			t.Errorf("it says %q", text)
		}
	}()
	NewCollector(nil, "keys")
}

// TestReasons: every Reason has a series, or it would be seen at its second time only.
func TestReasons(t *testing.T) {
	for _, r := range []qrand.Reason{
		qrand.RateLimited, qrand.NoSupply, qrand.ServerError, qrand.Unreachable, qrand.TLSFailed, qrand.TimedOut, qrand.QuotaReached, qrand.Unauthorized,
		qrand.NoToken, qrand.BadRequest, qrand.Malformed, qrand.Redirected, qrand.Unhealthy, qrand.Repeated, qrand.TooOld, qrand.Emulated, qrand.Failed,
	} {
		n := 0
		for _, known := range supply.Reasons() {
			if known == string(r) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s is %d times among the reasons", string(r), n)
		}
	}
}

// TestMonitoring: alerts, dashboards and docs say what is so.
func TestMonitoring(t *testing.T) {
	monitoring.Check(t, "..", "qrand_source_", newCollector(nil, "keys"))
}
