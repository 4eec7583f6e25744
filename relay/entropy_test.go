package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
