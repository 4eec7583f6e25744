package relay

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/qrand/internal/clock"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// emulatedValue is what qrypt.EmulatedHeader has in answers with emulated bytes.
const emulatedValue = "this entropy is emulated, not quantum"

// A visit is one request for entropy.
type visit struct {
	w      http.ResponseWriter
	r      *http.Request
	began  time.Time
	client string // its name, once known
	order  order
	status int
	why    string // it was refused, for the log
	handed int    // bytes of entropy in an answer that the network took
	lost   int    // or did not take
}

// serveEntropy answers the two calls of the API, in the order in which the
// service looks at a request: token, form, rate limit, quota, supply.
func (r *Relay) serveEntropy(w http.ResponseWriter, req *http.Request) {
	v := &visit{w: w, r: req, began: time.Now()}
	defer r.record(v)
	defer r.rescue(v)
	w.Header().Set("Cache-Control", "no-store")
	if want := method(req.URL.Path); req.Method != want {
		w.Header().Set("Allow", want)
		v.refuse(refuse(http.StatusMethodNotAllowed, "this path only knows %s", want))
		return
	}
	cl, err := r.cfg.Clients.Identify(req)
	if err != nil {
		v.refuse(refuse(http.StatusUnauthorized, "%s", strings.TrimPrefix(err.Error(), "relay: ")))
		return
	}
	v.client = cl.Name
	if cl.Operator {
		v.refuse(refuse(http.StatusUnauthorized, "this is an operator's token: it opens the operator's pages, and gets no entropy"))
		return
	}
	o, ref := readOrder(w, req)
	if v.order = o; ref != nil {
		v.refuse(ref)
		return
	}
	if most := r.cfg.Stock * qrypt.BlockSize; o.bytes() > most {
		v.refuse(o.malformed("this relay keeps %d bytes ready: ask for no more", most))
		return
	}
	now := clock.Now()
	if wait := cl.Allow(now); wait > 0 {
		retryAfter(w, wait)
		v.refuse(refuse(http.StatusTooManyRequests, "too many requests of this client: %d in %v are allowed", cl.Rate, clients.RateWindow))
		return
	}
	ok, paid, until := cl.Charge(int64(o.bytes()), now)
	if !ok {
		retryAfter(w, until.Sub(now))
		v.refuse(refuse(http.StatusForbidden, "this client's quota has less than %d bytes left until %s", o.bytes(), until.UTC().Format(time.RFC3339)))
		return
	}
	if !r.deliver(v) {
		cl.Refund(paid)
	}
}

// method is the one that a call of the API has.
func method(path string) string {
	if path == openPath {
		return http.MethodPost
	}
	return http.MethodGet
}

// deliver takes the order from the stock and sends it. It returns false if there
// is too little in it, and the client has been told.
func (r *Relay) deliver(v *visit) bool {
	if v.r.Context().Err() != nil { // the client is gone: nothing is taken
		v.status, v.why = statusGone, "the client closed the connection"
		return false
	}
	n := v.order.bytes()
	b := newBuffer(n)
	defer b.release()
	from, ok := r.stock.take(b.raw, clock.Now())
	r.wakeRefiller()
	if !ok {
		retryAfter(v.w, r.untilSupply(clock.Now()))
		v.refuse(refuse(http.StatusServiceUnavailable, "the supply of entropy is insufficient for now"))
		return false
	}
	delivered := false
	defer func() {
		r.stock.sent(n, delivered)
		if delivered {
			v.handed = n
		} else {
			v.lost = n
		}
	}()
	b.encode(v.order)
	// RFC 9111 section 5.1: how long ago the service gave the oldest of it. A
	// client with a limit to that, such as RequireFresh, counts from then.
	v.w.Header().Set("Age", strconv.FormatInt(int64((from.age+time.Second-1)/time.Second), 10)) // never younger than it is
	if from.emulated {
		v.w.Header().Set(qrypt.EmulatedHeader, emulatedValue)
	}
	v.status = http.StatusOK
	delivered = send(v.w, b.body)
	return true
}

// statusGone is for the log alone: nobody is there to be answered.
const statusGone = 499

func (v *visit) refuse(ref *refusal) {
	v.status, v.why = ref.status, ref.text
	ref.send(v.w)
}

// untilSupply is when to ask again: when we ask the service next, but soon.
func (r *Relay) untilSupply(now time.Time) time.Duration {
	return min(max(r.upstream.status().NextRequest.Sub(now), time.Second), maxRetryAfter)
}

// maxRetryAfter bounds what clients are asked to wait for supply: the outage may
// end sooner than the next request would tell.
const maxRetryAfter = time.Minute
