package relay

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"example.com/qrand/internal/monitoring"
	"example.com/qrand/relay/clients"
)

// TestMonitoring: alerts, dashboards and docs say what is so.
func TestMonitoring(t *testing.T) {
	monitoring.Check(t, "..", "qrand_relay_", newMetrics(&Relay{}).registry)
}

// TestDashboard: the relay has every metric that the dashboard for Grafana shows, and
// the dashboard shows every metric.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../deploy/grafana/qrand-relay.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr, RefID string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	pageRun(t, nil, func(w *pageRelay) {
		w.conns.Store(&connLimiter{})
		w.cfg.Certificate = loadedCertificate(t)
		addClient(t, w.path, clients.Client{Name: "leaves", Expires: time.Now().Add(time.Hour)})
		w.fail(pageRateLimited())
		for range 9 {
			w.draw(1024)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		answer := w.get("/metrics")
		if answer.Code != http.StatusOK {
			t.Fatal(answer.Code)
		}
		exposed := map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)^(qrand_relay_[a-z_]+)[{ ]`).FindAllStringSubmatch(answer.Body.String(), -1) {
			exposed[m[1]] = true
		}
		shown := map[string]bool{}
		ids := map[int]bool{}
		for _, panel := range dashboard.Panels {
			if ids[panel.ID] || panel.Title == "" || panel.GridPos.X+panel.GridPos.W > 24 || len(panel.Targets) == 0 {
				t.Errorf("panel %d, %q: its id is taken, or it is empty or too far right", panel.ID, panel.Title)
			}
			ids[panel.ID] = true
			for _, target := range panel.Targets {
				names := regexp.MustCompile(`[a-z_]*qrand[a-z_]*`).FindAllString(target.Expr, -1)
				if len(names) == 0 || strings.Count(target.Expr, "(") != strings.Count(target.Expr, ")") {
					t.Errorf("%q has %q", panel.Title, target.Expr)
				}
				for _, name := range names {
					shown[name] = true
					if !exposed[name] {
						t.Errorf("%q shows %s, which the relay does not have", panel.Title, name)
					}
				}
			}
		}
		for name := range exposed {
			if !shown[name] {
				t.Errorf("the relay has %s, which the dashboard does not show", name)
			}
		}
	})
}

// metric is the sum of the series of a metric with such labels.
func (o *testRelay) metric(name string, labels ...string) (sum float64) {
	o.t.Helper()
	families, err := o.metrics.registry.Gather()
	if err != nil {
		o.t.Fatal(err)
	}
	found := false
	for _, family := range families {
		if family.GetName() != "qrand_relay_"+name {
			continue
		}
		for _, m := range family.Metric {
			if hasLabels(m, labels) {
				found = true
				sum += m.Counter.GetValue() + m.Gauge.GetValue() + float64(m.Histogram.GetSampleCount())
			}
		}
	}
	if !found {
		o.t.Errorf("there is no metric %s %v", name, labels)
	}
	return sum
}

func hasLabels(m *dto.Metric, labels []string) bool {
	for i := 0; i < len(labels); i += 2 {
		found := false
		for _, l := range m.Label {
			found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
		}
		if !found {
			return false
		}
	}
	return true
}

// TestMetrics: the metrics are what the relay counted.
func TestMetrics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 8, BatchBlocks: 4})
		small := o.client(clients.Client{Name: "small", Rate: -1, Quota: clients.Quota{Bytes: 5000, Period: 24 * time.Hour}})
		pieces(t, o.quantum(o.token, 2))
		pieces(t, o.keys(small, 48, 2))
		o.quantum(small, 8)
		o.quantum("wrong", 1)
		o.service.set(func() { o.service.limit = 0 })
		pieces(t, o.quantum(o.token, 4))
		synctest.Wait()
		for _, test := range []struct {
			want   float64
			name   string
			labels []string
		}{
			{2*1024 - 96, "stock_bytes", nil},
			{8 * 1024, "stock_limit_bytes", nil},
			{8 * 1024, "received_bytes_total", nil},
			{6*1024 + 96, "handed_out_bytes_total", nil},
			{0, "lost_bytes_total", nil},
			{0, "expired_bytes_total", nil},
			{0, "in_flight_bytes", nil},
			{0, "refused_blocks_total", nil},
			{0, "upstream_up", nil},
			{0, "upstream_emulated", nil},
			{2, "upstream_requests_total", []string{"result", "ok"}},
			{1, "upstream_requests_total", []string{"result", "no_supply"}},
			{0, "upstream_requests_total", []string{"result", "timed_out"}}, // or its first one would not be seen
			{0, "requests_total", []string{"client", "small", "status", "503"}},
			{2, "requests_total", []string{"client", "app", "status", "200"}},
			{1, "requests_total", []string{"client", "small", "status", "200"}},
			{1, "requests_total", []string{"client", "small", "status", "403"}},
			{1, "requests_total", []string{"client", "", "status", "401"}},
			{6 * 1024, "client_bytes_total", []string{"client", "app"}},
			{96, "client_bytes_total", []string{"client", "small"}},
			{5000, "client_quota_bytes", []string{"client", "small"}},
			{96, "client_period_bytes", []string{"client", "small"}},
			{5, "request_duration_seconds", nil},
		} {
			if got := o.metric(test.name, test.labels...); got != test.want {
				t.Errorf("%s %v is %v, want %v", test.name, test.labels, got, test.want)
			}
		}
		w := o.ask("", "GET", "/metrics") // httptest's address is no loopback one
		if w.Code != 401 {
			t.Errorf("GET /metrics: %d", w.Code)
		}
	})
}
