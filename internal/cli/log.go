package cli

import (
	"io"
	"log/slog"
)

// NewLogger returns the logger of --log-format, text or json. Each line has a time: the log
// of a service is read later. A duration has its unit in both; package slog alone writes
// nanoseconds as JSON.
func NewLogger(w io.Writer, format string) *slog.Logger {
	if format != "json" {
		return slog.New(slog.NewTextHandler(w, nil))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration {
			a.Value = slog.StringValue(a.Value.Duration().String())
		}
		return a
	}}))
}
