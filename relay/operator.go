package relay

import (
	"net"
	"net/http"
	"net/netip"
	"time"
)

// serveOperator answers the probes, which everybody may ask and which tell
// nothing, and the operator's pages.
func (r *Relay) serveOperator(w http.ResponseWriter, req *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	var page http.HandlerFunc
	switch req.URL.Path {
	case "/healthz":
		page = func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") }
	case "/readyz":
		page = r.serveReady
	case "/metrics":
		page = r.metrics.handler.ServeHTTP
	case "/":
		page = r.servePage
	case stylePath:
		page = serveStyle
	default:
		refuse(http.StatusNotFound, "there is nothing at this path").send(w)
		return
	}
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		refuse(http.StatusMethodNotAllowed, "this path only knows GET").send(w)
		return
	}
	if private := req.URL.Path == "/metrics" || req.URL.Path == "/"; private && !r.operator(req) {
		h.Set("WWW-Authenticate", `Basic realm="qrand relay: an operator's token as password", charset="UTF-8"`)
		v := &visit{w: w, r: req, began: time.Now()}
		v.refuse(refuse(http.StatusUnauthorized, "this page is for operators: send an operator's token, as Bearer or as the password of Basic"))
		r.record(v)
		return
	}
	page(w, req)
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	w.Write([]byte(text + "\n"))
}

// serveReady is for load balancers: whether a request for entropy would get any.
func (r *Relay) serveReady(w http.ResponseWriter, _ *http.Request) {
	if !r.Ready() {
		say(w, http.StatusServiceUnavailable, "no entropy in stock")
		return
	}
	say(w, http.StatusOK, "ok")
}

// operator reports whether a request may see the operator's pages: with an
// operator's token, or from this host by its own name. A request that a proxy on
// this host passes on comes from loopback too, and so does one that a page of
// somebody else's makes a browser send to a name of its own which it lets point
// here: neither is taken for the operator's.
func (r *Relay) operator(req *http.Request) bool {
	if _, password, ok := req.BasicAuth(); ok {
		req = req.Clone(req.Context())
		req.Header["Authorization"] = []string{"Bearer " + password}
	}
	if len(req.Header["Authorization"]) > 0 {
		cl, err := r.cfg.Clients.identify(req)
		return err == nil && cl.Operator
	}
	if cl, err := r.cfg.Clients.identify(req); err == nil && cl.Operator { // by certificate
		return true
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if len(req.Header[name]) > 0 {
			return false
		}
	}
	from, err := netip.ParseAddrPort(req.RemoteAddr)
	return err == nil && from.Addr().Unmap().IsLoopback() && isLoopback(req.Host)
}

// isLoopback reports whether host, with or without a port, is this host's own
// name or address.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil && len(host) > 2 && host[0] == '[' {
		ip, err = netip.ParseAddr(host[1 : len(host)-1])
	}
	return err == nil && ip.Unmap().IsLoopback()
}
