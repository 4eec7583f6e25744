package logclient_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"example.com/qrand/internal/logclient"
	"example.com/qrand/provenance/tlogproof"
)

// TestClient: what is asked, and what each answer becomes. The whole way, with a log, is in
// transparency.
func TestClient(t *testing.T) {
	envelope := []byte("an envelope")
	proof := &tlogproof.Proof{Checkpoint: tlogproof.Checkpoint{Origin: "log.example", Size: 1, Hash: tlog.RecordHash(envelope)}.String() + "\n— log.example AAAAAAAA\n"}
	var status int
	var body, asked string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		asked = fmt.Sprintf("%s %s %s %s", r.Method, r.URL, r.Header["Authorization"], sent)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	defer s.Close()
	c, err := logclient.New(s.URL+"/keys", "a-token", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	submit := func() error { _, err := c.Submit(ctx, envelope); return err }
	fetch := func() error { _, err := c.Fetch(ctx, envelope); return err }
	head := func() error { _, err := c.Head(ctx); return err }
	hash := sha256.Sum256(append([]byte{0}, envelope...)) // RFC 6962 section 2.1
	good := string(proof.Encode())
	for _, test := range []struct {
		call        func() error
		status      int
		body, asked string
		want        error
	}{
		{submit, 200, good, "POST /keys/add [Bearer a-token] an envelope", nil},
		{fetch, 200, good, fmt.Sprintf("GET /keys/proof/%x [] ", hash), nil},
		{head, 200, "a checkpoint", "GET /keys/checkpoint [] ", nil},
		{submit, 202, "", "", logclient.ErrPending},
		{submit, 429, "", "", logclient.ErrPending},
		{submit, 503, "", "", logclient.ErrPending},
		{submit, 200, good + strings.Repeat("x", tlogproof.MaxSize), "", logclient.ErrPending},
		{submit, 200, strings.Replace(good, "\n1\n", "\n2\n", 1), "", logclient.ErrPending},
		{submit, 200, "", "", logclient.ErrPending},
		{fetch, 404, "never\x1b[2J added" + strings.Repeat("!", 1000), "", logclient.ErrUnknown},
		{submit, 404, "", "", &logclient.RefusedError{Status: 404}},
		{submit, 400, "no", "", &logclient.RefusedError{Status: 400, Reason: "no"}},
		{submit, 401, "", "", &logclient.RefusedError{Status: 401}},
		{submit, 302, "", "", &logclient.RefusedError{Status: 302}},
	} {
		status, body = test.status, test.body
		err := test.call()
		var refused, want *logclient.RefusedError
		switch {
		case errors.As(test.want, &want):
			if !errors.As(err, &refused) || *refused != *want {
				t.Errorf("%d %.20q: %v, want %v", status, body, err, want)
			}
		case !errors.Is(err, test.want):
			t.Errorf("%d %.20q: %v, want %v", status, body, err, test.want)
		}
		if test.asked != "" && asked != test.asked {
			t.Errorf("asked %s, want %s", asked, test.asked)
		}
		if err != nil && (strings.Contains(err.Error(), "a-token") || strings.Contains(err.Error(), "\x1b") || len(err.Error()) > 700) {
			t.Errorf("the error has a token, a control character or too much: %q", err)
		}
	}
	s.Close()
	if err := submit(); !errors.Is(err, logclient.ErrPending) {
		t.Errorf("without a log: %v", err)
	}
	if p, err := logclient.New(s.URL, "", nil); err != nil {
		t.Error(err)
	} else if _, err := p.Head(context.Background()); !errors.Is(err, logclient.ErrPending) {
		t.Errorf("without a log: %v", err)
	}
	for _, address := range []string{"", "log.example", "http://log.example", "ftp://log.example", "https://user:secret@log.example", "http://user:secret@127.0.0.1:1", "https://user:secret@log.example%", "https://log.example?secret", "https://log.example#x"} {
		if _, err := logclient.New(address, "", nil); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := logclient.New(s.URL, "a token", nil); err == nil || strings.Contains(err.Error(), "a token") {
		t.Errorf("a token with a space: %v", err)
	}
}
