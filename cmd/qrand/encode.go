package main

import (
	"encoding/base64"
	"encoding/hex"
	"io"
)

// An encoder writes bytes in a format, and in text formats ends the line.
type encoder struct {
	io.Writer
	close func() error
}

func (e encoder) Close() error { return e.close() }

func newEncoder(format string, w io.Writer) encoder {
	newline := func() error {
		_, err := w.Write([]byte("\n"))
		return err
	}
	switch format {
	case "hex":
		return encoder{hex.NewEncoder(w), newline}
	case "base64":
		enc := base64.NewEncoder(base64.StdEncoding, w)
		return encoder{enc, func() error {
			if err := enc.Close(); err != nil {
				return err
			}
			return newline()
		}}
	}
	return encoder{w, func() error { return nil }}
}
