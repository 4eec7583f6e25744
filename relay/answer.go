package relay

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// A buffer is what an answer is made in: the bytes as the stock gave them, and
// the body. It is wiped before it goes back to the pool.
type buffer struct {
	raw  []byte
	body []byte
}

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func newBuffer(n int) *buffer {
	b := buffers.Get().(*buffer)
	if cap(b.raw) < n {
		b.raw = make([]byte, n)
	}
	b.raw, b.body = b.raw[:n], b.body[:0]
	return b
}

func (b *buffer) release() {
	clear(b.raw)
	clear(b.body)
	buffers.Put(b)
}

// encode writes the body of an answer in the order's dialect: the raw bytes as
// pieces in base64 (RFC 4648 section 4). It has its length beforehand, so that
// no growing leaves a copy behind.
func (b *buffer) encode(o order) {
	const around = 64 // what is about the list
	if n := around + o.pieces*(base64.StdEncoding.EncodedLen(o.size)+len(`"",`)); cap(b.body) < n {
		b.body = make([]byte, 0, n)
	}
	name, tail := `{"random":[`, `],"size":`+strconv.Itoa(o.pieces)+`}`
	if o.open {
		name, tail = `{"entropy":[`, `]}`
	}
	body := append(b.body, name...)
	for i := range o.pieces {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, '"')
		body = base64.StdEncoding.AppendEncode(body, b.raw[i*o.size:][:o.size])
		body = append(body, '"')
	}
	b.body = append(body, tail...)
}

// send writes the whole answer, and reports whether the network took it. What it
// took need not arrive: a client that does not get it must ask again, for the
// same bytes are never sent twice.
func send(w http.ResponseWriter, body []byte) bool {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if _, err := w.Write(body); err != nil {
		return false
	}
	err := http.NewResponseController(w).Flush()
	return err == nil || errors.Is(err, http.ErrNotSupported) // by a middleware: then it goes when we return
}

// send answers without entropy.
func (ref *refusal) send(w http.ResponseWriter) {
	body, _ := json.Marshal(map[string]string{"error": ref.text})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if ref.status == http.StatusUnauthorized {
		w.Header().Add("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(ref.status)
	w.Write(body)
}

// retryAfter asks the client to wait: whole seconds, rounded up, at least one.
func retryAfter(w http.ResponseWriter, d time.Duration) {
	seconds := max(1, int64((d+time.Second-1)/time.Second))
	w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
}
