package qrypt

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"reflect"
	"sync"
	"testing"
	"time"
)

func TestRequestAsSent(t *testing.T) {
	const token = "aaa.bbb-ccc_ddd~eee+fff/ggg="
	common := http.Header{
		"Accept":          {"application/json"},
		"Accept-Encoding": {"identity"},
		"Cache-Control":   {"no-store"},
		"User-Agent":      {"qrand"},
		"Connection":      {"close"},
	}
	for _, c := range []struct {
		name   string
		edit   func(*Config)
		method string
		uri    string
		header http.Header
		body   string
	}{
		{"quantum-entropy", func(*Config) {}, "GET", "/api/v1/quantum-entropy?size=3",
			http.Header{"Authorization": {"Bearer " + token}}, ""},
		{"open-api", withDialect(DialectOpenAPI), "POST", "/api/v1/entropy",
			http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}, "Content-Length": {"35"}},
			`{"block_size":1024,"block_count":3}`},
		{"open-api without token", func(c *Config) { c.Dialect, c.Token = DialectOpenAPI, nil }, "POST", "/api/v1/entropy",
			http.Header{"Content-Type": {"application/json"}, "Content-Length": {"35"}},
			`{"block_size":1024,"block_count":3}`},
		{"x-api-key", func(c *Config) { c.Auth = AuthAPIKey }, "GET", "/api/v1/quantum-entropy?size=3",
			http.Header{"X-Api-Key": {token}}, ""},
		{"base path", func(c *Config) { c.Endpoints[0] += "/proxy/qrypt/" }, "GET", "/proxy/qrypt/api/v1/quantum-entropy?size=3",
			http.Header{"Authorization": {"Bearer " + token}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got *http.Request
			var body []byte
			server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				got = req
				body, _ = io.ReadAll(req.Body)
			}))
			defer server.Close()
			mustFail(t, clientOf(t, server, withToken(StaticToken(token)), c.edit), 3, ErrMalformed, []byte(token))

			if got.Method != c.method || got.RequestURI != c.uri || string(body) != c.body {
				t.Errorf("%s %s %s, want %s %s %s", got.Method, got.RequestURI, body, c.method, c.uri, c.body)
			}
			want := common.Clone()
			for key, values := range c.header {
				want[key] = values
			}
			if !reflect.DeepEqual(got.Header, want) {
				t.Errorf("header %v\nwant %v", got.Header, want)
			}
		})
	}
}

// The token is asked for at each request, and sent as it is then.
func TestTokenOfEachRequest(t *testing.T) {
	s := newService(t)
	s.SetTokens("first", "second")
	next := "first"
	c := newClient(t, s, withToken(tokens(&next)))
	mustBlocks(t, c, 1)
	next = "second"
	mustBlocks(t, c, 1)
	next = "third"
	mustFail(t, c, 1, ErrUnauthorized)
	for i, r := range s.Requests() {
		if want := []int{0, 1, -2}[i]; r.Token != want {
			t.Errorf("request %d with token %d, want %d", i, r.Token, want)
		}
	}
}

// One call is one request: net/http repeats a request on a kept connection that
// turns out to be closed. So none is kept, of a caller's client neither, and no
// cookies.
func TestNothingIsSentTwice(t *testing.T) {
	var mu sync.Mutex
	requests, cookies := 0, 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		requests++
		cookies += len(req.Cookies())
		drop := requests > 1
		mu.Unlock()
		if drop {
			panic(http.ErrAbortHandler)
		}
		http.SetCookie(w, &http.Cookie{Name: "who", Value: "you"})
		w.Header().Set("Content-Type", "application/json")
		w.Write(oneBlock[DialectQuantumEntropy])
	}))
	defer server.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	plain := &http.Transport{}
	for name, h := range map[string]*http.Client{
		"default":      NewHTTPClient(),
		"no transport": {Jar: jar},
		"a transport":  {Transport: plain, Jar: jar},
	} {
		mu.Lock()
		requests = 0
		mu.Unlock()
		c := clientOf(t, server, withHTTP(h))
		mustBlocks(t, c, 1)
		mustFail(t, c, 1, ErrNetwork)
		mu.Lock()
		if requests != 2 || cookies != 0 {
			t.Errorf("%s: %d requests for 2 calls, with %d cookies", name, requests, cookies)
		}
		mu.Unlock()
	}
	if plain.DisableKeepAlives || plain.TLSClientConfig != nil && plain.TLSClientConfig.Rand != nil {
		t.Error("the caller's transport was changed")
	}
}

// A redirect to another host must not take the token there, even if the caller's client
// would follow it.
func TestRedirectIsNotFollowed(t *testing.T) {
	const token = "J5QK2M7VXW4T6NAZ3RBJ5QK2M7VXW4T6"
	visited := make(chan string, 100)
	target := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		visited <- req.Header.Get("Authorization")
	}))
	defer target.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, d := range bothDialects {
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/here" {
					visited <- "the same host"
				}
				location := target.URL + "/?" + token
				if req.Header.Get("Content-Type") == "" { // one dialect to another host, one to the same
					location = "/here?" + token
				}
				http.Redirect(w, req, location, status)
			}))
			follow := NewHTTPClient()
			follow.Transport.(*http.Transport).TLSClientConfig.RootCAs = trustIn(server.Certificate())
			follow.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
			c := clientOf(t, server, withDialect(d), withToken(StaticToken(token)), withHTTP(follow))
			if e := mustFail(t, c, 1, ErrRedirected, []byte(token)); e.StatusCode != status {
				t.Error(e)
			}
			if follow.CheckRedirect(nil, nil) != nil {
				t.Error("the caller's client was changed")
			}
			server.Close()
		}
	}
	select {
	case token := <-visited:
		t.Errorf("a redirect was followed, with %q", token)
	default:
	}
}

// Where a redirect leads need not even be an address. It is a redirect all the
// same, with what else the answer says.
func TestRedirectToNowhere(t *testing.T) {
	for i, location := range []string{"%zz", "http://[", "http://there.example:port/", ":", "https://" + secretToken + "%", "/\u0100"} {
		for _, status := range []int{300, 301, 302, 303, 304, 307, 308} {
			h := newRawServer(t, func(w io.Writer) {
				fmt.Fprintf(w, "HTTP/1.1 %d There\r\nLocation: %s\r\nRetry-After: 7\r\n\r\n", status, location)
			})
			h.token = StaticToken(fmt.Sprint("token-", i)) // with a rate limit of its own
			e := mustFail(t, h, 1, ErrRedirected, []byte(secretToken))
			if e.StatusCode != status || e.RetryAfter != 7*time.Second {
				t.Errorf("%q: %v", location, e)
			}
		}
	}
}

// A proxy sees where the client goes, and neither the token nor the blocks.
func TestProxy(t *testing.T) {
	s := newService(t)
	var connects []*http.Request
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		connects = append(connects, req)
		if req.Header.Get("Proxy-Authorization") == "" {
			w.Header().Set("Proxy-Authenticate", "Basic")
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		tunnel(t, w, req)
	}))
	defer proxy.Close()
	through := func(user *url.Userinfo) *Client {
		h := trusting(t, s.CAPEM())
		h.Transport.(*http.Transport).Proxy = func(*http.Request) (*url.URL, error) {
			u, err := url.Parse(proxy.URL)
			u.User = user
			return u, err
		}
		return newClient(t, s, withHTTP(h))
	}
	const password = "the-password-of-the-proxy"
	mustBlocks(t, through(url.UserPassword("user", password)), 2)
	mustFail(t, through(nil), 1, ErrNetwork, []byte(s.Token()))
	if len(connects) != 2 || len(s.Requests()) != 1 {
		t.Fatalf("%d requests to the proxy and %d through it", len(connects), len(s.Requests()))
	}
	for _, req := range connects {
		if req.Method != http.MethodConnect || "https://"+req.Host != s.URL {
			t.Errorf("the proxy was asked for %s %s", req.Method, req.Host)
		}
		checkSilent(t, req.Header, []byte(s.Token()))
	}
	s.Stop("api-eus")
	mustFail(t, through(url.UserPassword("user", password)), 1, ErrNetwork, []byte(s.Token()), []byte(password))
	proxy.Close()
	mustFail(t, through(url.UserPassword("user", password)), 1, ErrNetwork, []byte(s.Token()), []byte(password))
}
