//go:build unix

package transparency

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"example.com/qrand/internal/logclient"
	"example.com/qrand/provenance/tlogproof"
	"example.com/qrand/relay"
	"example.com/qrand/relay/clients"
	"example.com/qrand/transparency/internal/witnesstest"
)

// oneClient is a list of one client, who may make so many requests in 10 s.
func oneClient(t *testing.T, rate int) (list *clients.List, token string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "clients.json")
	token, err := clients.Add(file, clients.Client{Name: "ca-1", Rate: rate})
	if err != nil {
		t.Fatal(err)
	}
	if list, err = clients.Open(file, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { list.Close() })
	return list, token
}

// TestServe: a client submits envelopes and gets their proofs, at once or when the witness is
// back; who is no client does not, and nothing that is too large or no envelope gets in.
func TestServe(t *testing.T) {
	w := witnesstest.New(t, "witness.example/1", false)
	dir, p := newLog(t, 1, w)
	l := open(t, dir)
	list, token := oneClient(t, 40)
	handler := (&server{l, list, slog.New(slog.DiscardHandler), time.Second}).handler()
	served := httptest.NewServer(handler)
	defer served.Close()
	client := func(token string) *logclient.Client {
		c, err := logclient.New(served.URL+"/keys", token, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := client(token)
	ctx := t.Context()
	verify := func(proof *tlogproof.Proof, leaf []byte, after string) int64 {
		t.Helper()
		v, err := p.Verify(proof, tlogproof.Entry{Leaf: leaf, After: after})
		if err != nil {
			t.Error(err)
		}
		return v.Index
	}

	// The way of qrand keygen: the head, an envelope that names it, the proof.
	head, err := c.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		leaf := envelope(i, head)
		for range 2 { // once more, after a client has lost the answer
			proof, err := c.Submit(ctx, leaf)
			if err != nil {
				t.Fatal(err)
			}
			if index := verify(proof, leaf, head); index != int64(i) {
				t.Errorf("entry %d has index %d", i, index)
			}
		}
		proof, err := client("").Fetch(ctx, leaf)
		if err != nil {
			t.Fatal(err)
		}
		verify(proof, leaf, head)
		if head, err = c.Head(ctx); err != nil {
			t.Fatal(err)
		}
	}

	// The witness is away, and comes back.
	w.SetAway(true)
	leaf := envelope(3, head)
	if _, err := c.Submit(ctx, leaf); !errors.Is(err, logclient.ErrPending) || !strings.Contains(err.Error(), "202") {
		t.Errorf("submitted without the witness: %v", err)
	}
	if _, err := c.Fetch(ctx, leaf); !errors.Is(err, logclient.ErrPending) {
		t.Errorf("fetched without the witness: %v", err)
	}
	for tile, want := range map[string]int{"000.p/3": 200, "000.p/4": 404} { // not what no checkpoint covers yet
		resp, err := http.Get(served.URL + "/keys/tile/entries/" + tile)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("bundle %s without the witness: %d, want %d", tile, resp.StatusCode, want)
		}
	}
	w.SetAway(false)
	for range 20 { // Tessera's next attempt
		var proof *tlogproof.Proof
		if proof, err = c.Fetch(ctx, leaf); err == nil {
			verify(proof, leaf, head)
			break
		}
	}
	if err != nil {
		t.Errorf("with the witness again: %v", err)
	}

	// Not in, for each its reason.
	for want, call := range map[string]func() error{
		"401":          func() error { _, err := client("").Submit(ctx, envelope(4, "")); return err },
		"401 stranger": func() error { _, err := client("qrelay_stranger").Submit(ctx, envelope(4, "")); return err },
		"413":          func() error { _, err := c.Submit(ctx, make([]byte, MaxEntry+1)); return err },
		"400 envelope": func() error { _, err := c.Submit(ctx, []byte("{}")); return err },
		"400 history": func() error {
			_, err := c.Submit(ctx, envelope(4, strings.Replace(head, "\n3\n", "\n2\n", 1)))
			return err
		},
	} {
		var refused *logclient.RefusedError
		if err := call(); !errors.As(err, &refused) || fmt.Sprint(refused.Status) != strings.Fields(want)[0] || refused.Reason == "" {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := c.Fetch(ctx, envelope(4, "")); !errors.Is(err, logclient.ErrUnknown) {
		t.Errorf("what is not in the log: %v", err)
	}
	readOnly := Handler(l, nil, slog.New(slog.DiscardHandler))
	for request, want := range map[string]int{
		"GET /checkpoint":                                   200,
		"HEAD /checkpoint":                                  200,
		"GET /keys/checkpoint":                              200, // the origin is log.example/keys
		"GET /keys/keys/checkpoint":                         404,
		"GET /keyscheckpoint":                               404,
		"GET /tile/0/000.p/4":                               200,
		"GET /tile/entries/000.p/1":                         200,
		"GET /tile/entries/000.p/5":                         404, // more than there is
		"GET /tile/entries/000":                             404,
		"GET /tile/data/000.p/1":                            404,
		"GET /tile/1/000.p/1":                               404,
		"GET /tile/0/000.p/04":                              404,
		"GET /tile/0/x000/000.p/1":                          404,
		"GET /tile/99999999/000.p/1":                        404,
		"GET /tile/entries/../../..":                        307, // to a clean path
		"GET /tile/%2e%2e/checkpoint":                       404,
		"GET /tile/..%2fcheckpoint":                         404,
		"GET /.state/treeState":                             404,
		"GET /secret":                                       404,
		"GET /":                                             404,
		"GET /proof/00":                                     400,
		"GET /proof/" + strings.Repeat("00", tlog.HashSize): 404,
		"GET /add":                                          405,
		"PUT /checkpoint":                                   405,
		"POST /add":                                         403, // nobody may
		"POST /proof/0000":                                  405,
	} {
		method, path, _ := strings.Cut(request, " ")
		rec := httptest.NewRecorder()
		readOnly.ServeHTTP(rec, httptest.NewRequest(method, path, strings.NewReader("")))
		if rec.Code != want {
			t.Errorf("%s: %d, want %d", request, rec.Code, want)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.indexed != 4 {
		t.Errorf("the log has %d entries, want 4", l.indexed)
	}
}

// TestLargest: Serve, which reads little from those whom nobody knows, reads the largest entry from
// a client.
func TestLargest(t *testing.T) {
	dir, p := newLog(t, 0)
	list, token := oneClient(t, 10)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	ctx, stop := context.WithCancel(t.Context())
	handler := Handler(open(t, dir), list, logger)
	served := make(chan error, 1)
	go func() { served <- relay.Serve(ctx, handler, relay.ServerConfig{Listener: listener, Logger: logger}) }()
	c, err := logclient.New("http://"+listener.Addr().String(), token, nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf := append(envelope(0, ""), bytes.Repeat([]byte{' '}, MaxEntry)...)[:MaxEntry]
	proof, err := c.Submit(t.Context(), leaf)
	if err == nil {
		_, err = p.Verify(proof, tlogproof.Entry{Leaf: leaf})
	}
	if err != nil {
		t.Error(err)
	}
	var refused *logclient.RefusedError
	if _, err := c.Submit(t.Context(), append(leaf, ' ')); !errors.As(err, &refused) || refused.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("one byte more: %v", err)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestRate: a client that asks too often is told when it may again.
func TestRate(t *testing.T) {
	dir, _ := newLog(t, 0)
	list, token := oneClient(t, 2)
	handler := Handler(open(t, dir), list, slog.New(slog.DiscardHandler))
	for i, want := range []int{200, 200, 429} {
		r := httptest.NewRequest("POST", "/add", bytes.NewReader(envelope(0, "")))
		r.Header.Set("Authorization", "Bearer "+token)
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, r)
		if rec.Code != want || (want == 429) != (rec.Header().Get("Retry-After") != "") {
			t.Errorf("request %d: %d %v", i, rec.Code, rec.Header())
		}
	}
}
