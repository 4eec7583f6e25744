package qrypt

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCAFileIsReadAgain: when a private CA is renewed, the next request trusts the new one
// and no longer the old one. A file that cannot be used changes nothing, and is reported once.
func TestCAFileIsReadAgain(t *testing.T) {
	old, renewed := newService(t), newService(t)
	path := filepath.Join(t.TempDir(), "ca.pem")
	write := func(pem []byte) {
		t.Helper()
		if err := os.WriteFile(path, pem, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(old.CAPEM())
	var log bytes.Buffer
	client := func(service interface {
		Endpoints() []string
		Token() string
	}) *Client {
		return mustNew(t, Config{Endpoints: service.Endpoints(), Token: StaticToken(service.Token()), CAFile: path, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	}
	toOld, toRenewed := client(old), client(renewed)
	try := func(when string, wantOld, wantRenewed error) {
		t.Helper()
		for range 3 {
			for c, want := range map[*Client]error{toOld: wantOld, toRenewed: wantRenewed} {
				blocks, err := c.Blocks(t.Context(), 1)
				Wipe(blocks)
				if !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", when, err, want)
				}
			}
		}
	}
	try("at first", nil, ErrTLS)
	write(renewed.CAPEM())
	try("renewed", ErrTLS, nil)
	write([]byte("no certificate"))
	try("broken", ErrTLS, nil)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	try("gone", ErrTLS, nil)
	if n := strings.Count(log.String(), "level=WARN"); n != 2 { // of each client
		t.Errorf("%d warnings:\n%s", n, log.String())
	}
	write(bytes.Join([][]byte{[]byte("\ufeff"), renewed.CAPEM(), old.CAPEM()}, nil)) // the mark is an editor's
	try("both", nil, nil)
	if n := strings.Count(log.String(), "level=INFO"); n != 2 {
		t.Errorf("%d times said that it can be read again:\n%s", n, log.String())
	}
	toOld.http.CloseIdleConnections()
}

// TestCAFileErrors: New fails where the file cannot be used, or cannot be obeyed.
func TestCAFileErrors(t *testing.T) {
	token := StaticToken("t")
	if _, err := New(Config{Token: token, CAFile: filepath.Join(t.TempDir(), "none")}); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("no file: %v", err)
	}
	path := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Token: token, CAFile: path}); err == nil || !strings.Contains(err.Error(), "no PEM certificate") {
		t.Errorf("an empty file: %v", err)
	}
	other := &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("no") })}
	if err := os.WriteFile(path, newService(t).CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Token: token, CAFile: path, HTTPClient: other}); err == nil || !strings.Contains(err.Error(), "*http.Transport") {
		t.Errorf("another transport: %v", err)
	}
}
