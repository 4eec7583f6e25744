package qrypt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// TestProxyRefuses: what a proxy answers to a CONNECT is told with its status, and without
// its words. It is not the service's refusal of a token, nor its limit or quota.
func TestProxyRefuses(t *testing.T) {
	const words = "WORDS-of-the-proxy"
	for _, status := range []int{301, 400, 401, 403, 407, 429, 500, 502, 503} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodConnect {
				t.Errorf("the proxy got %s", r.Method)
			}
			w.Header().Set("Retry-After", "3600")
			http.Error(w, words, status)
		}))
		defer proxy.Close()
		through, err := url.Parse(proxy.URL)
		if err != nil {
			t.Fatal(err)
		}
		for name, h := range map[string]*http.Client{
			"ours": NewHTTPClient(), "the caller's": {Transport: &http.Transport{}},
			"the caller's, with a function": {Transport: &http.Transport{OnProxyConnectResponse: func(context.Context, *url.URL, *http.Request, *http.Response) error { return nil }}},
		} {
			h.Transport.(*http.Transport).Proxy = http.ProxyURL(through)
			c := mustNew(t, Config{Endpoints: []string{"https://service.example"}, Token: StaticToken("t"), HTTPClient: h})
			_, err = c.Blocks(t.Context(), 1)
			var e *Error
			if !errors.As(err, &e) || e.Class != ErrNetwork || e.StatusCode != 0 || e.RetryAfter != 0 || !errors.Is(err, ErrProxy) ||
				!strings.Contains(err.Error(), fmt.Sprint("HTTP ", status)) || strings.Contains(err.Error(), words) {
				t.Errorf("%s, status %d: %v", name, status, err)
			}
		}
	}
}

// A caller's function for the answers of a proxy is called as before, and may refuse too.
func TestProxyAnswerOfCaller(t *testing.T) {
	s := newService(t)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { tunnel(t, w, req) }))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	var calls int
	var refuse error
	h := trusting(t, s.CAPEM())
	transport := h.Transport.(*http.Transport)
	transport.Proxy = http.ProxyURL(at)
	transport.OnProxyConnectResponse = func(context.Context, *url.URL, *http.Request, *http.Response) error {
		calls++
		return refuse
	}
	c := newClient(t, s, withHTTP(h))
	mustBlocks(t, c, 1)
	refuse = errors.New("refused by the caller")
	mustFail(t, c, 1, ErrNetwork, []byte(s.Token()))
	if calls != 2 {
		t.Errorf("called %d times", calls)
	}
}

// A proxy that is not there, or that is no proxy, is told apart from a service that is
// not there.
func TestProxyUnreachable(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { // closes each connection
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	defer silent.Close()
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	defer untrusted.Close()
	const words = "WORDS-of-the-peer"
	mail, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { // speaks another protocol than HTTP
		for {
			conn, err := mail.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(conn, "220 %s\r\n", words)
			io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	defer mail.Close()
	for proxy, want := range map[string]string{
		"http://127.0.0.1:1":                 "it cannot be reached: connection refused",
		"socks5://127.0.0.1:1":               "it cannot be reached: connection refused",
		"socks5://" + silent.Addr().String(): "SOCKS failed, or was refused: ",
		untrusted.URL:                        "it cannot be reached: its certificate is refused",
		"http://" + silent.Addr().String():   "it does not answer our CONNECT as a proxy does: ",
		"http://" + mail.Addr().String():     "it does not answer our CONNECT as a proxy does: the HTTP exchange failed",
	} {
		at, err := url.Parse(proxy)
		if err != nil {
			t.Fatal(err)
		}
		h := NewHTTPClient()
		h.Transport.(*http.Transport).Proxy = http.ProxyURL(at)
		c := mustNew(t, Config{Endpoints: []string{"https://service.invalid"}, Token: StaticToken("token"), HTTPClient: h})
		if e := mustFail(t, c, 1, ErrNetwork); !strings.Contains(e.Error(), "cannot be reached: no connection through the proxy: "+want) || !errors.Is(e, ErrProxy) || strings.Contains(e.Error(), words) {
			t.Errorf("%s: %v", proxy, e)
		}
	}
}
