package relay

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"example.com/qrand/internal/loopback"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay/internal/page"
)

// serveOperator answers the operator's pages, and the probes: these tell nothing, so
// everybody may ask them.
func (r *Relay) serveOperator(w http.ResponseWriter, req *http.Request) {
	x := &exchange{r: req, began: time.Now()}
	x.w = &statusWriter{w, x}
	private := slices.Contains([]string{"/", page.JSONPath, page.CSVPath, "/metrics"}, req.URL.Path)
	defer func() {
		if private {
			r.log(x)
		}
	}()
	defer r.rescue(x)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Connection", "close") // until keep
	h.Set("X-Content-Type-Options", "nosniff")
	var serve http.HandlerFunc
	switch req.URL.Path {
	case "/healthz":
		serve = func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") }
	case "/readyz":
		serve = r.serveReady
	case "/metrics":
		serve = r.metrics.handler.ServeHTTP
	case "/", page.JSONPath, page.CSVPath:
		serve = r.servePage
	case page.StylePath:
		serve = page.ServeStyle
	default:
		x.refuse(refuse(http.StatusNotFound, "there is nothing at this path"))
		return
	}
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		x.refuse(refuse(http.StatusMethodNotAllowed, "this path only knows GET"))
		return
	}
	if private {
		var ok bool
		if x.client, ok = r.operator(req); !ok {
			h.Set("WWW-Authenticate", `Basic realm="qrand relay: an operator's token as password", charset="UTF-8"`)
			x.refuse(refuse(http.StatusUnauthorized, "this page is for operators: send an operator's token, as Bearer or as the password of Basic"))
			return
		}
		x.keep()
	}
	serve(x.w, req)
}

// serveReady answers whether the relay is Ready; with stock=1 in the query, also whether a
// block is in stock now.
func (r *Relay) serveReady(w http.ResponseWriter, req *http.Request) {
	switch {
	case r.draining.Load():
		say(w, http.StatusServiceUnavailable, "about to end")
	case !r.Ready():
		say(w, http.StatusServiceUnavailable, "no entropy has come yet")
	case req.URL.Query().Get("stock") == "1" && !r.stock.ready(time.Now()):
		say(w, http.StatusServiceUnavailable, "no entropy in stock")
	default:
		say(w, http.StatusOK, "ok")
	}
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	w.Write([]byte(text + "\n"))
}

// servePage shows an operator how the relay is doing: as a page, as JSON or as CSV.
func (r *Relay) servePage(w http.ResponseWriter, req *http.Request) {
	now := time.Now()
	answers, _ := r.counts.list()
	data := page.Data{
		Now:        now,
		Began:      r.began,
		Account:    page.Account(r.Account()),
		Limit:      int64(r.cfg.Stock) * qrypt.BlockSize,
		MaxAge:     r.cfg.MaxAge,
		Samples:    append(r.history.List(), r.sample(now)),
		Upstream:   page.Upstream(r.Upstream()),
		Endpoints:  r.endpoints,
		Answers:    answers,
		Clients:    r.cfg.Clients.Status(),
		ClientsErr: r.cfg.Clients.Err(),
		UsageErr:   r.usage.trouble(now),
		Events:     r.events.List(),
	}
	var err error
	switch req.URL.Path {
	case page.JSONPath:
		err = page.ServeJSON(w, data)
	case page.CSVPath:
		err = page.ServeCSV(w, data)
	default:
		err = page.Serve(w, req, data)
	}
	if err != nil {
		r.cfg.Logger.Error("relay: the status page cannot be shown", "error", err.Error())
		say(w, http.StatusInternalServerError, "the status page cannot be shown: the log says why")
	}
}

func (r *Relay) sample(now time.Time) page.Sample {
	account, up := r.Account(), r.Upstream()
	return page.Sample{Time: now, Stock: account.Stock, Received: account.Received, HandedOut: account.HandedOut,
		Requests: r.counts.total(), Failing: !up.Up && up.Reason != ""}
}

// operator reports whether a request may see the operator's pages: it needs an
// operator's token or certificate, or comes from this host by its own name. The name
// is that of the client whose credentials it has, if any, or thisHost.
func (r *Relay) operator(req *http.Request) (name string, ok bool) {
	if _, password, basic := req.BasicAuth(); basic && len(req.Header["Authorization"]) == 1 {
		req = req.Clone(req.Context())
		req.Header["Authorization"] = []string{"Bearer " + password}
	}
	if cl, err := r.cfg.Clients.Identify(req); err == nil {
		if name = cl.Name; cl.Operator {
			return name, true
		}
	}
	if len(req.Header["Authorization"])+len(req.Header["X-Api-Key"]) > 0 || r.cfg.OperatorTokenAlways || !fromThisHost(req) {
		return name, false
	}
	return cmp.Or(name, thisHost), true
}

// thisHost is in the log for an operator who needed no credentials. No client can
// have that name.
const thisHost = "(this host)"

// fromThisHost reports whether a request comes from a program on this host that uses
// the host's own name. An attacker's page in a browser here may send requests to a
// name of the attacker that points here: that is not this host's name. A proxy here
// forwards requests from elsewhere. It shows by the headers that it adds, by a source
// address that is not the usual one, or by a destination that is not loopback. One
// that does none of these cannot be told, such as nginx with nothing but proxy_pass:
// Config.OperatorTokenAlways is for that.
func fromThisHost(req *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if len(req.Header[name]) > 0 {
			return false
		}
	}
	to, _ := req.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if to == nil || !to.IP.IsLoopback() {
		return false
	}
	from, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return false
	}
	ip := from.Addr().Unmap() // not all of 127.0.0.0/8: the proxy of a service mesh uses another address of it
	return (ip == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || ip == netip.IPv6Loopback()) && isThisHost(req.Host)
}

// isThisHost reports whether the Host header names this host, with or without a
// port.
func isThisHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	return loopback.Is(host)
}
