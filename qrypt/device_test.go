package qrypt

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

// TestDevice: what the emulator says of itself arrives, with either way to send the token.
func TestDevice(t *testing.T) {
	for _, auth := range []Auth{AuthBearer, AuthAPIKey} {
		s := newService(t)
		c := newClient(t, s, withDialect(DialectOpenAPI), func(c *Config) { c.Auth = auth })
		want := Capabilities{MinBlockSize: 1, MaxBlockSize: 512 << 10, MinBlockCount: 1, MaxBlockCount: 512, EntropyTypes: []string{"emulated"}}
		if got, err := c.Capabilities(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v: %+v, %v", auth, got, err)
		}
		if got, err := c.HealthTest(t.Context()); err != nil || len(got) != 1 || got[0].Result != "this device is emulated" {
			t.Errorf("%v: %+v, %v", auth, got, err)
		}
		mustBlocks(t, c, 1)
		for _, r := range s.Requests() {
			if r.Token != 0 {
				t.Errorf("%v: %+v came without the token", auth, r)
			}
		}
	}
	if _, err := newClient(t, newService(t)).Capabilities(t.Context()); err == nil || !strings.Contains(err.Error(), "open-api") {
		t.Errorf("in the other dialect: %v", err)
	}
	if _, err := (*Client)(nil).HealthTest(t.Context()); err == nil {
		t.Error("a nil Client")
	}
}

// TestDeviceAnswers: a device need not say all, and what is no answer is an error.
func TestDeviceAnswers(t *testing.T) {
	kind, text, status := "application/json", "", 200
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		io.WriteString(w, text)
	}))
	defer server.Close()
	c := clientOf(t, server, withDialect(DialectOpenAPI))
	for _, test := range []struct {
		text string
		want Capabilities
	}{
		{`{"entropy":{"max_block_size":4096,"max_block_count":8}}`, Capabilities{1, 4096, 1, 8, nil}},
		{`{"entropy":{"min_block_size":16,"max_block_size":32,"min_block_count":2,"max_block_count":8,"entropy_types":["a","b"],"extensions":[{}]},"healthtest":{"source_count":3}}`,
			Capabilities{16, 32, 2, 8, []string{"a", "b"}}},
	} {
		text = test.text
		if got, err := c.Capabilities(t.Context()); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	text = `{"test_result":[{"test_type":"nist_90b","test_result":0.94,"time_stamp":"then","report_link":"https://a"},{"test_type":"b","test_result":"good"}]}`
	want := []TestResult{{"nist_90b", "0.94", "then", "https://a"}, {"b", "good", "", ""}}
	if got, err := c.HealthTest(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "null", "[]", `{"entropy":null}`, `{"entropy":{"max_block_size":4096}}`, `{"entropy":{"max_block_size":-1,"max_block_count":8}}`,
		`{"entropy":{"max_block_size":1e9999,"max_block_count":8}}`, `{"entropy":{"max_block_size":1,"max_block_count":8}} x`, strings.Repeat(" ", maxDevice+1), strings.Repeat("[", 60000)} {
		text = bad
		if got, err := c.Capabilities(t.Context()); !errors.Is(err, ErrMalformed) || !reflect.DeepEqual(got, Capabilities{}) {
			t.Errorf("%.50q: %+v, %v", bad, got, err)
		}
	}
	text, kind = `{"entropy":{"max_block_size":4096,"max_block_count":8}}`, "text/html"
	if _, err := c.Capabilities(t.Context()); !errors.Is(err, ErrMalformed) {
		t.Errorf("%s: %v", kind, err)
	}
	kind, status = "application/json", http.StatusServiceUnavailable
	if _, err := c.HealthTest(t.Context()); !errors.Is(err, ErrNoSupply) {
		t.Errorf("status %d: %v", status, err)
	}
}
