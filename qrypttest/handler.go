package qrypttest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

type handler struct {
	e          *Emulator
	region     string
	handshakes bool // a Server's: its handshakes consume ExpiredCertificate
}

// A visit is one request on its way through the emulator.
type visit struct {
	e      *Emulator
	w      http.ResponseWriter
	r      *http.Request
	order  order
	record *Request
	key    [sha256.Size]byte // of the account
	wait   time.Duration     // until the rate limit has room; zero: it has
	issues int64             // blocks the answer counts for in Issued
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(EmulatedHeader, EmulatedValue)
	w.Header().Set("Cache-Control", "no-store")
	v := h.e.arrive(h.region, w, r)
	if ref := v.order.refusal; ref != nil && ref.misled {
		v.refuse(*ref)
		return
	}
	f := v.meet(h)
	if !h.e.pause(r.Context(), f.Latency) {
		v.drop()
	}
	v.retryAfter(f.RetryAfter, f.RetryAfterDate)
	if v.replace(f) {
		return
	}
	if ref := v.refusal(); ref != nil {
		v.refuse(*ref)
		return
	}
	v.answer(f.Kind)
}

// arrive records the request and counts it, whatever will become of it.
func (e *Emulator) arrive(region string, w http.ResponseWriter, r *http.Request) *visit {
	v := &visit{e: e, w: w, r: r, order: readOrder(w, r)}
	e.mu.Lock()
	defer e.mu.Unlock()
	var token int
	token, v.key = e.identify(r.Header)
	v.record = e.record(region, r, v.order.count, token)
	misled := v.order.refusal != nil && v.order.refusal.misled
	if !misled && v.welcome() {
		v.wait = e.account(v.key).arrive(v.record.Time, e.limit)
	}
	return v
}

// welcome says whether the request has the token it needs.
func (v *visit) welcome() bool {
	if v.record.Token == noToken {
		return v.order.open && !v.e.requireToken
	}
	return v.record.Token >= 0
}

// meet decides which fault the request meets, and records it.
func (v *visit) meet(h *handler) Fault {
	f := v.ask()
	v.e.mu.Lock()
	defer v.e.mu.Unlock()
	if f == nil {
		f = v.e.next(h.region, h.handshakes)
	}
	v.record.Fault = *f
	return *f
}

// ask asks SetFault's function, without the lock, because the function may ask
// the emulator things.
func (v *visit) ask() *Fault {
	v.e.mu.Lock()
	hook, asked := v.e.hook, v.record.clone()
	v.e.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(asked)
}

// refusal is what stands between a request and its blocks, in the order of
// the service: token, form, rate, quota. The quota is charged.
func (v *visit) refusal() *refusal {
	switch {
	case !v.welcome() && v.record.Token == noToken:
		v.w.Header().Set("WWW-Authenticate", "Bearer")
		return &refusal{status: http.StatusUnauthorized, text: "there is no access token"}
	case !v.welcome():
		v.w.Header().Set("WWW-Authenticate", "Bearer")
		return &refusal{status: http.StatusUnauthorized, text: "the access token is not valid"}
	case v.order.refusal != nil:
		return v.order.refusal
	case v.wait > 0:
		// A fault may have set another, which would not be true of this limit.
		v.w.Header().Del("Retry-After")
		if !v.e.noRetryAfter {
			v.retryAfter(v.wait, false)
		}
		return &refusal{status: http.StatusTooManyRequests, text: "the token made too many requests"}
	case !v.e.charge(v.key, v.order.units()):
		return &refusal{status: http.StatusForbidden, text: "the token has no blocks left for this"}
	}
	return nil
}

func (v *visit) refuse(ref refusal) {
	body, _ := json.Marshal(map[string]string{"error": ref.text})
	v.send(ref.status, "application/json", body)
}

func (v *visit) retryAfter(d time.Duration, asDate bool) {
	if d <= 0 {
		return
	}
	value := strconv.FormatInt(seconds(d), 10)
	if asDate {
		// A date has no fractions: the second after, never the one before.
		at := time.Now().Add(d + time.Second - 1)
		value = at.UTC().Format(http.TimeFormat)
	}
	v.w.Header().Set("Retry-After", value)
}

// send answers with a body whose length is announced.
func (v *visit) send(status int, contentType string, body []byte) {
	h := v.w.Header()
	bodyless := v.r.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
	if bodyless || len(body) == 0 {
		h.Set("Content-Type", contentType)
		v.done(status)
		v.w.WriteHeader(status)
		return
	}
	v.begin(status, contentType, len(body))
	// The last byte waits for the record: who has it finds the status there.
	last := len(body) - 1
	if _, err := v.w.Write(body[:last]); err != nil {
		v.drop()
	}
	v.done(status)
	v.w.Write(body[last:])
}

// begin writes the header; a negative length is not announced.
func (v *visit) begin(status int, contentType string, length int) {
	h := v.w.Header()
	h.Set("Content-Type", contentType)
	if length >= 0 {
		h.Set("Content-Length", strconv.Itoa(length))
	}
	v.w.WriteHeader(status)
}

// done records that the request is answered, a byte before it is.
func (v *visit) done(status int) {
	v.e.mu.Lock()
	defer v.e.mu.Unlock()
	v.record.Status = status
	v.e.answers[status]++
	v.e.issued += v.issues
}

// drop ends the request without an answer, or with half of one.
func (v *visit) drop() { panic(http.ErrAbortHandler) }

// pause waits, or returns false if meanwhile the client goes or the emulator
// closes. A negative d is for ever.
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
