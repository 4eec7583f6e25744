package relay

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"example.com/qrand/relay/clients"
	"example.com/qrand/relay/internal/page"
	"example.com/qrand/relay/internal/testca"
)

// TestOperator: only an operator, or somebody on this host, sees the operator's pages.
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
			for _, path := range []string{"/", "/status.json", "/clients.csv", "/metrics"} {
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

// TestOperatorCertificate: a certificate shows an operator the pages from elsewhere.
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
		for _, path := range []string{"/", "/status.json", "/clients.csv", "/metrics"} {
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

// TestOperatorLogged: each request for an operator's page has a line with the
// client's name, and a probe has none. None of them counts as one for entropy.
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
