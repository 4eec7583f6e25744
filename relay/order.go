package relay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"

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

	// What a request that says nothing gets. The document has the first; of the
	// Open API's call, one key.
	defaultQuantumPieces = 1
	defaultOpenPieces    = 1
	defaultOpenSize      = 32
)

// An order is what a request asks for: so many pieces of size bytes each.
type order struct {
	open         bool // in the Open API's dialect
	pieces, size int
}

func (o order) bytes() int { return o.pieces * o.size }

// A refusal is an answer without entropy.
type refusal struct {
	status int
	text   string
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// malformed is 400 in the document's dialect and 422 in the Open API's.
func (o order) malformed(format string, args ...any) *refusal {
	if o.open {
		return refuse(http.StatusUnprocessableEntity, format, args...)
	}
	return refuse(http.StatusBadRequest, format, args...)
}

// readOrder reads what is asked for.
func readOrder(w http.ResponseWriter, r *http.Request) (order, *refusal) {
	if r.URL.Path == openPath {
		return readOpen(w, r)
	}
	return readQuantum(r)
}

func readQuantum(r *http.Request) (order, *refusal) {
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

func readOpen(w http.ResponseWriter, r *http.Request) (order, *refusal) {
	o := order{open: true, pieces: defaultOpenPieces, size: defaultOpenSize}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return o, o.malformed("the content type must be application/json")
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return o, o.malformed("the body is incomplete, or has more than %d bytes", maxBody)
	}
	text = bytes.TrimSpace(text)
	asked := struct {
		Size  *int `json:"block_size"`
		Count *int `json:"block_count"`
	}{&o.size, &o.pieces}
	if err := json.Unmarshal(text, &asked); err != nil || text[0] != '{' { // null is no error
		return o, o.malformed("the body must be a JSON object with the integers block_size and block_count")
	}
	if asked.Size == nil || asked.Count == nil { // null
		return o, o.malformed("block_size and block_count must be integers")
	}
	if o.pieces < 1 || o.pieces > maxPieces {
		return o, o.malformed("block_count must be from 1 to %d", maxPieces)
	}
	if o.size < 1 || o.size > maxBytes/o.pieces {
		return o, o.malformed("block_size must be at least 1, and all blocks together at most %d bytes", maxBytes)
	}
	return o, nil
}
