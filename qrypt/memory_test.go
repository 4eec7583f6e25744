package qrypt

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// What a hostile server makes a client allocate is bounded by what was asked
// for, not by what is sent.
func TestHostileAnswersCostLittleMemory(t *testing.T) {
	const most = 4 << 20

	// A MiB of zeros in gzip's format, once; a server may send it for ever, as
	// many members of one stream.
	var member bytes.Buffer
	z, _ := gzip.NewWriterLevel(&member, gzip.BestCompression)
	z.Write(make([]byte, 1<<20))
	z.Close()
	chunk := []byte(strings.Repeat("A", 32<<10))
	const members = 1 << 10 // a GiB in all

	// The body is written until the client goes; no part of it is made anew.
	forever := func(w io.Writer, first string, part []byte) {
		io.WriteString(w, first)
		for {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	}
	for name, serve := range map[string]http.HandlerFunc{
		"gzip bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			for range members {
				if _, err := w.Write(member.Bytes()); err != nil {
					return
				}
			}
		},
		"gzip bomb, unlabelled": func(w http.ResponseWriter, _ *http.Request) { forever(w, "", member.Bytes()) },
		"endless block":         func(w http.ResponseWriter, _ *http.Request) { forever(w, `{"entropy":["`, chunk) },
		"endless space": func(w http.ResponseWriter, _ *http.Request) {
			forever(w, "", bytes.Repeat([]byte{' '}, len(chunk)))
		},
		"endless array": func(w http.ResponseWriter, _ *http.Request) {
			forever(w, `{"random":[0`, bytes.Repeat([]byte(",0"), len(chunk)/2))
		},
		"endless nesting": func(w http.ResponseWriter, _ *http.Request) {
			forever(w, `{"a":`, bytes.Repeat([]byte{'['}, len(chunk)))
		},
		"announced to be huge": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9000000000000000000")
			forever(w, `{"random":["`, chunk)
		},
	} {
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			serve(w, req)
		}))
		// A client of the caller's would unzip by itself.
		zipping := NewHTTPClient()
		transport := zipping.Transport.(*http.Transport)
		transport.DisableCompression, transport.TLSClientConfig.RootCAs = false, trustIn(server.Certificate())
		for n, c := range map[int]*Client{1: clientOf(t, server, withHTTP(zipping)), MaxBlocks: clientOf(t, server)} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := c.Blocks(t.Context(), n)
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Errorf("%s: accepted", name)
			}
			if cost := after.TotalAlloc - before.TotalAlloc; cost > most {
				t.Errorf("%s, %d blocks: %d bytes allocated, more than %d: %v", name, n, cost, most, err)
			}
		}
		server.Close()
	}
}

// A header without end is cut by the transport.
func TestEndlessHeader(t *testing.T) {
	server := newRawServer(t, func(w io.Writer) {
		io.WriteString(w, "HTTP/1.1 200 OK\r\n")
		line := []byte("X: " + strings.Repeat("x", 1000) + "\r\n")
		for {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	mustFail(t, server, 1, ErrNetwork)
	runtime.ReadMemStats(&after)
	if cost := after.TotalAlloc - before.TotalAlloc; cost > 4<<20 {
		t.Errorf("%d bytes allocated", cost)
	}
}
