package relay

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"example.com/qrand/internal/abuse"
	"example.com/qrand/relay/clients"
)

// A breaking is a ResponseWriter that panics when it is written to for the n-th
// time, or when headers are asked for.
type breaking struct {
	*httptest.ResponseRecorder
	header bool
}

func (b *breaking) Header() http.Header {
	if b.header {
		b.header = false
		panic("broken")
	}
	return b.ResponseRecorder.Header()
}

func (b *breaking) Write(p []byte) (int, error) {
	b.ResponseRecorder.Write(p[:len(p)/2])
	panic(string(p)) // with entropy in it
}

// TestPanics: a panic before the answer is 500; one within it ends the
// connection, for what followed would be taken for entropy. Either is logged,
// without what it was about, and the account balances.
func TestPanics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.json")
	token, err := clients.Add(path, clients.Client{Name: "web", Rate: -1})
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
	serve := func(w *breaking) (aborted any) {
		defer func() { aborted = recover() }()
		req := httptest.NewRequest("GET", quantumPath, nil)
		req.Header.Set("Authorization", "Bearer "+token)
		r.ServeHTTP(w, req)
		return nil
	}

	w := &breaking{ResponseRecorder: httptest.NewRecorder()}
	if aborted := serve(w); aborted != http.ErrAbortHandler {
		t.Errorf("a panic within the answer ends in %v", aborted)
	}
	if text := w.Body.String(); strings.Contains(text, "error") || !strings.HasPrefix(text, `{"random"`) {
		t.Errorf("the answer ends in %q", text[max(0, len(text)-60):])
	}
	if a := r.Account(); a.Lost != 1024 || a.Stock != 1024 || a.InFlight != 0 {
		t.Errorf("%+v", a)
	}
	if text := log.String(); !strings.Contains(text, "panic") || !strings.Contains(text, "panic_test.go") || strings.Contains(text, w.Body.String()[20:40]) {
		t.Errorf("the log has %q", text)
	}

	log.Reset()
	w = &breaking{ResponseRecorder: httptest.NewRecorder(), header: true}
	serve(w)
	if w.Code != http.StatusInternalServerError {
		t.Errorf("a panic before the answer: status %d", w.Code)
	}
}

// TestOperatorPanics: so it is on the operator's pages, and on all other paths.
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
		serve := func(w *breaking) (aborted any) {
			defer func() { aborted = recover() }()
			r.ServeHTTP(w, req)
			return nil
		}
		w := &breaking{ResponseRecorder: httptest.NewRecorder(), header: true}
		if serve(w); w.Code != http.StatusInternalServerError {
			t.Errorf("%s: a panic before the answer: status %d", path, w.Code)
		}
		if aborted := serve(&breaking{ResponseRecorder: httptest.NewRecorder()}); aborted != http.ErrAbortHandler {
			t.Errorf("%s: a panic within the answer ends in %v", path, aborted)
		}
		if text := log.String(); strings.Count(text, "ended in a panic") != 2 || path == "/" && !strings.Contains(text, "status=500") {
			t.Errorf("%s: the log has %q", path, text)
		}
	}
}
