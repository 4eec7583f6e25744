package relay

import (
	"bytes"
	"context"
	"log"
	"log/slog"
)

// An errorLog has what http.Server writes to its log. What is wrong here is a
// Warn: panics, Accept without files left, wrong answers. What peers do wrong,
// from failed handshakes to broken HTTP/2, they can do often, and is at Debug.
type errorLog struct{ logger *slog.Logger }

func newErrorLog(logger *slog.Logger) *log.Logger { return log.New(errorLog{logger}, "", 0) }

func (e errorLog) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	ours := bytes.HasPrefix(line, []byte("http: ")) || bytes.HasPrefix(line, []byte("http2: panic"))
	if ours && !bytes.HasPrefix(line, []byte("http: TLS handshake error")) {
		level = slog.LevelWarn
	}
	e.logger.Log(context.Background(), level, string(bytes.TrimSpace(line)))
	return len(line), nil
}
