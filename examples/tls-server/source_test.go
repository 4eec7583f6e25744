package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"example.com/qrand"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// newSource is a Source with a block of the emulator's in its key. The emulator
// is gone when it returns: with its stock the Source needs it no more.
func newSource(t *testing.T) *qrand.Source {
	t.Helper()
	server := qrypttest.NewServer(qrypttest.Config{})
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(server.CAPEM())
	httpClient := qrypt.NewHTTPClient()
	httpClient.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
	httpClient.Transport.(*http.Transport).Proxy = nil
	client, err := qrypt.New(qrypt.Config{
		Endpoints:  server.Endpoints(),
		Token:      qrypt.StaticToken(server.Token()),
		HTTPClient: httpClient,
	})
	if err != nil {
		t.Fatal(err)
	}
	src, err := qrand.New(qrand.Config{Blocks: client, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := src.WaitSeeded(ctx); err != nil {
		t.Fatal(err)
	}
	return src
}

// A recorder keeps what was read from a Source, Read by Read.
type recorder struct {
	src io.Reader

	mu    sync.Mutex
	reads [][]byte
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.src.Read(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads = append(r.reads, bytes.Clone(p[:n]))
	return n, err
}

// next takes the oldest Read, which must be of n bytes.
func (r *recorder) next(t *testing.T, what string, n int) []byte {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.reads) == 0 {
		t.Fatalf("the Source was not read for the %s", what)
	}
	p := r.reads[0]
	r.reads = r.reads[1:]
	if len(p) != n {
		t.Fatalf("the Source was read for %d bytes, not for the %d of the %s", len(p), n, what)
	}
	return p
}
