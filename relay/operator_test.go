package relay

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// TestOperator: who sees the operator's pages.
func TestOperator(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t, Config{Stock: 4})
		operator := o.client(Client{Name: "operator", Operator: true})
		const far = "192.0.2.1:1234"
		for _, test := range []struct {
			name, remote, host string
			header             map[string]string
			seen               bool
		}{
			{"from this host", "127.0.0.1:1234", "localhost:8443", nil, true},
			{"from this host by IPv6", "[::1]:1234", "[::1]:8443", nil, true},
			{"from this host, mapped", "[::ffff:127.0.0.1]:1234", "127.0.0.1", nil, true},
			{"from afar", far, "relay.example", nil, false},
			{"from afar, as localhost", far, "localhost", nil, false},
			{"by a name that points here", "127.0.0.1:1234", "rebound.example:8443", nil, false},
			{"by a name that begins like ours", "127.0.0.1:1234", "localhost.example", nil, false},
			{"through a proxy here", "127.0.0.1:1234", "localhost", map[string]string{"X-Forwarded-For": "192.0.2.1"}, false},
			{"through another proxy", "127.0.0.1:1234", "localhost", map[string]string{"Forwarded": "for=192.0.2.1"}, false},
			{"through a third", "127.0.0.1:1234", "localhost", map[string]string{"Via": "1.1 proxy"}, false},
			{"with a token", far, "relay.example", map[string]string{"Authorization": "Bearer " + operator}, true},
			{"with a password", far, "relay.example", map[string]string{"Authorization": basic("anybody", operator)}, true},
			{"with a client's token", far, "relay.example", map[string]string{"Authorization": "Bearer " + o.token}, false},
			{"with a wrong token", far, "relay.example", map[string]string{"Authorization": "Bearer wrong"}, false},
			{"with a wrong password", far, "relay.example", map[string]string{"Authorization": basic("operator", "wrong")}, false},
			{"with a wrong token, from here", "127.0.0.1:1234", "localhost", map[string]string{"Authorization": "Bearer wrong"}, false},
		} {
			for _, path := range []string{"/", "/metrics"} {
				req := httptest.NewRequest("GET", path, nil)
				req.RemoteAddr, req.Host = test.remote, test.host
				for name, value := range test.header {
					req.Header.Set(name, value)
				}
				w := httptest.NewRecorder()
				o.ServeHTTP(w, req)
				if want := map[bool]int{true: 200, false: 401}[test.seen]; w.Code != want {
					t.Errorf("%s: GET %s: %d, want %d", test.name, path, w.Code, want)
				}
				if !test.seen && !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
					t.Errorf("%s: a browser would not ask for the token: %v", test.name, w.Header())
				}
			}
		}
		for _, path := range []string{"/healthz", "/readyz"} {
			req := httptest.NewRequest("GET", path, nil)
			req.RemoteAddr = far
			w := httptest.NewRecorder()
			if o.ServeHTTP(w, req); w.Code != 200 || w.Body.String() != "ok\n" {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
		if w := o.ask("", "POST", "/metrics", "x"); w.Code != 405 || w.Header().Get("Allow") == "" {
			t.Errorf("POST /metrics: %d", w.Code)
		}
		if strings.Contains(o.log.String(), operator) {
			t.Error("a token is in the log")
		}
	})
}

func basic(user, password string) string {
	req := httptest.NewRequest("GET", "/", nil)
	req.SetBasicAuth(user, password)
	return req.Header.Get("Authorization")
}

// metric is the sum of the series of a metric with such labels.
func (o *office) metric(name string, labels ...string) (sum float64) {
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

// TestMetrics: the metrics are the accounts.
func TestMetrics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t, Config{Stock: 8, BatchBlocks: 4})
		small := o.client(Client{Name: "small", Rate: -1, Quota: Quota{Bytes: 5000, Period: 24 * time.Hour}})
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

// TestAccessLog: a line for each request, without what the client sent; and those
// who try tokens do not fill the disk.
func TestAccessLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t, Config{Stock: 8})
		const secret = "qrelay_sEcReT"
		o.ask(o.token, "GET", quantumPath+"?size="+secret)
		o.ask(secret, "GET", quantumPath)
		o.ask(o.token, "POST", openPath, `{"block_size":"`+secret+`"}`)
		pieces(t, o.keys(o.token, 32, 2))
		log := o.log.String()
		if strings.Count(log, "msg=request") != 4 || strings.Contains(log, "sEcReT") {
			t.Errorf("logged\n%s", log)
		}
		if !strings.Contains(log, "client=app call=/api/v1/entropy status=200 bytes=64") {
			t.Errorf("logged\n%s", log)
		}
		o.log.Reset()
		for range 1000 {
			o.ask("wrong", "GET", quantumPath)
		}
		if n := strings.Count(o.log.String(), "msg=request"); n > 2*refusalsLogged {
			t.Errorf("%d lines for 1000 wrong tokens", n)
		}
		time.Sleep(time.Second)
		o.log.Reset()
		o.ask("wrong", "GET", quantumPath)
		if !strings.Contains(o.log.String(), "unlogged=9") {
			t.Errorf("what is not logged is not counted:\n%s", o.log)
		}
	})
}
