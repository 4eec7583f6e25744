package qrypt

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"unicode/utf8"
)

// FuzzParseAnswer checks that whatever parseAnswer accepts, the reference below
// accepts too, and reads as the same bytes. (The reference accepts more: it does
// not mind how a name or a number is written.)
func FuzzParseAnswer(f *testing.F) {
	for _, body := range []string{
		`{"random":["<1>","<2>"],"size":2}`,
		`{"size":1,"random":["<1>"]}`,
		`{"entropy":["<1>"]}`,
		`{"entropy":["<1>","<2>"],"random":[],"size":2.0}`,
		` { "a" : {"size":[1]} , "random" : [ "<1>" ] , "size" : 1 , "b" : "\"]}" } `,
		`{"random":["<1>"],"size":1,"Random":["<2>"],"r\u0061ndom":[]}`,
		`{"random":["<1>"],"random":["<2>"],"size":1}`,
		`{"entropy":["\u0041\/\u002B=="]}`,
		`{"entropy":[["<1>"]],"entropy":null}`,
		`{"random":["<1>"],"size":"1"}{}`,
		`[{"random":["<1>"],"size":1}]`,
		"{\"\xff\":1,\"\xfe\":1,\"entropy\":[\"<1>\"]}",
	} {
		f.Add(fill(body), false, uint8(1))
		f.Add(fill(body), true, uint8(1))
		f.Add(fill(body), false, uint8(2))
	}
	f.Fuzz(func(t *testing.T, body []byte, open bool, n uint8) {
		count := int(n)%MaxBlocks + 1
		d := DialectQuantumEntropy
		if open {
			d = DialectOpenAPI
		}
		origin := Origin{Endpoint: "https://there", Emulated: true}
		// parseAnswer may alter what it reads.
		blocks, err := parseAnswer(bytes.Clone(body), d, count, origin)
		if err != nil {
			if blocks != nil {
				t.Errorf("%d blocks with the error %v", len(blocks), err)
			}
			return
		}
		want, err := referenceParse(body, d, count)
		if err != nil {
			t.Fatalf("accepted, and the reference says: %v", err)
		}
		if len(blocks) != len(want) || len(blocks) != count {
			t.Fatalf("%d blocks, %d by the reference, %d asked for", len(blocks), len(want), count)
		}
		for i, b := range blocks {
			if !bytes.Equal(b.Bytes(), want[i]) {
				t.Errorf("block %d differs from the reference's", i)
			}
			if b.Origin() != origin {
				t.Errorf("block %d is from %v", i, b.Origin())
			}
		}
	})
}

// The fuzz target proves little if its seeds do not get far.
func TestReferenceAcceptsAnswers(t *testing.T) {
	for _, d := range bothDialects {
		want := noise(1, 3)
		got, err := referenceParse(answerWith(d, want...), d, 3)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Errorf("%v: block %d differs", d, i)
			}
		}
		if _, err := referenceParse(answerWith(d, want...), d, 2); err == nil {
			t.Errorf("%v: accepted 3 blocks for 2", d)
		}
	}
}

// referenceParse reads an answer as the service's documentation and RFC 8259
// and 4648 describe it, token by token, with nothing shared with parseAnswer.
func referenceParse(body []byte, d Dialect, n int) ([][]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if first, err := dec.Token(); err != nil || first != json.Delim('{') {
		return nil, errors.New("no object")
	}
	fields := make(map[string]json.RawMessage)
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name := key.(string)
		// A name that is not UTF-8 reads as U+FFFD here: two may look equal.
		if _, twice := fields[name]; twice && !bytes.ContainsRune([]byte(name), utf8.RuneError) {
			return nil, errors.New("a field twice")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		fields[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("more than one value")
	}

	list, array := fields["random"], []json.RawMessage(nil)
	if d == DialectOpenAPI {
		list = fields["entropy"]
	} else {
		var size json.Number
		if err := json.Unmarshal(fields["size"], &size); err != nil || fields["size"][0] == '"' {
			return nil, errors.New("size is no number")
		}
		if value, err := size.Float64(); err != nil || value != float64(n) {
			return nil, errors.New("another size")
		}
	}
	if err := json.Unmarshal(list, &array); err != nil {
		return nil, err
	}
	if len(array) != n {
		return nil, errors.New("another number of blocks")
	}
	blocks := make([][]byte, n)
	for i, raw := range array {
		var text *string
		if err := json.Unmarshal(raw, &text); err != nil || text == nil {
			return nil, errors.New("a block is no string")
		}
		block, err := base64.StdEncoding.DecodeString(*text)
		if err != nil {
			return nil, err
		}
		// There is one right encoding of each block, and this is it.
		if len(block) != BlockSize || base64.StdEncoding.EncodeToString(block) != *text {
			return nil, errors.New("not the base64 of a block")
		}
		blocks[i] = block
	}
	return blocks, nil
}
