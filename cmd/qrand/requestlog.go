package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"example.com/qrand/qrypttest"
)

const (
	logSoon  = 20 * time.Millisecond // after a request, until it is answered
	logLate  = time.Second           // for requests that no hook tells of
	logGrace = 2 * time.Second       // beyond its latency, for a request to be answered
)

// A requestLog prints each request when it is answered, or when it is clear
// that it will not be. The emulator has no event for that, so it is asked: soon
// after its hook was, else rarely.
type requestLog struct {
	c       *console
	service *qrypttest.Server
	arrived chan struct{}
	ended   sync.WaitGroup
	printed int64          // all requests up to this number are
	early   map[int64]bool // and these after it
}

func newRequestLog(c *console, service *qrypttest.Server) *requestLog {
	return &requestLog{c: c, service: service, arrived: make(chan struct{}, 1), early: map[int64]bool{}}
}

// follow prints until ctx is done.
func (l *requestLog) follow(ctx context.Context) {
	l.service.SetFault(func(qrypttest.Request) *qrypttest.Fault {
		select {
		case l.arrived <- struct{}{}:
		default:
		}
		return nil
	})
	l.ended.Go(func() {
		for {
			wait := logLate
			if !l.flush(false) {
				wait = logSoon
			}
			select {
			case <-ctx.Done():
				return
			case <-l.arrived:
			case <-time.After(wait):
			}
		}
	})
}

// finish prints what is left, when the service is closed.
func (l *requestLog) finish() {
	l.ended.Wait()
	l.flush(true)
}

// flush prints what can be printed, and reports whether nothing is left.
func (l *requestLog) flush(all bool) bool {
	requests := l.service.RequestsSince(l.printed)
	waiting := 0
	for i := range requests {
		r := &requests[i]
		switch {
		case l.early[r.Number]:
		case all, r.Status != 0, silent(r.Fault.Kind), time.Since(r.Time) > r.Fault.Latency+logGrace:
			fmt.Fprintln(l.c.err, requestLine(r))
			l.early[r.Number] = true
		default:
			waiting++
		}
	}
	for i := range requests {
		number := requests[i].Number
		if !l.early[number] {
			break
		}
		delete(l.early, number)
		l.printed = number
	}
	return waiting == 0
}

// silent says of a kind that nothing tells when it is over.
func silent(k qrypttest.Kind) bool {
	switch k {
	case qrypttest.Hang, qrypttest.Drip, qrypttest.Reset, qrypttest.ShortBody, qrypttest.Oversize, qrypttest.ExpiredCertificate:
		return true
	}
	return false
}

// requestLine is a request in a line, its columns under those of the last.
func requestLine(r *qrypttest.Request) string {
	status := "---"
	if r.Status != 0 {
		status = fmt.Sprint(r.Status)
	}
	what := r.Method + " " + r.Path
	if r.Method == "" {
		what = "TLS handshake"
	}
	line := fmt.Sprintf("%s %-8s %s  %-28s", r.Time.Format("15:04:05.000"), r.Region, status, what)
	if r.Blocks > 0 {
		line += fmt.Sprintf(" %-10s", count(int64(r.Blocks), "block"))
	}
	fault := r.Fault
	fault.Times = 0 // of which this is one
	if fault != (qrypttest.Fault{}) {
		line += "  " + fault.String()
	}
	return strings.TrimRight(line, " ")
}
