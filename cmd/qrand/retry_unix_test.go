//go:build unix

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"example.com/qrand/qrypt"
)

// TestRelayRetry: SIGUSR1 makes a relay ask again the service that refused the token.
func TestRelayRetry(t *testing.T) {
	k := newKillable(t)
	service := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer service.Close()
	k.env = append(k.env, qrypt.EnvEndpoints+"="+service.URL)
	k.start(t)
	client := k.target.Client()
	refused := func() string {
		resp, err := client.Get("https://" + k.target.Addr + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		n := regexp.MustCompile(`qrand_relay_upstream_requests_total\{result="unauthorized"\} (\d+)`).FindSubmatch(text)
		if n == nil {
			return "0"
		}
		return string(n[1])
	}
	for i := range 3 {
		for deadline := time.Now().Add(time.Minute); refused() != strconv.Itoa(i+1); {
			if time.Now().After(deadline) {
				t.Fatalf("%s requests were refused, want %d: %s", refused(), i+1, k.log.String())
			}
		}
		if err := k.process.Process.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := k.process.Wait(); err != nil {
		t.Errorf("%v: %s", err, k.log.String())
	}
}
