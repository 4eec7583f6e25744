package qrypttest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A handler serves one region.
type handler struct {
	e          *Emulator
	region     string
	handshakes bool // a Server's TLS handshakes consume ExpiredCertificate
}

// An exchange is one request and its answer.
type exchange struct {
	e      *Emulator
	w      http.ResponseWriter
	r      *http.Request
	order  order
	record *Request
	key    [sha256.Size]byte // of the account
	wait   time.Duration     // until the rate limit admits the request; zero: it is admitted
	issues int64             // how many blocks Issued counts once the answer is sent
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(EmulatedHeader, EmulatedValue)
	w.Header().Set("Cache-Control", "no-store")
	x := h.e.receive(h.region, w, r)
	if ref := x.order.refusal; ref != nil && ref.unknownCall {
		x.sendRefusal(*ref)
		return
	}
	f := x.pickFault(h)
	if !h.e.pause(r.Context(), f.Latency) {
		x.abort()
	}
	x.retryAfter(f.RetryAfter, f.RetryAfterDate)
	if x.sendWithoutBlocks(f) {
		return
	}
	if ref := x.refusal(); ref != nil {
		x.sendRefusal(*ref)
		return
	}
	if text := deviceAnswers[r.URL.Path]; text != "" {
		x.send(http.StatusOK, typeJSON, []byte(text))
		return
	}
	x.sendBlocks(f.Kind)
}

// receive reads the request, records it, and counts it for the rate limit.
func (e *Emulator) receive(region string, w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{e: e, w: w, r: r, order: readOrder(w, r)}
	e.mu.Lock()
	defer e.mu.Unlock()
	var token int
	token, x.key = e.identify(r.Header)
	x.record = e.record(region, r, x.order.count, token)
	unknownCall := x.order.refusal != nil && x.order.refusal.unknownCall
	if !unknownCall && x.authorized() {
		x.wait = e.account(x.key).count(x.record.Time, e.limit)
	}
	return x
}

// authorized reports whether the request has the token that it needs.
func (x *exchange) authorized() bool {
	if x.record.Token == noToken {
		return x.order.openAPI && !x.e.requireToken
	}
	return x.record.Token >= 0
}

// pickFault decides which fault happens to the request, and records it.
func (x *exchange) pickFault(h *handler) Fault {
	x.e.mu.Lock()
	hook, asked := x.e.hook, x.record.clone()
	x.e.mu.Unlock()
	var f *Fault
	if hook != nil {
		f = hook(asked) // without the lock, because it may call the emulator
	}
	x.e.mu.Lock()
	defer x.e.mu.Unlock()
	if f == nil {
		f = x.e.nextFault(h.region, h.handshakes)
	}
	x.record.Fault = *f
	return *f
}

// refusal returns why the request gets no blocks, or nil. It checks in the order of
// the service: token, form, rate, quota. It charges the quota.
func (x *exchange) refusal() *refusal {
	switch {
	case !x.authorized() && x.record.Token == noToken:
		x.w.Header().Set("WWW-Authenticate", "Bearer")
		return &refusal{status: http.StatusUnauthorized, text: "there is no access token"}
	case !x.authorized():
		x.w.Header().Set("WWW-Authenticate", "Bearer")
		return &refusal{status: http.StatusUnauthorized, text: "the access token is not valid"}
	case x.order.refusal != nil:
		return x.order.refusal
	case x.wait > 0:
		// A fault may have set one, which would be wrong for this limit.
		x.w.Header().Del("Retry-After")
		if !x.e.noRetryAfter {
			x.retryAfter(x.wait, false)
		}
		return &refusal{status: http.StatusTooManyRequests, text: "the token made too many requests"}
	case !x.e.charge(x.key, x.order.units()):
		return &refusal{status: http.StatusForbidden, text: "the token has no blocks left for this"}
	}
	return nil
}

func (x *exchange) sendRefusal(ref refusal) {
	body, _ := json.Marshal(map[string]string{"error": ref.text})
	x.send(ref.status, "application/json", body)
}

func (x *exchange) retryAfter(d time.Duration, asDate bool) {
	if d <= 0 {
		return
	}
	value := strconv.FormatInt(seconds(d), 10)
	if asDate {
		// A date has no fractions of a second: it is rounded up.
		at := time.Now().Add(d + time.Second - 1)
		value = at.UTC().Format(http.TimeFormat)
	}
	x.w.Header().Set("Retry-After", value)
}

// send answers with a body whose length is announced.
func (x *exchange) send(status int, contentType string, body []byte) {
	h := x.w.Header()
	bodyless := x.r.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
	if bodyless || len(body) == 0 {
		h.Set("Content-Type", contentType)
		x.recordStatus(status)
		x.w.WriteHeader(status)
		return
	}
	x.writeHeader(status, contentType, len(body))
	// The last byte waits for the record: a client that has it finds the status there.
	last := len(body) - 1
	if _, err := x.w.Write(body[:last]); err != nil {
		x.abort()
	}
	x.recordStatus(status)
	x.w.Write(body[last:])
}

// writeHeader writes the header. A negative length is not announced.
func (x *exchange) writeHeader(status int, contentType string, length int) {
	h := x.w.Header()
	h.Set("Content-Type", contentType)
	if length >= 0 {
		h.Set("Content-Length", strconv.Itoa(length))
	}
	x.w.WriteHeader(status)
}

// recordStatus records that the request is answered, just before its last byte is sent.
func (x *exchange) recordStatus(status int) {
	x.e.mu.Lock()
	defer x.e.mu.Unlock()
	x.record.Status = status
	x.e.answers[status]++
	x.e.issued += x.issues
}

// abort closes the connection, without an answer or in the middle of one.
func (x *exchange) abort() { panic(http.ErrAbortHandler) }

// pause waits. It returns false if the client goes, or the emulator closes, before d
// has passed. A negative d never passes.
func (e *Emulator) pause(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return true
	}
	var elapsed <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		elapsed = t.C
	}
	select {
	case <-elapsed:
		return true
	case <-ctx.Done():
	case <-e.closing:
	}
	return false
}

// The two calls of the service that give blocks.
const (
	quantumPath = "/api/v1/quantum-entropy"
	openPath    = "/api/v1/entropy"
)

// deviceAnswers are those to the calls of the QRNG Open API that give none. Of the faults
// they meet those that need no blocks.
var deviceAnswers = map[string]string{
	"/api/v1/capabilities": `{"entropy":{"min_block_size":1,"max_block_size":524288,"min_block_count":1,"max_block_count":512,"entropy_types":["emulated"]}}`,
	"/api/v1/healthtest":   `{"test_result":[{"test_type":"none","test_result":"this device is emulated","time_stamp":"2000-01-01T00:00:00Z"}]}`,
}

const (
	blockSize = 1024      // in bytes, of the service's own call, and the unit of a quota
	maxCount  = 512       // blocks in a request
	maxBytes  = 512 << 10 // of all blocks of a request, in either call
	maxBody   = 4 << 10   // of an Open API request, which needs some 40 bytes
)

// An order is what a request asks for: count blocks of size bytes each.
type order struct {
	openAPI     bool // the Open API's call
	count, size int
	refusal     *refusal // nil if the request is well-formed
}

// A refusal is an error answer.
type refusal struct {
	status      int
	text        string
	unknownCall bool // the service has no such call: token, limits and faults do not matter
}

func badOrder(status int, format string, args ...any) order {
	return order{refusal: &refusal{status: status, text: fmt.Sprintf(format, args...)}}
}

// units returns what the order takes from a quota.
func (o order) units() int { return (o.count*o.size + blockSize - 1) / blockSize }

// readOrder reads what the request asks for. It does not answer if that is wrong: the
// record and the limits come first.
func readOrder(w http.ResponseWriter, r *http.Request) order {
	var want string
	var read func(http.ResponseWriter, *http.Request) order
	switch r.URL.Path {
	case quantumPath:
		want, read = http.MethodGet, readQuantum
	case openPath:
		want, read = http.MethodPost, readOpen
	case "/api/v1/capabilities", "/api/v1/healthtest":
		want, read = http.MethodGet, func(http.ResponseWriter, *http.Request) order { return order{} }
	default:
		o := badOrder(http.StatusNotFound, "there is nothing at this path")
		o.refusal.unknownCall = true
		return o
	}
	if r.Method != want {
		w.Header().Set("Allow", want)
		o := badOrder(http.StatusMethodNotAllowed, "this path accepts only %s", want)
		o.refusal.unknownCall = true
		return o
	}
	o := read(w, r)
	o.openAPI = r.URL.Path != quantumPath
	return o
}

func readQuantum(_ http.ResponseWriter, r *http.Request) order {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return badOrder(http.StatusBadRequest, "the query is malformed")
	}
	o := order{count: 1, size: blockSize}
	sizes, given := query["size"]
	if !given {
		return o
	}
	o.count, err = strconv.Atoi(sizes[0])
	if err != nil || len(sizes) > 1 || strings.Trim(sizes[0], "0123456789") != "" || o.count < 1 || o.count > maxCount {
		return badOrder(http.StatusBadRequest, "size must be one integer from 1 to %d", maxCount)
	}
	return o
}

func readOpen(w http.ResponseWriter, r *http.Request) order {
	const status = http.StatusUnprocessableEntity
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(media), "application/json") {
		return badOrder(status, "the content type must be application/json")
	}
	body := struct {
		Size  *int `json:"block_size"`
		Count *int `json:"block_count"`
	}{}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return badOrder(status, "the body is incomplete or has more than %d bytes", maxBody)
	}
	if err := json.Unmarshal(text, &body); err != nil {
		return badOrder(status, "the body must be a JSON object with integers block_size and block_count")
	}
	o := order{count: 1, size: 32}
	if body.Count != nil {
		o.count = *body.Count
	}
	if body.Size != nil {
		o.size = *body.Size
	}
	if o.count < 1 || o.count > maxCount {
		return badOrder(status, "block_count must be from 1 to %d", maxCount)
	}
	if o.size < 1 || o.size > maxBytes/o.count {
		return badOrder(status, "block_size must be at least 1, and all blocks together at most %d bytes", maxBytes)
	}
	return o
}
