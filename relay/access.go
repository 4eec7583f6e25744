package relay

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// record counts a request, and writes it to the access log. What a client sent
// is not written: a token may be anywhere in it.
func (r *Relay) record(v *visit) {
	took := time.Since(v.began)
	r.metrics.count(v.client, v.status, took.Seconds(), v.handed)
	log := r.cfg.AccessLog
	if log == nil {
		return
	}
	attrs := []slog.Attr{
		slog.String("remote", remote(v.r)),
		slog.String("client", v.client),
		slog.String("call", v.r.URL.Path),
		slog.Int("status", v.status),
		slog.Int("bytes", v.handed),
		slog.Duration("took", took),
	}
	if v.lost > 0 {
		attrs = append(attrs, slog.Int("lost", v.lost))
	}
	if v.why != "" {
		attrs = append(attrs, slog.String("refused", v.why))
	}
	if v.status == http.StatusUnauthorized {
		unlogged, ok := r.refusals.log(time.Now())
		if !ok {
			return
		}
		if unlogged > 0 {
			attrs = append(attrs, slog.Int("unlogged", unlogged))
		}
	}
	log.LogAttrs(context.Background(), slog.LevelInfo, "request", attrs...)
}

func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// refusals keeps those who try tokens from filling the disk: of the 401 in a
// second the first few are logged, and how many were not.
type refusals struct {
	mu       sync.Mutex
	limiter  *rate.Limiter
	unlogged int
}

const refusalsLogged = 10 // in a second

func (r *refusals) log(now time.Time) (unlogged int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limiter == nil {
		r.limiter = rate.NewLimiter(refusalsLogged, refusalsLogged)
	}
	if !r.limiter.AllowN(now, 1) {
		r.unlogged++
		return 0, false
	}
	unlogged, r.unlogged = r.unlogged, 0
	return unlogged, true
}
