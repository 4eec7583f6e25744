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

// record counts a request for entropy, and logs it.
func (r *Relay) record(v *visit) {
	r.counts.add(v.client, v.status, v.handed)
	r.metrics.seconds.Observe(time.Since(v.began).Seconds())
	r.log(v)
}

// log writes a request to the access log. What a client sent is not written: a
// token may be anywhere in it.
func (r *Relay) log(v *visit) {
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
		slog.Duration("took", time.Since(v.began)),
	}
	if v.lost > 0 {
		attrs = append(attrs, slog.Int("lost", v.lost))
	}
	if v.why != "" {
		attrs = append(attrs, slog.String("refused", v.why))
	}
	if v.client == "" {
		unlogged, ok := r.strangers.log(time.Now())
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

// strangers keeps those who are no clients from filling the disk: of their
// requests in a second the first few are logged, and how many were not.
type strangers struct {
	mu       sync.Mutex
	limiter  *rate.Limiter
	unlogged int
}

const strangersLogged = 10 // in a second

func (s *strangers) log(now time.Time) (unlogged int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limiter == nil {
		s.limiter = rate.NewLimiter(strangersLogged, strangersLogged)
	}
	if !s.limiter.AllowN(now, 1) {
		s.unlogged++
		return 0, false
	}
	unlogged, s.unlogged = s.unlogged, 0
	return unlogged, true
}
