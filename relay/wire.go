package relay

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"example.com/qrand/qrypt"
)

// The two calls of Qrypt's API.
const (
	quantumPath = "/api/v1/quantum-entropy"
	openPath    = "/api/v1/entropy"
)

const (
	maxPieces = 512                               // of a request, in either call
	maxBytes  = qrypt.MaxBlocks * qrypt.BlockSize // all of them together
	maxBody   = 4 << 10                           // of a request, which needs some 40 bytes

	// What a request that says nothing gets. Qrypt's document has the first; of the
	// Open API's call it is one key.
	defaultQuantumPieces = 1
	defaultOpenPieces    = 1
	defaultOpenSize      = 32
)

// An order is what a request asks for: so many pieces of size bytes each.
type order struct {
	openAPI      bool // in the Open API's dialect
	pieces, size int
}

func (o order) bytes() int { return o.pieces * o.size }

// malformed is 400 in the document's dialect and 422 in the Open API's.
func (o order) malformed(format string, args ...any) *refusal {
	if o.openAPI {
		return refuse(http.StatusUnprocessableEntity, format, args...)
	}
	return refuse(http.StatusBadRequest, format, args...)
}

func readQuantum(_ http.ResponseWriter, r *http.Request) (order, *refusal) {
	o := order{pieces: defaultQuantumPieces, size: qrypt.BlockSize}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return o, o.malformed("the query is malformed")
	}
	switch sizes := query["size"]; len(sizes) {
	case 0:
		return o, nil
	case 1:
		n, err := strconv.ParseUint(sizes[0], 10, 16)
		if err == nil && n >= 1 && n <= maxPieces {
			o.pieces = int(n)
			return o, nil
		}
	}
	return o, o.malformed("size must be one integer from 1 to %d", maxPieces)
}

func readOpenAPI(w http.ResponseWriter, r *http.Request) (order, *refusal) {
	o := order{openAPI: true, pieces: defaultOpenPieces, size: defaultOpenSize}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return o, o.malformed("the content type must be application/json")
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return o, o.malformed("the body is incomplete, or has more than %d bytes", maxBody)
	}
	text = bytes.TrimSpace(text)
	size, pieces := int64(o.size), int64(o.pieces) // of 64 bits, or a large number would be no integer on some systems
	asked := struct {
		Size  *int64 `json:"block_size"`
		Count *int64 `json:"block_count"`
	}{&size, &pieces}
	if err := json.Unmarshal(text, &asked); err != nil || text[0] != '{' { // null is no error
		return o, o.malformed("the body must be a JSON object with the integers block_size and block_count")
	}
	if asked.Size == nil || asked.Count == nil { // null
		return o, o.malformed("block_size and block_count must be integers")
	}
	if pieces < 1 || pieces > maxPieces {
		return o, o.malformed("block_count must be from 1 to %d", maxPieces)
	}
	if size < 1 || size > maxBytes/pieces {
		return o, o.malformed("block_size must be at least 1, and all blocks together at most %d bytes", maxBytes)
	}
	o.size, o.pieces = int(size), int(pieces)
	return o, nil
}

// A buffer is what an answer is made in: the bytes as the stock gave them, and the
// body. It is wiped before it goes back to the pool.
type buffer struct {
	raw     []byte
	receipt []byte // JSON; nil: none
	body    []byte
}

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func newBuffer(n int) *buffer {
	b := buffers.Get().(*buffer)
	if cap(b.raw) < n {
		b.raw = make([]byte, n)
	}
	b.raw, b.receipt, b.body = b.raw[:n], nil, b.body[:0]
	return b
}

func (b *buffer) release() {
	clear(b.raw)
	clear(b.body)
	buffers.Put(b)
}

// encode writes the body of an answer in the order's dialect: the raw bytes as
// pieces in base64 (RFC 4648 section 4), and the receipt. It allocates all of it at
// once, so that no growing leaves a copy behind.
func (b *buffer) encode(o order) {
	around := 64 + len(b.receipt) // bytes before and after the list
	if n := around + o.pieces*(base64.StdEncoding.EncodedLen(o.size)+len(`"",`)); cap(b.body) < n {
		b.body = make([]byte, 0, n)
	}
	head, tail := `{"random":[`, `],"size":`+strconv.Itoa(o.pieces)+`}`
	if o.openAPI {
		head, tail = `{"entropy":[`, `]}`
	}
	body := append(b.body, head...)
	for i := range o.pieces {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, '"')
		body = base64.StdEncoding.AppendEncode(body, b.raw[i*o.size:][:o.size])
		body = append(body, '"')
	}
	if b.receipt != nil {
		body = append(append(append(body, tail[:len(tail)-1]...), `,"receipt":`...), b.receipt...)
		tail = "}"
	}
	b.body = append(body, tail...)
}

// send writes the body of an answer with entropy, and reports whether the network
// took it. Even then it may not arrive. A client that does not get it must ask
// again, for the same bytes are never sent twice.
func send(w http.ResponseWriter, body []byte) bool {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if _, err := w.Write(body); err != nil {
		return false
	}
	err := http.NewResponseController(w).Flush()
	return err == nil || errors.Is(err, http.ErrNotSupported) // by a middleware: then it goes when we return
}
