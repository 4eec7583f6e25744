package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// A noteHandler prints what packages log as this command prints its notes: one
// line, without a time.
type noteHandler struct {
	w     io.Writer
	attrs string
}

func (h noteHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

func (h noteHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	r.Attrs(func(a slog.Attr) bool {
		writeAttr(&b, a)
		return true
	})
	_, err := fmt.Fprintf(h.w, "qrand: %s%s%s\n", plain(r.Message), h.attrs, b.String())
	return err
}

func (h noteHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	for _, a := range attrs {
		writeAttr(&b, a)
	}
	h.attrs += b.String()
	return h
}

// WithGroup leaves groups out: nothing here logs in one.
func (h noteHandler) WithGroup(string) slog.Handler { return h }

func writeAttr(b *strings.Builder, a slog.Attr) {
	value := a.Value.Resolve().String()
	if strings.ContainsAny(value, " \t\n\"") {
		value = fmt.Sprintf("%q", plain(value))
	}
	fmt.Fprintf(b, " %s=%s", a.Key, value)
}
