package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// TestEmulated: an answer with entropy from an emulator says so.
func TestEmulated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		service := newFakeService(t)
		service.emulated = true
		o := newTestRelay(t, Config{Stock: 8, Blocks: service})
		for _, w := range []*httptest.ResponseRecorder{o.quantum(o.token, 1), o.keys(o.token, 32, 1)} {
			if pieces(t, w); w.Header().Get(qrypt.EmulatedHeader) == "" {
				t.Error("emulated entropy passes for quantum")
			}
		}
		if !o.Upstream().Emulated || strings.Count(o.log.String(), "emulated, not quantum") != 1 {
			t.Errorf("it is not said once:\n%s", o.log)
		}
	})
}

// TestRefusals: each status has its documented meaning and a text, and costs
// nothing.
func TestRefusals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 600, BatchBlocks: 100})
		operator := o.client(clients.Client{Name: "operator", Operator: true})
		before := o.Account()
		for _, test := range []struct {
			token, method, target, body string
			status                      int
			text                        string
		}{
			{"", "GET", quantumPath, "", 401, "no access token"},
			{"wrong", "GET", quantumPath, "", 401, "nobody has this access token"},
			{operator, "GET", quantumPath, "", 401, "operator's token"},
			{"", "POST", openPath, "{}", 401, "no access token"},
			{o.token, "GET", quantumPath + "?size=0", "", 400, "1 to 512"},
			{o.token, "GET", quantumPath + "?size=513", "", 400, "1 to 512"},
			{o.token, "GET", quantumPath + "?size=-1", "", 400, "1 to 512"},
			{o.token, "GET", quantumPath + "?size=+1", "", 400, "1 to 512"},
			{o.token, "GET", quantumPath + "?size=1.0", "", 400, "1 to 512"},
			{o.token, "GET", quantumPath + "?size=", "", 400, "1 to 512"},
			{o.token, "GET", quantumPath + "?size=1&size=1", "", 400, "1 to 512"},
			{o.token, "GET", quantumPath + "?size=99999999999999999999", "", 400, "1 to 512"},
			{o.token, "GET", quantumPath + "?size=1;", "", 400, "malformed"},
			{o.token, "POST", openPath, `{"block_size":0}`, 422, "at least 1"},
			{o.token, "POST", openPath, `{"block_size":-5}`, 422, "at least 1"},
			{o.token, "POST", openPath, `{"block_size":524289}`, 422, "at most 524288"},
			{o.token, "POST", openPath, `{"block_size":1025,"block_count":512}`, 422, "at most 524288"},
			{o.token, "POST", openPath, `{"block_count":0}`, 422, "1 to 512"},
			{o.token, "POST", openPath, `{"block_count":513}`, 422, "1 to 512"},
			{o.token, "POST", openPath, `{"block_size":null}`, 422, "integers"},
			{o.token, "POST", openPath, `{"block_size":9223372036854775807,"block_count":2}`, 422, "at most"},
			{o.token, "POST", openPath, `{"block_size":1e3}`, 422, "integers"},
			{o.token, "POST", openPath, `{"block_size":"32"}`, 422, "JSON object"},
			{o.token, "POST", openPath, `{} {}`, 422, "JSON object"},
			{o.token, "POST", openPath, `[32]`, 422, "JSON object"},
			{o.token, "POST", openPath, ` null`, 422, "JSON object"},
			{o.token, "POST", openPath, " ", 422, "JSON object"},
			{o.token, "POST", openPath, `{"x":"` + strings.Repeat("x", maxBody) + `"}`, 422, "more than"},
			{o.token, "POST", quantumPath, "{}", 405, "GET"},
			{o.token, "HEAD", quantumPath, "", 405, ""},
			{o.token, "GET", openPath, "", 405, "POST"},
			{o.token, "GET", "/api/v1/entropy/", "", 404, "nothing"},
			{o.token, "GET", "//api/v1/entropy", "", 404, "nothing"},
			{o.token, "GET", "/api/v1/../v1/quantum-entropy", "", 404, "nothing"},
			{o.token, "GET", "/api/v1/quantum%2Dentropy", "", 404, "nothing"},
			{o.token, "GET", "/api/v1/quantum-entropy%2f", "", 404, "nothing"},
		} {
			var body []string
			if test.body != "" {
				body = []string{test.body}
			}
			w := o.ask(test.token, test.method, test.target, body...)
			var said struct{ Error string }
			if w.Code != test.status || json.Unmarshal(w.Body.Bytes(), &said) != nil || !strings.Contains(said.Error, test.text) {
				t.Errorf("%s %s %.60s: %d %s, want %d with %q", test.method, test.target, test.body, w.Code, w.Body, test.status, test.text)
			}
			if (w.Code == 401) != (w.Header().Get("WWW-Authenticate") == "Bearer") || (w.Code == 405) != (w.Header().Get("Allow") != "") {
				t.Errorf("%s %s: the header is %v", test.method, test.target, w.Header())
			}
		}
		if got := o.Account(); got != before {
			t.Errorf("refusals cost entropy: %+v, before %+v", got, before)
		}
	})
}

// TestLimits: a client that asks too often gets 429, and one whose quota is used up
// gets 403. Each is told when to come back, and others are served meanwhile.
func TestLimits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 64})
		slow := o.client(clients.Client{Name: "slow", Rate: 3})
		small := o.client(clients.Client{Name: "small", Rate: -1, Quota: clients.Quota{Bytes: 1500, Period: time.Hour}})
		for range 3 {
			pieces(t, o.quantum(slow, 1))
		}
		w := o.quantum(slow, 1)
		if w.Code != 429 || w.Header().Get("Retry-After") != "4" { // a third of 10 s, rounded up
			t.Errorf("%d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
		}
		pieces(t, o.quantum(o.token, 1))
		time.Sleep(4 * time.Second)
		pieces(t, o.quantum(slow, 1))

		pieces(t, o.quantum(small, 1))
		if w := o.quantum(small, 1); w.Code != 403 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		pieces(t, o.keys(small, 476, 1)) // what is left
		if w := o.keys(small, 1, 1); w.Code != 403 {
			t.Errorf("%d", w.Code)
		}
		time.Sleep(time.Hour)
		pieces(t, o.keys(small, 1, 1))
	})
}

// TestGreedyClient: a client with the default bandwidth that asks for all it can get, in
// every way, leaves the rest to others. They are served at once.
func TestGreedyClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 2048})
		greedy := o.client(clients.Client{Name: "greedy", Rate: -1})
		other := o.client(clients.Client{Name: "other", Rate: -1})
		began, got := time.Now(), 0
		for i := 0; time.Since(began) < time.Minute; i++ {
			for n := qrypt.MaxBlocks; n > 0; n /= 2 {
				for ok := true; ok; {
					switch i % 3 {
					case 0:
						ok = o.quantum(greedy, n).Code == http.StatusOK
					case 1:
						ok = o.keys(greedy, 2*n, 512).Code == http.StatusOK
					case 2:
						status, _, _ := o.handTo(greedy, n)
						ok = status == http.StatusOK
					}
					if ok {
						got += n * qrypt.BlockSize
					}
				}
			}
			if i%10 == 0 { // 5 blocks a second
				if w := o.quantum(other, 5); w.Code != http.StatusOK {
					t.Fatalf("after %v the other client gets %d %s", time.Since(began), w.Code, w.Body)
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		const second, atOnce = 64 << 10, 640 << 10
		if got > 60*second+atOnce || got < 59*second+atOnce {
			t.Errorf("the greedy client got %d bytes in a minute", got)
		}
	})
}

// TestBandwidth: a client that takes more than its bandwidth gets 429. It is told which
// limit that is, and when it gets this request's bytes. 503 takes nothing from it.
func TestBandwidth(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 2048})
		wide := o.client(clients.Client{Name: "wide", Rate: -1, Bandwidth: 128 << 10})
		ask := map[string]func(n int) (status int, retryAfter string){
			"quantum-entropy": func(n int) (int, string) {
				w := o.quantum(wide, n)
				return w.Code, w.Header().Get("Retry-After")
			},
			"entropy": func(n int) (int, string) {
				w := o.keys(wide, qrypt.BlockSize, n)
				return w.Code, w.Header().Get("Retry-After")
			},
			"Hand": func(n int) (int, string) {
				status, wait, _ := o.handTo(wide, n)
				return status, strconv.Itoa(int(wait / time.Second))
			},
		}
		for name, ask := range ask {
			time.Sleep(10 * time.Minute)
			for i, n := range []int{512, 512, 255} {
				if status, _ := ask(n); status != http.StatusOK {
					t.Fatalf("%s: request %d: status %d", name, i, status)
				}
			}
			for n, want := range map[int]string{2: "1", 129: "1", 130: "2", 512: "4"} { // 1 is left, 128 come in a second
				if status, wait := ask(n); status != http.StatusTooManyRequests || wait != want {
					t.Errorf("%s: %d, Retry-After %s for %d blocks, want %s", name, status, wait, n, want)
				}
			}
			time.Sleep(3 * time.Second)
			if status, wait := ask(512); status != http.StatusTooManyRequests || wait != "1" {
				t.Errorf("%s: %d, Retry-After %s after 3 s", name, status, wait)
			}
			time.Sleep(time.Second)
			if status, _ := ask(512); status != http.StatusOK {
				t.Errorf("%s: %d after the wait", name, status)
			}
		}
		if w := o.quantum(wide, 512); !strings.Contains(w.Body.String(), "its bandwidth is 131072 bytes a second") || strings.Contains(w.Body.String(), "too many requests") {
			t.Errorf("%s", w.Body)
		}
		for o.quantum(wide, 1).Code == http.StatusOK {
		}
		if w := o.ask(wide, "GET", capabilitiesPath); w.Code != http.StatusOK {
			t.Errorf("a call without entropy is refused: %s", w.Body)
		}
		time.Sleep(10 * time.Minute)
		o.service.set(func() { o.service.limit = 0 })
		for o.quantum(o.token, 64).Code == http.StatusOK {
		}
		for range 20 {
			if w := o.quantum(wide, 100); w.Code != http.StatusServiceUnavailable {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		}
	})
}

// TestRelayOfRelay: a relay whose service is a relay fills its stock at the bandwidth that
// it has there, and hands out what it gets.
func TestRelayOfRelay(t *testing.T) {
	for bandwidth, most := range map[int64]time.Duration{0: 70 * time.Second, 1536 << 10: 5 * time.Second} {
		bubble(t, func(t *testing.T) {
			upper := newTestRelay(t, Config{Stock: 8192})
			token := upper.client(clients.Client{Name: "lower", Bandwidth: bandwidth})
			blocks, err := qrypt.New(qrypt.Config{
				Endpoints: []string{"https://upper.example"}, Token: qrypt.StaticToken(token),
				HTTPClient: &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
					w := httptest.NewRecorder()
					upper.ServeHTTP(w, req)
					return w.Result(), nil
				})},
			})
			if err != nil {
				t.Fatal(err)
			}
			list := listFile(t, `{"clients":[]}`)
			app := addClient(t, list, clients.Client{Name: "app", Rate: -1, Bandwidth: -1})
			lower, err := New(Config{Stock: 4096, Blocks: blocks, Clients: openList(t, list), Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer lower.Close()
			began := time.Now()
			for lower.Account().Stock < 3584*qrypt.BlockSize { // room for one batch
				if time.Sleep(100 * time.Millisecond); time.Since(began) > 10*time.Minute {
					t.Fatalf("%+v after 10 minutes", lower.Account())
				}
			}
			if took := time.Since(began); took > most {
				t.Errorf("bandwidth %d: full after %v", bandwidth, took)
			}
			pieces(t, (&testRelay{Relay: lower, t: t}).quantum(app, 512))
		})
	}
}

// TestNoSupply: without stock the answer is 503, and costs the client nothing.
func TestNoSupply(t *testing.T) {
	bubble(t, func(t *testing.T) {
		service := newFakeService(t)
		service.limit = 4
		o := newTestRelay(t, Config{Stock: 8, BatchBlocks: 4, Blocks: service})
		small := o.client(clients.Client{Name: "small", Rate: -1, Quota: clients.Quota{Bytes: 5200, Period: time.Hour}})
		for range 5 {
			w := o.quantum(small, 5)
			var said struct{ Error string }
			if w.Code != 503 || json.Unmarshal(w.Body.Bytes(), &said) != nil || said.Error == "" {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if s, err := strconv.Atoi(w.Header().Get("Retry-After")); err != nil || s < 1 || s > 60 {
				t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
			}
		}
		pieces(t, o.quantum(small, 4)) // its quota is untouched, and so is the stock
		if !strings.Contains(o.log.String(), "status=503") || o.stock.ready(time.Now()) {
			t.Error("not logged, or there is a block left")
		}
		service.set(func() { service.limit = 1 })
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if o.ask("", "GET", "/readyz?stock=1").Code != 200 {
			t.Errorf("not ready with %d bytes", o.Account().Stock)
		}
		pieces(t, o.keys(o.token, 24, 1))
		if o.ask("", "GET", "/readyz?stock=1").Code != 503 {
			t.Error("ready without a whole block, for somebody who wants to know")
		}
		if o.ask("", "GET", "/readyz").Code != 200 || o.ask("", "GET", "/healthz").Code != 200 {
			t.Error("the probes are wrong")
		}
	})
}

// TestReady: a relay is ready from its first block until it is about to end, with stock or
// without.
func TestReady(t *testing.T) {
	bubble(t, func(t *testing.T) {
		service := newFakeService(t)
		service.err = &qrypt.Error{Class: qrypt.ErrNoSupply}
		o := newTestRelay(t, Config{Stock: 2, BatchBlocks: 1, Blocks: service})
		ready := func() int { return o.ask("", "GET", "/readyz").Code }
		time.Sleep(time.Minute)
		if o.Ready() || ready() != 503 {
			t.Error("ready before the first block")
		}
		service.set(func() { service.err = nil })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		service.set(func() { service.err = &qrypt.Error{Class: qrypt.ErrNoSupply} })
		for o.quantum(o.token, 1).Code == 200 {
		}
		if !o.Ready() || ready() != 200 {
			t.Error("not ready while the stock is empty: a balancer would send clients nowhere")
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		if o.Ready() || ready() != 503 {
			t.Error("ready after Close")
		}
	})
}

// A lameWriter fails after so many bytes, as a connection that was cut does.
type lameWriter struct {
	http.ResponseWriter
	left int
}

func (w *lameWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		return w.left, errors.New("connection reset")
	}
	w.left -= len(p)
	return w.ResponseWriter.Write(p)
}

// A plainWriter cannot flush, as the writers of some middlewares cannot.
type plainWriter struct {
	header http.Header
	bytes.Buffer
}

func (w *plainWriter) Header() http.Header { return w.header }

func (w *plainWriter) WriteHeader(int) {}

// TestNoFlush: an answer that cannot be flushed does not count as lost.
func TestNoFlush(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 8})
		req := httptest.NewRequest("GET", quantumPath, nil)
		req.Header.Set("Authorization", "Bearer "+o.token)
		w := &plainWriter{header: http.Header{}}
		o.ServeHTTP(w, req)
		if got := o.Account(); got.HandedOut != 1024 || got.Lost != 0 || w.Len() == 0 {
			t.Errorf("the account is %+v", got)
		}
	})
}

// TestAgeIsNotYounger: a part of a second counts as one.
func TestAgeIsNotYounger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 8, BatchBlocks: 4})
		time.Sleep(time.Millisecond)
		if age := o.quantum(o.token, 1).Header().Get("Age"); age != "61" {
			t.Errorf("Age %s after 60.001 s", age)
		}
	})
}

func (w *lameWriter) FlushError() error {
	if w.left < 100 {
		return errors.New("connection reset")
	}
	return nil
}

// TestLost: bytes that the network did not take are lost, for nobody gets bytes
// twice. The client is charged for them, since they may have arrived.
func TestLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 64})
		for _, left := range []int{10, 1450} { // in Write, at the end of it
			before := o.Account()
			req := httptest.NewRequest("GET", quantumPath, nil)
			req.Header.Set("Authorization", "Bearer "+o.token)
			o.ServeHTTP(&lameWriter{httptest.NewRecorder(), left}, req)
			if got := o.Account(); got.Lost != before.Lost+1024 || got.HandedOut != before.HandedOut || got.InFlight != 0 {
				t.Errorf("after %d bytes the account is %+v", left, got)
			}
		}
		w := o.quantum(o.token, 1)
		if got := pieces(t, w)[0]; !bytes.Equal(got, o.service.all()[2048:3072]) {
			t.Error("a lost block was handed out again")
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		before := o.Account()
		req := httptest.NewRequestWithContext(gone, "GET", quantumPath, nil)
		req.Header.Set("Authorization", "Bearer "+o.token)
		o.ServeHTTP(httptest.NewRecorder(), req)
		if o.Account() != before {
			t.Error("a client that is gone costs entropy")
		}
	})
}
