package qrypt

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	encodedLen = 1368 // base64 of a block: 4 * ceil(1024 / 3)
	maxFields  = 16   // in the object of an answer: the dialects have one or two
)

// maxAnswer is how long an answer with n blocks may be: half as much again as
// it needs, for white space and escapes.
func maxAnswer(n int) int { return 4<<10 + n*2<<10 }

// maxReceipt is how much longer an answer with a receipt may be: for a signature of any
// kind. What the receipt has for each block finds room in maxAnswer.
const maxReceipt = 16 << 10

var errOversized = errors.New("the answer is longer than any to this request")

// checkHeader says what is wrong with the header of a success, if anything. A field that
// comes more than once must be right each time: we do not guess which one is meant.
func checkHeader(h http.Header) string {
	for _, encoding := range h.Values("Content-Encoding") {
		if encoding != "" && encoding != "identity" {
			return "it is compressed, which was not asked for"
		}
	}
	kinds := h.Values("Content-Type")
	if len(kinds) == 0 || slices.ContainsFunc(kinds, func(kind string) bool { return !isJSON(kind) }) {
		return "its content type is not application/json"
	}
	return ""
}

// isJSON reports whether a content type is that of JSON. Package mime turns a dotted
// capital I into an i, so that one is refused here.
func isJSON(value string) bool {
	kind, _, err := mime.ParseMediaType(value)
	return err == nil && kind == "application/json" && !strings.ContainsRune(value, '\u0130')
}

// readAll reads r to its end into buf, which the caller wipes. An answer that fills all
// of buf is too long.
func readAll(r io.Reader, buf []byte) (int, error) {
	n := 0
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		n += m
		if err == io.EOF && n < len(buf) {
			return n, nil
		}
		if err != nil && err != io.EOF {
			return n, err
		}
	}
	return n, errOversized
}

// parseAnswer reads the n blocks of an answer: an object with the array "random" and its
// length "size", or in the Open API with the array "entropy" alone. A relay may add a
// "receipt". Other fields are ignored. It may change body, and keeps no part of it.
//
// encoding/json accepts duplicate fields and fields in another case, and makes strings
// that cannot be wiped. So it only decides whether body is JSON. The walker relies on
// that.
func parseAnswer(body []byte, d Dialect, n int, origin Origin) (blocks []Block, err error) {
	if !json.Valid(body) {
		return nil, errors.New("it is not one JSON value")
	}
	defer func() {
		if err != nil {
			Wipe(blocks)
			blocks = nil
		}
	}()
	array := "random"
	if d == DialectOpenAPI {
		array = "entropy"
	}
	w := walker{body}
	if !w.accept('{') {
		return nil, errors.New("it is not a JSON object")
	}
	var seen []string
	sized, receipt := false, ""
	for !w.accept('}') {
		w.accept(',')
		key := w.text()
		w.accept(':')
		if bytes.IndexByte(key, '\\') >= 0 || len(key) > 64 {
			return blocks, errors.New("it has a field with an odd name")
		}
		name := string(key)
		for _, other := range seen {
			if name == other {
				return blocks, errors.New("it has the same field twice")
			}
		}
		if seen = append(seen, name); len(seen) > maxFields {
			return blocks, fmt.Errorf("it has more than %d fields", maxFields)
		}
		switch {
		case name == array:
			if blocks, err = w.blocks(n, origin); err != nil {
				return blocks, err
			}
		case name == "size" && d == DialectQuantumEntropy:
			if size, err := strconv.Atoi(string(w.value())); err != nil || size != n {
				return blocks, fmt.Errorf("its size is not the %d asked for", n)
			}
			sized = true
		case name == "receipt":
			receipt = string(w.value())
		default:
			w.value()
		}
	}
	if len(blocks) != n {
		return blocks, fmt.Errorf("it has no %q", array)
	}
	if d == DialectQuantumEntropy && !sized {
		return blocks, errors.New("it has no size")
	}
	for i := range blocks {
		blocks[i].origin.Receipt = receipt
	}
	return blocks, nil
}

// A walker steps through text that is known to be valid JSON.
type walker struct{ rest []byte }

// accept steps over white space, and over c if it follows.
func (w *walker) accept(c byte) bool {
	w.rest = bytes.TrimLeft(w.rest, " \t\r\n")
	if len(w.rest) == 0 || w.rest[0] != c {
		return false
	}
	w.rest = w.rest[1:]
	return true
}

// text steps over a string and returns what is between its quotes.
func (w *walker) text() []byte {
	w.accept('"')
	for i := 0; i < len(w.rest); i++ {
		switch w.rest[i] {
		case '\\':
			i++
		case '"':
			s := w.rest[:i]
			w.rest = w.rest[i+1:]
			return s
		}
	}
	w.rest = nil // not reached with valid JSON
	return nil
}

// value steps over a value of any kind and returns its text.
func (w *walker) value() []byte {
	w.rest = bytes.TrimLeft(w.rest, " \t\r\n")
	begin, depth := w.rest, 0
	for len(w.rest) > 0 {
		switch w.rest[0] {
		case '"':
			w.text()
		case '[', '{':
			depth++
			w.rest = w.rest[1:]
		case ']', '}':
			depth--
			w.rest = w.rest[1:]
		default:
			w.rest = w.rest[1:]
		}
		if depth == 0 && (len(w.rest) == 0 || strings.IndexByte(",]} \t\r\n", w.rest[0]) >= 0) {
			break
		}
	}
	return begin[:len(begin)-len(w.rest)]
}

// blocks steps over an array of exactly n encoded blocks.
func (w *walker) blocks(n int, origin Origin) (blocks []Block, err error) {
	wrong := fmt.Errorf("it does not have the %d blocks asked for", n)
	if !w.accept('[') {
		return nil, wrong
	}
	for !w.accept(']') {
		w.accept(',')
		w.rest = bytes.TrimLeft(w.rest, " \t\r\n")
		if len(w.rest) == 0 || w.rest[0] != '"' {
			return blocks, errors.New("a block is not a string")
		}
		if len(blocks) == n {
			return blocks, wrong
		}
		b := makeBlock(origin)
		blocks = append(blocks, b)
		if err := decode(*b.bytes, w.text()); err != nil {
			return blocks, fmt.Errorf("block %d: %w", len(blocks), err)
		}
	}
	if len(blocks) != n {
		return blocks, wrong
	}
	return blocks, nil
}

// decode reads a block from the base64 of RFC 4648 section 4, strictly: the
// exact length, no bits left over, nothing skipped. text may be altered.
func decode(block *[BlockSize]byte, text []byte) error {
	text, ok := unescape(text)
	if !ok || len(text) != encodedLen {
		return fmt.Errorf("not the base64 of %d bytes", BlockSize)
	}
	var raw [encodedLen / 4 * 3]byte
	defer clear(raw[:])
	if n, err := base64.StdEncoding.Strict().Decode(raw[:], text); err != nil || n != BlockSize {
		return fmt.Errorf("not the base64 of %d bytes", BlockSize)
	}
	copy(block[:], raw[:])
	return nil
}

// unescape undoes, in place, the JSON escapes that may stand for base64: some servers
// write / as \/ and + as \u002B. With any other escape, the text is not base64.
func unescape(text []byte) ([]byte, bool) {
	out := text[:0]
	for len(text) > 0 {
		c := text[0]
		switch {
		case c != '\\':
			text = text[1:]
		case len(text) >= 2 && text[1] == '/':
			c, text = '/', text[2:]
		case len(text) >= 6 && text[1] == 'u':
			code, err := strconv.ParseUint(string(text[2:6]), 16, 16)
			if err != nil || code <= ' ' || code > '~' {
				return nil, false
			}
			c, text = byte(code), text[6:]
		default:
			return nil, false
		}
		out = append(out, c)
	}
	return out, true
}

// age returns how long relays have kept the blocks of an answer (RFC 9111 section 5.1).
// The service itself sends no Age. A user of fresh blocks must not be deceived, so the
// largest of several values counts, and a value that is no number counts as the longest
// time.
func age(h http.Header) time.Duration {
	var oldest time.Duration
	for _, value := range strings.Split(strings.Join(h["Age"], ","), ",") {
		value = strings.TrimSpace(value)
		switch {
		case value == "" && len(h["Age"]) == 0:
		case value == "" || strings.Trim(value, "0123456789") != "":
			oldest = longest
		default:
			seconds, _ := strconv.ParseUint(value, 10, 64) // its largest, where the value is larger
			oldest = max(oldest, time.Duration(min(seconds, uint64(longest/time.Second)))*time.Second)
		}
	}
	return oldest
}
