package relay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// splitClients takes {"clients": [...]} apart.
func splitClients(data []byte) ([]json.RawMessage, error) {
	const want = `want {"clients": [...]} and nothing else`
	if err := json.Unmarshal(data, new(json.RawMessage)); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("line %d: not JSON: %w", 1+bytes.Count(data[:syntax.Offset], []byte("\n")), err)
		}
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	for _, expected := range []json.Token{json.Delim('{'), "clients", json.Delim('[')} {
		if t, err := d.Token(); err != nil || t != expected {
			return nil, errors.New(want)
		}
	}
	var raw []json.RawMessage
	for d.More() {
		var r json.RawMessage
		if err := d.Decode(&r); err != nil {
			return nil, err
		}
		raw = append(raw, r)
	}
	for _, expected := range []json.Token{json.Delim(']'), json.Delim('}')} {
		if t, err := d.Token(); err != nil || t != expected {
			return nil, errors.New(want)
		}
	}
	return raw, nil
}

// decodeStrictly refuses what encoding/json takes besides: members that it does
// not know, that come twice or in another case, and null, which is an absent
// member to it. An empty text is none, too.
func decodeStrictly(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		want := map[string]string{"string": "a text", "bool": "true or false", "int": "a whole number", "int64": "a whole number"}[kind.Type.String()]
		if want == "" {
			want = "an object"
		}
		what := "it"
		if kind.Field != "" {
			what = fmt.Sprintf("%q", kind.Field)
		}
		return fmt.Errorf("%s is a %s: it must be %s", what, kind.Value, want)
	}
	if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	return checkMembers(json.NewDecoder(bytes.NewReader(data)), "it")
}

func checkMembers(d *json.Decoder, what string) error {
	t, err := d.Token()
	switch {
	case err != nil:
		return err
	case t == nil, t == "":
		return fmt.Errorf("%s is empty: leave it out, or write what it is", what)
	case t != json.Delim('{'):
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return fmt.Errorf("unknown field %q: write names in small letters", name)
		}
		if seen[name] {
			return fmt.Errorf("%q is there twice", name)
		}
		seen[name] = true
		if err := checkMembers(d, fmt.Sprintf("%q", name)); err != nil {
			return err
		}
	}
	if _, err = d.Token(); err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
