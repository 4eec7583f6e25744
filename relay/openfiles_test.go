package relay

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestOpenFilesWarning: who may have more connections than files hears of it.
func TestOpenFilesWarning(t *testing.T) {
	files, known := openFiles()
	if !known {
		t.Skip("this system has no limit of open files to ask for")
	}
	for _, c := range []struct {
		conns int
		warn  bool
	}{{1, false}, {1 << 30, files < 1<<30}} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var log bytes.Buffer
		if err := Serve(ctx, http.NotFoundHandler(), ServerConfig{Listener: listener, MaxConns: c.conns, Logger: slog.New(slog.NewTextHandler(&log, nil))}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), "fewer files"); got != c.warn {
			t.Errorf("%d connections, %d files: warned %v, want %v", c.conns, files, got, c.warn)
		}
	}
}
