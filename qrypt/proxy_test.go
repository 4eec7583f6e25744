package qrypt

import (
	"errors"
	"fmt"
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
		for name, h := range map[string]*http.Client{"ours": NewHTTPClient(), "the caller's": {Transport: &http.Transport{}}} {
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
