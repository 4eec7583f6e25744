package qrypttest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// The two calls of the service.
const (
	quantumPath = "/api/v1/quantum-entropy"
	openPath    = "/api/v1/entropy"
)

const (
	blockSize = 1024      // of the service's own call, and Quota's unit
	maxCount  = 512       // blocks a request may ask for
	maxBytes  = 512 << 10 // what all of them may have, in either call
	maxBody   = 4 << 10   // of an Open API request, which needs some 40 bytes
)

// An order is what a request asks for: count blocks of size bytes each.
type order struct {
	open        bool // the Open API's call
	count, size int
	refusal     *refusal // nil if the request is well-formed
}

// A refusal is an error as the client gets it.
type refusal struct {
	status int
	text   string
	misled bool // no call of the service: no token, limit or fault is looked at
}

func refuse(status int, format string, args ...any) order {
	return order{refusal: &refusal{status: status, text: fmt.Sprintf(format, args...)}}
}

// units is how many blocks the order is worth, in Quota's unit.
func (o order) units() int { return (o.count*o.size + blockSize - 1) / blockSize }

// readOrder never answers by itself: the record and the limits come first.
func readOrder(w http.ResponseWriter, r *http.Request) order {
	var want string
	var read func(http.ResponseWriter, *http.Request) order
	switch r.URL.Path {
	case quantumPath:
		want, read = http.MethodGet, readQuantum
	case openPath:
		want, read = http.MethodPost, readOpen
	default:
		o := refuse(http.StatusNotFound, "there is nothing at this path")
		o.refusal.misled = true
		return o
	}
	if r.Method != want {
		w.Header().Set("Allow", want)
		o := refuse(http.StatusMethodNotAllowed, "this path only knows %s", want)
		o.refusal.misled = true
		return o
	}
	o := read(w, r)
	o.open = r.URL.Path == openPath
	return o
}

func readQuantum(_ http.ResponseWriter, r *http.Request) order {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return refuse(http.StatusBadRequest, "the query is malformed")
	}
	o := order{count: 1, size: blockSize}
	sizes, given := query["size"]
	if !given {
		return o
	}
	o.count, err = strconv.Atoi(sizes[0])
	if err != nil || len(sizes) > 1 || strings.Trim(sizes[0], "0123456789") != "" || o.count < 1 || o.count > maxCount {
		return refuse(http.StatusBadRequest, "size must be one integer from 1 to %d", maxCount)
	}
	return o
}

func readOpen(w http.ResponseWriter, r *http.Request) order {
	const status = http.StatusUnprocessableEntity
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(media), "application/json") {
		return refuse(status, "the content type must be application/json")
	}
	body := struct {
		Size  *int `json:"block_size"`
		Count *int `json:"block_count"`
	}{}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return refuse(status, "the body is incomplete or has more than %d bytes", maxBody)
	}
	if err := json.Unmarshal(text, &body); err != nil {
		return refuse(status, "the body must be a JSON object with integers block_size and block_count")
	}
	o := order{count: 1, size: 32}
	if body.Count != nil {
		o.count = *body.Count
	}
	if body.Size != nil {
		o.size = *body.Size
	}
	if o.count < 1 || o.count > maxCount {
		return refuse(status, "block_count must be from 1 to %d", maxCount)
	}
	if o.size < 1 || o.size > maxBytes/o.count {
		return refuse(status, "block_size must be at least 1, and all blocks together at most %d bytes", maxBytes)
	}
	return o
}
