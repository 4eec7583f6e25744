package relay

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/qrand/internal/abuse"
	"example.com/qrand/relay/clients"
)

// A panicWriter panics in the middle of a Write, or when it is asked for its header.
type panicWriter struct {
	*httptest.ResponseRecorder
	header bool
}

func (b *panicWriter) Header() http.Header {
	if b.header {
		b.header = false
		panic("broken")
	}
	return b.ResponseRecorder.Header()
}

func (b *panicWriter) Write(p []byte) (int, error) {
	b.ResponseRecorder.Write(p[:len(p)/2])
	panic(string(p)) // with entropy in it
}

// TestPanics: a panic before the answer is 500. One within it ends the connection, for
// what followed would pass for entropy. Both are logged without the panic's value, and
// the account balances.
func TestPanics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.json")
	token, err := clients.Add(path, clients.Client{Name: "web", Rate: -1, Bandwidth: -1})
	if err != nil {
		t.Fatal(err)
	}
	list, err := clients.Open(path, "")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	r := &Relay{
		cfg:      Config{Clients: list, Stock: 2, Logger: slog.New(slog.NewTextHandler(&log, nil))},
		stock:    &stock{},
		upstream: &upstream{},
		wake:     make(chan struct{}, 1),
	}
	r.metrics = newMetrics(r)
	blocks, err := abuse.NewNumbered().Blocks(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	r.stock.put(blocks)
	serve := func(w *panicWriter) (aborted any) {
		defer func() { aborted = recover() }()
		req := httptest.NewRequest("GET", quantumPath, nil)
		req.Header.Set("Authorization", "Bearer "+token)
		r.ServeHTTP(w, req)
		return nil
	}

	w := &panicWriter{ResponseRecorder: httptest.NewRecorder()}
	if aborted := serve(w); aborted != http.ErrAbortHandler {
		t.Errorf("a panic within the answer ends in %v", aborted)
	}
	if text := w.Body.String(); strings.Contains(text, "error") || !strings.HasPrefix(text, `{"random"`) {
		t.Errorf("the answer ends in %q", text[max(0, len(text)-60):])
	}
	if a := r.Account(); a.Lost != 1024 || a.Stock != 1024 || a.InFlight != 0 {
		t.Errorf("%+v", a)
	}
	if text := log.String(); !strings.Contains(text, "panic") || !strings.Contains(text, "request_test.go") || strings.Contains(text, w.Body.String()[20:40]) {
		t.Errorf("the log has %q", text)
	}

	log.Reset()
	w = &panicWriter{ResponseRecorder: httptest.NewRecorder(), header: true}
	serve(w)
	if w.Code != http.StatusInternalServerError {
		t.Errorf("a panic before the answer: status %d", w.Code)
	}
}

// TestOperatorPanics: the same holds for the operator's pages and for all other paths.
func TestOperatorPanics(t *testing.T) {
	for _, path := range []string{"/", "/healthz", "/nothing"} {
		var log bytes.Buffer
		list := openList(t, listFile(t, `{"clients":[{"name":"ops","token_sha256":"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b","operator":true}]}`))
		logger := slog.New(slog.NewTextHandler(&log, nil))
		r, err := New(Config{Blocks: newFakeService(t), Clients: list, Stock: 4, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		r.cfg.Logger, r.cfg.AccessLog = logger, logger
		req := httptest.NewRequest("GET", path, nil)
		req.Header.Set("Authorization", "Bearer secret")
		serve := func(w *panicWriter) (aborted any) {
			defer func() { aborted = recover() }()
			r.ServeHTTP(w, req)
			return nil
		}
		w := &panicWriter{ResponseRecorder: httptest.NewRecorder(), header: true}
		if serve(w); w.Code != http.StatusInternalServerError {
			t.Errorf("%s: a panic before the answer: status %d", path, w.Code)
		}
		if aborted := serve(&panicWriter{ResponseRecorder: httptest.NewRecorder()}); aborted != http.ErrAbortHandler {
			t.Errorf("%s: a panic within the answer ends in %v", path, aborted)
		}
		if text := log.String(); strings.Count(text, "ended in a panic") != 2 || path == "/" && !strings.Contains(text, "status=500") {
			t.Errorf("%s: the log has %q", path, text)
		}
	}
}

// TestAccessLog: each request has a line, without what the client sent. Requests of
// unknown clients do not fill the disk.
func TestAccessLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 8})
		const secret = "qrelay_sEcReT"
		o.ask(o.token, "GET", quantumPath+"?size="+secret)
		o.ask(secret, "GET", quantumPath)
		o.ask(o.token, "POST", openPath, `{"block_size":"`+secret+`"}`)
		pieces(t, o.keys(o.token, 32, 2))
		log := o.log.String()
		if strings.Count(log, "msg=request") != 4 || strings.Contains(log, "sEcReT") {
			t.Errorf("logged\n%s", log)
		}
		if !strings.Contains(log, "client=app call=/api/v1/entropy status=200 bytes=64") {
			t.Errorf("logged\n%s", log)
		}
		o.log.Reset()
		for range 1000 {
			o.ask("wrong", "GET", quantumPath)
		}
		if n := strings.Count(o.log.String(), "msg=request"); n > 2*refusalsLogged {
			t.Errorf("%d lines for 1000 wrong tokens", n)
		}
		time.Sleep(time.Second)
		o.log.Reset()
		for range 100 {
			o.ask("", "DELETE", quantumPath)
			o.ask("", "POST", "/metrics")
		}
		if n := strings.Count(o.log.String(), "msg=request"); n > 2*refusalsLogged {
			t.Errorf("%d lines for 200 requests of unknown clients", n)
		}
		time.Sleep(time.Second)
		o.log.Reset()
		o.ask("wrong", "GET", quantumPath)
		if !strings.Contains(o.log.String(), "unlogged=1") {
			t.Errorf("what is not logged is not counted:\n%s", o.log)
		}
		time.Sleep(time.Second)
		o.log.Reset()
		other := o.client(clients.Client{Name: "other", Rate: -1, Bandwidth: -1})
		for range 1000 { // a client of whom each request is refused does not hide another's
			o.ask(o.token, "GET", quantumPath+"?size=0")
		}
		o.ask(other, "GET", quantumPath+"?size=0")
		if n := strings.Count(o.log.String(), "client=app"); n > 2*refusalsLogged || !strings.Contains(o.log.String(), "client=other") {
			t.Errorf("%d lines for 1000 refusals of a client:\n%s", n, o.log)
		}
	})
}
