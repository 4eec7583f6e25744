package relay

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// A Request asks for blocks in another way than over HTTP: see Hand.
type Request struct {
	Remote, Call string // where it came from and what was called, for the access log
	Blocks       int    // how many it asks for, 1 to 512

	// Identify returns the client that asks. Its error refuses the request with 401. The
	// error's text goes into the access log, so it must quote nothing of the request.
	Identify func(*clients.List) (*clients.Member, error)

	// Send sends the blocks to the client, and reports whether the network took them. age
	// is that of the oldest. They are wiped when Send returns.
	Send func(blocks []byte, age time.Duration, emulated bool) bool
}

// Hand answers a request that came in another way than over HTTP. Its client has the same
// limits as over HTTP, and the request counts in the same account, access log and
// metrics. The status is 200 if blocks were sent, also if the network did not take them.
// Otherwise it says why there are none, as over HTTP, and a client that is told so should
// wait for retryAfter, if that is not zero.
func (r *Relay) Hand(ctx context.Context, req Request) (status int, retryAfter time.Duration) {
	asked := &http.Request{RemoteAddr: req.Remote, URL: &url.URL{Path: req.Call}}
	x := &exchange{r: asked.WithContext(ctx), send: req.Send, began: time.Now()}
	defer r.count(x)
	defer func() {
		if recover() != nil { // in Send, and rescue has logged it
			x.status = http.StatusInternalServerError
		}
		status, retryAfter = x.status, x.retryAfter
	}()
	defer r.rescue(x)
	client, err := req.Identify(r.cfg.Clients)
	if err != nil {
		x.refuse(refuse(http.StatusUnauthorized, "%s", strings.TrimPrefix(err.Error(), "relay: ")))
		return
	}
	switch o := (order{pieces: req.Blocks, size: qrypt.BlockSize}); {
	case !r.admit(x, client):
	case o.pieces < 1 || o.pieces > maxPieces:
		x.refuse(o.malformed("a request asks for 1 to %d blocks", maxPieces))
	default:
		r.grant(x, client, o)
	}
	return
}
