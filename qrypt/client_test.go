package qrypt

import (
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
		{Config{Token: token, Timeout: -1}, "negative Timeout"},
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

func TestNilClient(t *testing.T) {
	var c *Client
	if blocks, err := c.Blocks(t.Context(), 1); blocks != nil || err == nil || !strings.Contains(err.Error(), "error of New") {
		t.Error(err)
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
