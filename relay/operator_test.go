package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"example.com/qrand/relay/clients"
	"example.com/qrand/relay/internal/page"
	"example.com/qrand/relay/internal/testca"
)

// arrived is a request as a server has it that listens on to, from such an address.
func arrived(method, target, from, to string) *http.Request {
	local := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(to))
	req := httptest.NewRequestWithContext(context.WithValue(context.Background(), http.LocalAddrContextKey, local), method, target, nil)
	req.RemoteAddr = from
	return req
}

// TestOperator: who sees the operator's pages.
func TestOperator(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 4})
		strict := newTestRelay(t, Config{Stock: 4, OperatorTokenAlways: true})
		operator := o.client(clients.Client{Name: "operator", Operator: true})
		const far, near, here = "192.0.2.1:1234", "127.0.0.1:1234", "127.0.0.1:8443"
		bearer := func(tokens ...string) http.Header {
			h := http.Header{}
			for _, token := range tokens {
				h.Add("Authorization", "Bearer "+token)
			}
			return h
		}
		for _, test := range []struct {
			name, from, to, host string
			header               http.Header
			seen                 bool
		}{
			{"from this host", near, here, "localhost:8443", nil, true},
			{"from this host by IPv6", "[::1]:1234", "[::1]:8443", "[::1]:8443", nil, true},
			{"from this host, mapped", "[::ffff:127.0.0.1]:1234", here, "127.0.0.1", nil, true},
			{"from afar", far, here, "relay.example", nil, false},
			{"from afar, as localhost", far, here, "localhost", nil, false},
			{"by a name that points here", near, here, "rebound.example:8443", nil, false},
			{"by a name that begins like ours", near, here, "localhost.example", nil, false},
			{"through a proxy here", near, here, "localhost", http.Header{"X-Forwarded-For": {"192.0.2.1"}}, false},
			{"through another proxy", near, here, "localhost", http.Header{"Forwarded": {"for=192.0.2.1"}}, false},
			{"through a third", near, here, "localhost", http.Header{"Via": {"1.1 proxy"}}, false},
			{"through a service mesh's proxy", "127.0.0.6:1234", here, "localhost", nil, false},
			{"through one to the host's address", near, "192.0.2.7:8443", "localhost", nil, false},
			{"with a token", far, here, "relay.example", bearer(operator), true},
			{"with a password", far, here, "relay.example", http.Header{"Authorization": {basic("anybody", operator)}}, true},
			{"with a client's token", far, here, "relay.example", bearer(o.token), false},
			{"with a wrong token", far, here, "relay.example", bearer("wrong"), false},
			{"with a wrong password", far, here, "relay.example", http.Header{"Authorization": {basic("operator", "wrong")}}, false},
			{"with a wrong token, from here", near, here, "localhost", bearer("wrong"), false},
			{"with two tokens", far, here, "relay.example", bearer(operator, operator), false},
			{"with a password and a token", far, here, "relay.example", http.Header{"Authorization": {basic("anybody", operator), "Bearer wrong"}}, false},
		} {
			for _, path := range []string{"/", "/metrics"} {
				req := arrived("GET", path, test.from, test.to)
				req.Host, req.Header = test.host, test.header
				w := httptest.NewRecorder()
				o.ServeHTTP(w, req)
				if want := map[bool]int{true: 200, false: 401}[test.seen]; w.Code != want {
					t.Errorf("%s: GET %s: %d, want %d", test.name, path, w.Code, want)
				}
				if !test.seen && !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
					t.Errorf("%s: a browser would not ask for the token: %v", test.name, w.Header())
				}
				if w := httptest.NewRecorder(); test.header == nil {
					if strict.ServeHTTP(w, req); w.Code != 401 {
						t.Errorf("%s, where a token is always needed: GET %s: %d", test.name, path, w.Code)
					}
				}
			}
		}
		token := strict.client(clients.Client{Name: "operator", Operator: true})
		if w := strict.ask(token, "GET", "/metrics"); w.Code != 200 {
			t.Errorf("with a token, where it is always needed: %d", w.Code)
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

// TestOperatorCertificate: over TLS from afar, by what is in the certificate.
func TestOperatorCertificate(t *testing.T) {
	list := openList(t, listFile(t, `{"clients":[{"name":"ops","certificate":"ops.example","operator":true},{"name":"db","certificate":"db.example"}]}`))
	r, err := New(Config{Blocks: newFakeService(t), Clients: list, Stock: 4, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ca := testca.New(t)
	server := httptest.NewUnstartedServer(r)
	server.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: x509.NewCertPool()}
	server.TLS.ClientCAs.AddCert(ca.Certificate)
	server.StartTLS()
	defer server.Close()
	for name, want := range map[string]int{"ops.example": 200, "db.example": 401, "other.example": 401} {
		transport := server.Client().Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.Certificates = []tls.Certificate{ca.Issue(t, name)}
		for _, path := range []string{"/", "/metrics"} {
			req, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = "relay.example" // which is not this host's own name
			resp, err := (&http.Client{Transport: transport}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("GET %s with a certificate for %s: %d, want %d", path, name, resp.StatusCode, want)
			}
		}
		transport.CloseIdleConnections()
	}
}

func basic(user, password string) string {
	req := httptest.NewRequest("GET", "/", nil)
	req.SetBasicAuth(user, password)
	return req.Header.Get("Authorization")
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

// TestMetrics: the metrics are the accounts.
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

// TestOperatorLogged: a line for each request for an operator's page, with whose
// it was; none for the probes, and none of them counts as one for entropy.
func TestOperatorLogged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 4})
		operator := o.client(clients.Client{Name: "boss", Operator: true})
		pieces(t, o.quantum(o.token, 1))
		o.log.Reset()
		o.ask(operator, "GET", "/metrics")
		o.ask(o.token, "GET", "/")
		o.ask("", "GET", "/")
		o.ask(operator, "POST", "/")
		req := arrived("GET", "/", "127.0.0.1:1234", "127.0.0.1:8443")
		req.Host = "localhost"
		o.ServeHTTP(httptest.NewRecorder(), req)
		for _, path := range []string{"/healthz", "/readyz", page.StylePath, "/nothing"} {
			o.ask("", "GET", path)
		}
		lines := strings.Split(strings.TrimSpace(o.log.String()), "\n")
		want := []string{
			"client=boss call=/metrics status=200 bytes=0", "client=app call=/ status=401 bytes=0", `client="" call=/ status=401 bytes=0`,
			`client="" call=/ status=405 bytes=0`, `client="(this host)" call=/ status=200 bytes=0`,
		}
		if len(lines) != len(want) {
			t.Fatalf("logged\n%s", o.log)
		}
		for i, line := range lines {
			if !strings.Contains(line, want[i]) {
				t.Errorf("%s\nwant %s", line, want[i])
			}
		}
		if n := o.metric("requests_total"); n != 1 {
			t.Errorf("%v requests for entropy, want 1", n)
		}
	})
}

// TestAccessLog: a line for each request, without what the client sent; and those
// who try tokens do not fill the disk.
func TestAccessLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 8})
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
		if n := strings.Count(o.log.String(), "msg=request"); n > 2*unknownLogged {
			t.Errorf("%d lines for 1000 wrong tokens", n)
		}
		time.Sleep(time.Second)
		o.log.Reset()
		for range 100 {
			o.ask("", "DELETE", quantumPath)
			o.ask("", "POST", "/metrics")
		}
		if n := strings.Count(o.log.String(), "msg=request"); n > 2*unknownLogged {
			t.Errorf("%d lines for 200 requests of who is not known", n)
		}
		time.Sleep(time.Second)
		o.log.Reset()
		o.ask("wrong", "GET", quantumPath)
		if !strings.Contains(o.log.String(), "unlogged=1") {
			t.Errorf("what is not logged is not counted:\n%s", o.log)
		}
	})
}
