package relay

import (
	"bytes"
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// handTo makes a request for n blocks through Hand, and returns them.
func (o *testRelay) handTo(token string, n int) (status int, retryAfter time.Duration, got []byte) {
	key := clients.KeyOf(token)
	status, retryAfter = o.Hand(o.t.Context(), Request{
		Remote: "nats", Call: "a.subject", Blocks: n,
		Identify: func(l *clients.List) (*clients.Member, error) {
			return l.IdentifyKey(key.ID, func(*clients.Member, clients.Key) bool { return true })
		},
		Send: func(blocks []byte, _ time.Duration, _ bool) bool {
			got = bytes.Clone(blocks)
			return true
		},
	})
	return status, retryAfter, got
}

// TestHand: a request through Hand has the client's rate and quota, and those that it used
// over HTTP. It counts in the account, the metrics and the log.
func TestHand(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 64})
		for name, test := range map[string]struct {
			client     clients.Client
			before     int // requests for two blocks over HTTP
			n          int
			status     int
			retryAfter time.Duration
		}{
			"good":        {clients.Client{Name: "good", Rate: -1}, 0, 2, 200, 0},
			"rate":        {clients.Client{Name: "rate", Rate: 2}, 2, 2, 429, 5 * time.Second},
			"quota":       {clients.Client{Name: "quota", Rate: -1, Quota: clients.Quota{Bytes: 5 << 10, Period: time.Hour}}, 2, 2, 403, -1},
			"operator":    {clients.Client{Name: "operator", Operator: true}, 0, 2, 401, 0},
			"too many":    {clients.Client{Name: "toomany", Rate: -1}, 0, 65, 400, 0},
			"out of them": {clients.Client{Name: "outofthem", Rate: -1}, 0, 64, 503, -1},
		} {
			token := o.client(test.client)
			for range test.before {
				if w := o.quantum(token, 2); w.Code != http.StatusOK {
					t.Fatalf("%s: status %d", name, w.Code)
				}
			}
			if test.status == http.StatusServiceUnavailable {
				o.service.set(func() { o.service.limit = 0 })
				o.handTo(o.token, 1)
			}
			was := o.Account()
			status, retryAfter, got := o.handTo(token, test.n)
			if status != test.status || test.retryAfter >= 0 && retryAfter != test.retryAfter || test.retryAfter < 0 && retryAfter < time.Second || retryAfter%time.Second != 0 {
				t.Errorf("%s: %d, retry after %v", name, status, retryAfter)
			}
			handed := o.Account().HandedOut - was.HandedOut
			if handed != int64(len(got)) || test.status == 200 && (handed != int64(test.n*qrypt.BlockSize) || !bytes.Contains(o.service.all(), got)) {
				t.Errorf("%s: %d bytes came, %d were handed out", name, len(got), handed)
			}
			if answers, _ := o.counts.list(); answers[test.client.Name][test.status] != 1 {
				t.Errorf("%s: the metrics have %v", name, answers[test.client.Name])
			}
			if line := "remote=nats client=" + test.client.Name + " call=a.subject status="; !strings.Contains(o.log.String(), line) {
				t.Errorf("%s: the log has no %q", name, line)
			}
			o.service.set(func() { o.service.limit = -1 })
			time.Sleep(10 * time.Minute) // the stock is full again
		}
	})
}

// TestHandRefused: a request that Identify refuses gets no block, and its reason is in the
// log.
func TestHandRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 64})
		status, _ := o.Hand(t.Context(), Request{
			Blocks:   1,
			Identify: func(*clients.List) (*clients.Member, error) { return nil, errors.New("a replay") },
			Send:     func([]byte, time.Duration, bool) bool { t.Error("it gets blocks"); return true },
		})
		if status != http.StatusUnauthorized || !strings.Contains(o.log.String(), `refused="a replay"`) {
			t.Errorf("status %d, and the log: %s", status, o.log)
		}
	})
}

// TestHandLost: what the network does not take is lost, and so is an answer that panics.
func TestHandLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 64})
		for i, send := range []func([]byte, time.Duration, bool) bool{
			func([]byte, time.Duration, bool) bool { return false },
			func([]byte, time.Duration, bool) bool { panic("secret") },
		} {
			key := clients.KeyOf(o.token)
			status, _ := o.Hand(t.Context(), Request{
				Blocks: 3, Send: send,
				Identify: func(l *clients.List) (*clients.Member, error) {
					return l.IdentifyKey(key.ID, func(*clients.Member, clients.Key) bool { return true })
				},
			})
			if want := []int{200, 500}[i]; status != want {
				t.Errorf("status %d, want %d", status, want)
			}
			if a := o.Account(); a.Lost != int64((i+1)*3*qrypt.BlockSize) || a.InFlight != 0 || a.Received != a.Stock+a.Lost {
				t.Errorf("%+v", a)
			}
		}
		if strings.Contains(o.log.String(), "secret") {
			t.Error("the log has the panic's value")
		}
	})
}

// TestHandBlocks: a number of blocks that no request may ask for gets 400, and changes nothing.
func TestHandBlocks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 1024})
		time.Sleep(10 * time.Minute) // the stock is full
		was, used := o.Account(), o.cfg.Clients.Status()
		for _, n := range []int{0, -1, math.MinInt / 1024, math.MinInt, 513, math.MaxInt/512 + 1, math.MaxInt} {
			if status, _, got := o.handTo(o.token, n); status != http.StatusBadRequest || got != nil {
				t.Errorf("%d blocks: status %d and %d bytes", n, status, len(got))
			}
		}
		if now := o.cfg.Clients.Status(); o.Account() != was || now[0].TotalBytes != used[0].TotalBytes {
			t.Errorf("%+v, and the client has used %d bytes", o.Account(), now[0].TotalBytes)
		}
	})
}
