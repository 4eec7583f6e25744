package provenance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Package json reads more than one meaning into a text. These functions read one, or none.

// decodeExactly reads JSON, and refuses it if encoding what was read gives other bytes. So a
// text has one meaning for every program: no member is there twice, in another case, or
// unknown.
func decodeExactly(data []byte, into any, encode func() ([]byte, error)) error {
	if err := decodeKnown(data, into); err != nil {
		return err
	}
	text, err := encode()
	if err != nil {
		return err
	}
	if !bytes.Equal(text, data) {
		n := 0
		for n < min(len(text), len(data)) && text[n] == data[n] {
			n++
		}
		return fmt.Errorf("it is not as qrand writes it: from byte %d on it is %.40q, not %.40q", n, data[n:], text[n:])
	}
	return nil
}

// decodeStrictly reads JSON that a person may have written. It refuses what package json accepts:
// members that it does not know, or that are there twice or in another case, and anything
// after the object.
func decodeStrictly(data []byte, into any) error {
	if len(data) > maxEnvelope {
		return fmt.Errorf("%d bytes are too many", len(data))
	}
	if err := json.Unmarshal(data, into); err != nil { // bounds the depth, and finds what is behind
		return notJSON(err)
	}
	if err := checkNames(json.NewDecoder(bytes.NewReader(data))); err != nil {
		return notJSON(err)
	}
	return decodeKnown(data, into)
}

// decodeKnown refuses members that are not known.
func decodeKnown(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return notJSON(d.Decode(into))
}

// notJSON bounds the text of an error that may quote the file; nil stays nil.
func notJSON(err error) error {
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF):
		return errors.New("it is empty")
	case errors.As(err, &kind) && kind.Field == "":
		return fmt.Errorf("it is a JSON %.40s, not an object", kind.Value)
	case errors.As(err, &kind) && errors.Unwrap(kind) != nil: // since Go 1.27, for base64
		return fmt.Errorf("the member %.100q: %.200v", kind.Field, errors.Unwrap(kind))
	case errors.As(err, &kind): // whose text names types of Go
		return fmt.Errorf("the member %.100q cannot be a JSON %.40s", kind.Field, kind.Value)
	}
	return fmt.Errorf("%.200s", strings.TrimPrefix(err.Error(), "json: "))
}

// checkNames finds a member that an object has twice, or in another case, or as null. Package
// json accepts all of these. All names that are known have small letters of ASCII.
func checkNames(d *json.Decoder) error {
	opening, err := d.Token()
	switch {
	case err == nil && opening == nil:
		return errors.New("null: leave the member out, or write what it is")
	case opening != json.Delim('{') && opening != json.Delim('['):
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		if opening == json.Delim('{') {
			token, err := d.Token()
			if err != nil {
				return err
			}
			name, _ := token.(string)
			lower := strings.ToLower(name)
			switch {
			case seen[lower]:
				return fmt.Errorf("the member %.100q is there twice", name)
			case strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "":
				return fmt.Errorf("the member %.100q is not in lower case", name)
			}
			seen[lower] = true
		}
		if err := checkNames(d); err != nil {
			return err
		}
	}
	_, err = d.Token() // that closes it
	return err
}

// oneLineOfText reports whether a program can print s in a line.
func oneLineOfText(s string) bool {
	return len(s) <= maxText && utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) })
}
