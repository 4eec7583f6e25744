package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// An exchange is a request and its answer, and what the log will say of them.
type exchange struct {
	w          http.ResponseWriter                                        // nil in Hand
	send       func(blocks []byte, age time.Duration, emulated bool) bool // of Hand; nil over HTTP
	r          *http.Request
	began      time.Time
	client     string        // its name; empty: not known
	receiptKey []byte        // of the receipt that it asks for; nil: it does not ask
	status     int           // of the answer; zero: none has begun
	refused    string        // why there was no entropy, or no page
	retryAfter time.Duration // what a refusal asks the client to wait; zero: nothing
	handed     int           // bytes of entropy in an answer that the network took
	lost       int           // or did not take
}

// A refusal is an answer without entropy.
type refusal struct {
	status int
	text   string
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

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

func (x *exchange) refuse(ref *refusal) {
	x.status, x.refused = ref.status, ref.text
	if x.w == nil {
		return // Hand's caller tells the client
	}
	if x.retryAfter > 0 {
		x.w.Header().Set("Retry-After", strconv.FormatInt(int64(x.retryAfter/time.Second), 10))
	}
	ref.send(x.w)
}

// keep lets a client or an operator send another request on the connection. After all
// others it ends, so that they make the relay hold no more than one answer. RFC 9112 section 6.3: if the
// request has a Content-Length beside its Transfer-Encoding, what follows it may not be a
// request. The server does not say whether this one had both.
func (x *exchange) keep() {
	Known(x.r)
	if len(x.r.TransferEncoding) == 0 {
		x.w.Header().Del("Connection")
	}
}

// refuseFor is refuse with a Retry-After: whole seconds, rounded up, at least one.
func (x *exchange) refuseFor(wait time.Duration, ref *refusal) {
	x.retryAfter = max(time.Second, (wait + time.Second - 1).Truncate(time.Second))
	x.refuse(ref)
}

// rescue is deferred. A panic before the answer becomes a 500; one within it ends
// the connection. The log does not get its value, which may have anything in it.
func (r *Relay) rescue(x *exchange) {
	cause := recover()
	if cause == nil {
		return
	}
	if cause != http.ErrAbortHandler {
		r.cfg.Logger.Error("relay: a request ended in a panic", "type", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
	}
	if x.status != 0 { // an answer has begun, and no other may follow in it
		panic(http.ErrAbortHandler)
	}
	x.refuse(refuse(http.StatusInternalServerError, "an error of the relay's own"))
}

// A statusWriter keeps the status of an answer that somebody else writes.
type statusWriter struct {
	http.ResponseWriter
	x *exchange
}

func (s *statusWriter) WriteHeader(status int) {
	s.x.status = status
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusWriter) Write(p []byte) (int, error) {
	if s.x.status == 0 {
		s.x.status = http.StatusOK
	}
	return s.ResponseWriter.Write(p)
}

func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// log writes a line of the access log. What a client sent is not in it: a token may
// be anywhere.
func (r *Relay) log(x *exchange) {
	log := r.cfg.AccessLog
	if log == nil {
		return
	}
	remote, _, err := net.SplitHostPort(x.r.RemoteAddr)
	if err != nil {
		remote = x.r.RemoteAddr
	}
	attrs := []slog.Attr{
		slog.String("remote", remote),
		slog.String("client", x.client),
		slog.String("call", x.r.URL.Path),
		slog.Int("status", x.status),
		slog.Int("bytes", x.handed),
		slog.Duration("took", time.Since(x.began)),
	}
	if x.lost > 0 {
		attrs = append(attrs, slog.Int("lost", x.lost))
	}
	if x.refused != "" {
		attrs = append(attrs, slog.String("refused", x.refused))
	}
	if x.refused != "" {
		unlogged, ok := r.refusals.admit(x.client, time.Now())
		if !ok {
			return
		}
		if unlogged > 0 {
			attrs = append(attrs, slog.Int("unlogged", unlogged))
		}
	}
	log.LogAttrs(context.Background(), slog.LevelInfo, "request", attrs...)
}

// A refusalLog keeps refusals from filling the disk: for each client, and for all who are
// not known, only the first few in a second get a line in the access log.
type refusalLog struct {
	mu      sync.Mutex
	clients map[string]*refusalCount
}

// A refusalCount is that of a client.
type refusalCount struct {
	limiter  *rate.Limiter
	unlogged int
}

const refusalsLogged = 10 // in a second

// admit reports whether a refusal gets a line, and how many of that client got none before
// it.
func (l *refusalLog) admit(client string, now time.Time) (unlogged int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.clients[client]
	if c == nil {
		c = &refusalCount{limiter: rate.NewLimiter(refusalsLogged, refusalsLogged)}
		if l.clients == nil {
			l.clients = map[string]*refusalCount{}
		}
		l.clients[client] = c
	}
	if !c.limiter.AllowN(now, 1) {
		c.unlogged++
		return 0, false
	}
	unlogged, c.unlogged = c.unlogged, 0
	return unlogged, true
}
