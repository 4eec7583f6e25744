package relay

import (
	"bytes"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// A discard is an http.ResponseWriter that keeps nothing.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
func (d discard) Flush()                      {}

// BenchmarkServe measures a request without its connection.
func BenchmarkServe(b *testing.B) {
	for _, test := range []struct {
		name    string
		receipt bool
		n       int // bytes
		request func() *http.Request
	}{
		{"32 bytes", false, 32, func() *http.Request {
			req := httptest.NewRequest("POST", openPath, strings.NewReader(`{"block_size":32,"block_count":1}`))
			req.Header.Set("Content-Type", "application/json")
			return req
		}},
		{"8 blocks", false, 8 * qrypt.BlockSize, func() *http.Request { return httptest.NewRequest("GET", quantumPath+"?size=8", nil) }},
		{"8 blocks with a receipt", true, 8 * qrypt.BlockSize, func() *http.Request { return httptest.NewRequest("GET", quantumPath+"?size=8", nil) }},
	} {
		b.Run(test.name, func(b *testing.B) {
			path := listFile(b, `{"clients":[]}`)
			token := addClient(b, path, clients.Client{Name: "app", Rate: -1, Bandwidth: -1})
			service := newFakeService(b)
			r, err := New(Config{Blocks: service, Clients: openList(b, path), Stock: 64, Receipts: receipts(b), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			for !r.Ready() {
				time.Sleep(time.Millisecond)
			}
			left := 0
			for b.Loop() {
				for left < test.n {
					block, err := qrypt.NewBlock(bytes.Repeat([]byte{1}, qrypt.BlockSize), qrypt.Origin{Endpoint: serviceURL})
					if err != nil {
						b.Fatal(err)
					}
					r.stock.put([]qrypt.Block{block})
					left += qrypt.BlockSize
				}
				left -= test.n
				w := discard{http.Header{}}
				req := test.request()
				req.Header.Set("Authorization", "Bearer "+token)
				if test.receipt {
					req.Header.Set(qrypt.ReceiptKeyHeader, base64.StdEncoding.EncodeToString(make([]byte, 32)))
				}
				if r.ServeHTTP(w, req); w.header.Get("Content-Length") == strconv.Itoa(0) || w.header.Get("Age") == "" {
					b.Fatal(w.header)
				}
			}
		})
	}
}
