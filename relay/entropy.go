package relay

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// emulatedValue is what qrypt.EmulatedHeader has in answers with emulated bytes.
const emulatedValue = "this entropy is emulated, not quantum"

// serveEntropy answers the two calls of the API. It checks a request in the order
// in which the service does: token, form, rate and bandwidth, quota, supply.
func (r *Relay) serveEntropy(w http.ResponseWriter, req *http.Request) {
	x := &exchange{w: w, r: req, began: time.Now()}
	defer r.count(x)
	defer r.rescue(x)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Connection", "close") // until keep
	method, readOrder := http.MethodGet, readQuantum
	if req.URL.Path == openPath {
		method, readOrder = http.MethodPost, readOpenAPI
	}
	if req.Method != method {
		w.Header().Set("Allow", method)
		x.refuse(refuse(http.StatusMethodNotAllowed, "this path only knows %s", method))
		return
	}
	client := r.identify(x)
	if client == nil {
		return
	}
	o, ref := readOrder(w, req)
	if ref == nil {
		ref = r.readReceiptKey(x, o)
	}
	if ref != nil {
		x.refuse(ref)
		return
	}
	r.grant(x, client, o)
}

// count adds a request for entropy to the metrics and to the access log.
func (r *Relay) count(x *exchange) {
	r.counts.add(x.client, x.status, x.handed)
	r.metrics.seconds.Observe(time.Since(x.began).Seconds())
	r.log(x)
}

// grant answers a client's order, within its limits.
func (r *Relay) grant(x *exchange, client *clients.Member, o order) {
	if most := r.cfg.Stock * qrypt.BlockSize; o.bytes() > most {
		x.refuse(o.malformed("this relay keeps %d bytes ready: ask for no more", most))
		return
	}
	if paid, ok := x.charge(client, o.bytes()); ok && !r.deliver(x, o) {
		client.Refund(paid)
	}
}

// charge counts a request for n bytes, or refuses it for a limit of the client.
func (x *exchange) charge(client *clients.Member, n int) (paid clients.Receipt, ok bool) {
	now := time.Now()
	paid, reached, wait := client.Charge(int64(n), now)
	switch reached {
	case clients.RateLimit:
		x.refuseFor(wait, refuse(http.StatusTooManyRequests, "too many requests of this client: %d in %v are allowed", client.Rate, clients.RateWindow))
	case clients.BandwidthLimit:
		x.refuseFor(wait, refuse(http.StatusTooManyRequests, "too many bytes for this client: its bandwidth is %d bytes a second", client.Bandwidth))
	case clients.QuotaLimit:
		x.refuseFor(wait, refuse(http.StatusForbidden, "this client's quota has less than %d bytes left until %s", n, now.Add(wait).UTC().Format(time.RFC3339)))
	}
	return paid, reached == clients.NoLimit
}

// identify returns the client that asks, or nil if the request is refused.
func (r *Relay) identify(x *exchange) *clients.Member {
	client, err := r.cfg.Clients.Identify(x.r)
	if err != nil {
		x.refuse(refuse(http.StatusUnauthorized, "%s", strings.TrimPrefix(err.Error(), "relay: ")))
		return nil
	}
	x.keep()
	if !r.admit(x, client) {
		return nil
	}
	return client
}

// admit notes which client asks. It refuses operators.
func (r *Relay) admit(x *exchange, client *clients.Member) bool {
	x.client = client.Name
	if client.Operator {
		x.refuse(refuse(http.StatusUnauthorized, "this is an operator's token: it opens the operator's pages, and gets no entropy"))
	}
	return !client.Operator
}

// statusGone is for the log alone: nobody is there to be answered.
const statusGone = 499

// maxSupplyWait bounds what clients are asked to wait for supply: the outage may
// end sooner than the next request to the service is due.
const maxSupplyWait = time.Minute

// deliver draws an order from the stock and sends it. It returns false if nothing
// was drawn, and the client has been told.
func (r *Relay) deliver(x *exchange, o order) bool {
	if x.r.Context().Err() != nil {
		x.status, x.refused = statusGone, "the client closed the connection"
		return false
	}
	n := o.bytes()
	b := newBuffer(n)
	defer b.release()
	var origins []qrypt.Origin
	if x.receiptKey != nil {
		origins = make([]qrypt.Origin, o.pieces)
	}
	from, ok := r.stock.draw(b.raw, time.Now(), origins)
	r.wakeRefiller()
	if !ok {
		wait := time.Until(r.upstream.status().NextRequest)
		x.refuseFor(min(wait, maxSupplyWait), refuse(http.StatusServiceUnavailable, "the supply of entropy is insufficient for now"))
		return false
	}
	delivered := false
	defer func() {
		r.stock.sent(n, delivered)
		if delivered {
			x.handed = n
		} else {
			x.lost = n
		}
	}()
	if x.send != nil {
		x.status = http.StatusOK
		delivered = x.send(b.raw, from.age, from.emulated)
		return true
	}
	if x.receiptKey != nil {
		b.receipt = r.receipt(x, b.raw, origins)
	}
	b.encode(o)
	// RFC 9111 section 5.1: how long ago the service gave the oldest of it, rounded
	// up. A client that limits the age, such as RequireFresh, counts from then.
	x.w.Header().Set("Age", strconv.FormatInt(int64((from.age+time.Second-1)/time.Second), 10))
	if from.emulated {
		x.w.Header().Set(qrypt.EmulatedHeader, emulatedValue)
	}
	x.status = http.StatusOK
	delivered = send(x.w, b.body)
	return true
}
