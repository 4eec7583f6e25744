package relay

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// TestDeviceCalls: a client may ask what the relay gives, and how its blocks did in the health
// tests. Others may not, and the rate limit counts it.
func TestDeviceCalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		service := newFakeService(t)
		service.err = &qrypt.Error{Class: qrypt.ErrNoSupply}
		o := newTestRelay(t, Config{Stock: 8, BatchBlocks: 4, Blocks: service})
		synctest.Wait()
		if w := o.ask(o.token, "GET", "/api/v1/healthtest"); w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("before the first block: %d %s", w.Code, w.Body)
		}
		service.set(func() { service.err = nil })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		w := o.ask(o.token, "GET", "/api/v1/capabilities")
		var caps struct{ Entropy map[string]int }
		if err := json.Unmarshal(w.Body.Bytes(), &caps); err != nil || w.Code != 200 || caps.Entropy["max_block_size"] != 8192 || caps.Entropy["max_block_count"] != 512 || caps.Entropy["min_block_size"] != 1 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		pieces(t, o.keys(o.token, caps.Entropy["max_block_size"]/2, 1))
		w = o.ask(o.token, "GET", "/api/v1/healthtest")
		var health struct {
			Results []map[string]string `json:"test_result"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &health); err != nil || w.Code != 200 || len(health.Results) != 1 || !strings.HasSuffix(health.Results[0]["test_result"], "blocks passed, 0 failed and were wiped") || health.Results[0]["time_stamp"] == "" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		slow := o.client(clients.Client{Name: "slow", Rate: 1})
		for _, test := range []struct {
			token, method string
			want          int
		}{{"", "GET", 401}, {"wrong", "GET", 401}, {o.token, "POST", 405}, {slow, "GET", 200}, {slow, "GET", 429}} {
			if w := o.ask(test.token, test.method, "/api/v1/capabilities"); w.Code != test.want {
				t.Errorf("%+v: %d", test, w.Code)
			}
		}
	})
}
