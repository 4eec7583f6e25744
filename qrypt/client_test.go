package qrypt

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestNewRefuses(t *testing.T) {
	token := StaticToken("token")
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "set Config.Token"},
		{Config{Token: token, Endpoints: []string{}}, "leave Endpoints nil"},
		{Config{Token: token, Dialect: -1}, "use DialectQuantumEntropy or DialectOpenAPI"},
		{Config{Token: token, Dialect: 2}, "use DialectQuantumEntropy or DialectOpenAPI"},
		{Config{Token: token, Timeout: -1}, "Timeout is negative"},
		{Config{Token: token, Endpoints: []string{EndpointEUS, "http://there.example"}}, "endpoint 2 of 2: plain http"},
	} {
		client, err := New(c.cfg)
		if client != nil || err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "qrypt: ") {
			t.Errorf("%v: %v, want %q", c.cfg, err, c.want)
		}
	}
	if _, err := New(Config{}); !errors.Is(err, ErrNoToken) {
		t.Error(err)
	}
}

func TestNewDefaults(t *testing.T) {
	c := mustNew(t, Config{Token: StaticToken("token")})
	if want := []string{EndpointEUS, EndpointWEU}; !reflect.DeepEqual(c.Endpoints(), want) {
		t.Errorf("endpoints %q, want %q", c.Endpoints(), want)
	}
	if c.timeout != 30*time.Second {
		t.Errorf("timeout %v", c.timeout)
	}
	const want = "qrypt.Client(quantum-entropy, [https://api-eus.qrypt.com https://api-weu.qrypt.com])"
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, c); got != want {
			t.Errorf("%s: %s", format, got)
		}
	}

	c.Endpoints()[0] = "changed"
	if c.Endpoints()[0] != EndpointEUS {
		t.Error("Endpoints returned the client's own memory")
	}
	given := []string{"https://there.example/"}
	c = mustNew(t, Config{Token: StaticToken("token"), Endpoints: given})
	given[0] = "changed"
	if got := c.Endpoints()[0]; got != "https://there.example" {
		t.Errorf("endpoint %q", got)
	}
}

func TestNewHTTPClient(t *testing.T) {
	a, b := NewHTTPClient().Transport.(*http.Transport), NewHTTPClient().Transport.(*http.Transport)
	if a == b || a.TLSClientConfig == b.TLSClientConfig {
		t.Error("clients share what a caller may change")
	}
	if a.TLSHandshakeTimeout <= 0 || a.ResponseHeaderTimeout <= 0 || a.MaxResponseHeaderBytes <= 0 || a.Proxy == nil {
		t.Errorf("a phase without limit, or no proxy: %+v", a)
	}
}

// A Client that New did not make fails, in words that say so, and does not panic.
func TestClientNotMade(t *testing.T) {
	for _, c := range []struct {
		client *Client
		want   string // in the error
		print  string
	}{
		{nil, "error of New", "qrypt.Client(nil)"},
		{&Client{}, "made by New", "qrypt.Client(quantum-entropy, [])"},
		{&Client{dialect: DialectOpenAPI}, "made by New", "qrypt.Client(open-api, [])"},
	} {
		for _, n := range []int{0, 1, MaxBlocks} {
			if blocks, err := c.client.Blocks(t.Context(), n); blocks != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: %d blocks, error %v", c.client, len(blocks), err)
			}
		}
		if c.client.TokenChanged(t.Context()) {
			t.Errorf("%v has another token", c.client)
		}
		if len(c.client.Endpoints()) != 0 || len(c.client.Each()) != 0 {
			t.Errorf("%v has %q and %v", c.client, c.client.Endpoints(), c.client.Each())
		}
		for _, print := range []string{c.client.String(), c.client.GoString(), fmt.Sprintf("%v", c.client), fmt.Sprintf("%#v", c.client)} {
			if print != c.print {
				t.Errorf("prints as %s, want %s", print, c.print)
			}
		}
	}
}

func TestNilContext(t *testing.T) {
	requests := 0
	h := countingClient(&requests)
	var none context.Context
	for _, c := range []*Client{
		mustNew(t, Config{Token: StaticToken("token"), HTTPClient: h}),
		mustNew(t, Config{Dialect: DialectOpenAPI, HTTPClient: h}),
	} {
		if blocks, err := c.Blocks(none, 1); blocks != nil || err == nil || !strings.Contains(err.Error(), "nil Context") {
			t.Errorf("%d blocks, error %v", len(blocks), err)
		}
		if c.TokenChanged(none) {
			t.Error("there is another token")
		}
		mustBlocks(t, c, 1) // and nobody is left in its queue
	}
}

// A Transport that is not nil, but holds nothing.
func TestTransportOfNothing(t *testing.T) {
	for _, transport := range []http.RoundTripper{(*http.Transport)(nil), (*farNetwork)(nil), roundTrip(nil)} {
		c, err := New(Config{Token: StaticToken("token"), HTTPClient: &http.Client{Transport: transport}})
		if c != nil || err == nil || !strings.HasPrefix(err.Error(), "qrypt: ") || !strings.Contains(err.Error(), fmt.Sprintf("%T", transport)) {
			t.Errorf("%T: %v", transport, err)
		}
	}
}

// What another transport may leave out of an answer.
func TestAnswersWithNilParts(t *testing.T) {
	for _, c := range []struct {
		name  string
		res   *http.Response
		class error
	}{
		{"no answer", nil, ErrNetwork},
		{"nothing", &http.Response{}, ErrMalformed},
		{"no header", &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, ErrMalformed},
		{"no body", &http.Response{StatusCode: http.StatusOK, Header: reply(200, nil).Header}, ErrMalformed},
		{"no body of some length", &http.Response{StatusCode: http.StatusOK, ContentLength: 7}, ErrNetwork},
		{"redirect without header", &http.Response{StatusCode: http.StatusFound, Body: http.NoBody}, ErrRedirected},
		{"refusal without header", &http.Response{StatusCode: http.StatusTooManyRequests}, ErrRateLimited},
	} {
		h := roundTrip(func(*http.Request) (*http.Response, error) { return c.res, nil }).client()
		if e := mustFail(t, mustNew(t, Config{Token: StaticToken("token"), HTTPClient: h}), 1, c.class); e.RetryAfter != 0 {
			t.Errorf("%s: %v", c.name, e)
		}
	}
}

func TestDialects(t *testing.T) {
	for name, d := range map[string]Dialect{"quantum-entropy": DialectQuantumEntropy, "open-api": DialectOpenAPI} {
		if got, err := ParseDialect(name); got != d || err != nil || d.String() != name {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "Open-API", "open-api ", "openapi", "Dialect(1)", secretToken} {
		_, err := ParseDialect(name)
		if err == nil || !strings.Contains(err.Error(), "quantum-entropy or open-api") {
			t.Errorf("%q: %v", name, err)
		}
		checkSilent(t, err, []byte(secretToken))
	}
	if Dialect(-1).String() != "Dialect(-1)" || Dialect(2).String() != "Dialect(2)" {
		t.Error("unknown dialects have no number")
	}
}
