// Package outage says what follows from each way in which the service can fail:
// when to ask again, whom, and how fast from then on. It makes no request and
// has no clock. A [Schedule] is what a program with one service keeps.
package outage

import (
	"errors"
	"fmt"
	"time"

	"example.com/qrand/internal/health"
	"example.com/qrand/qrypt"
)

// HangLimit is how long a request may take before it counts as failed. A
// qrypt.Client gives up sooner by itself.
const HangLimit = 2 * time.Minute

// ErrHangs is the failure of a request that takes longer than HangLimit.
var ErrHangs = fmt.Errorf("the BlockSource has not answered for %v: does its token function hang?", HangLimit)

// A Row is a kind of failure. Its Reason is a word for JSON and metrics.
type Row struct {
	Err    error // as errors.Is sees the failure
	Reason string
	retry  *retry
}

// Table has a row for each kind of failure.
var Table = []Row{
	{qrypt.ErrRateLimited, "rate_limited", &slowDown},
	{qrypt.ErrNoSupply, noSupply, &backOff},
	{qrypt.ErrServer, "server_error", &backOff},
	{qrypt.ErrTLS, "tls_failed", &backOff},
	{qrypt.ErrTimeout, "timed_out", &backOff},
	{qrypt.ErrNetwork, "unreachable", &backOff},
	{qrypt.ErrQuota, quotaReached, &probe},
	{qrypt.ErrUnauthorized, "unauthorized", &awaitToken},
	{qrypt.ErrNoToken, "no_token", &awaitToken},
	{qrypt.ErrBadRequest, "bad_request", &correct},
	{qrypt.ErrRedirected, "redirected", &backOff},
	{qrypt.ErrMalformed, "malformed", &backOff},
	{health.ErrUnhealthy, "unhealthy", &backOff},
	{health.ErrRepeated, "repeated", &backOff},
	{ErrHangs, "timed_out", &backOff},
}

// After these, less is asked for.
const (
	noSupply     = "no_supply"
	quotaReached = "quota_reached"
)

// other is the row of what is in none, from a BlockSource with errors of its
// own: it is treated as the network's failures are.
var other = Row{Reason: "failed", retry: &backOff}

func rowOf(err error) *Row {
	for i := range Table {
		if errors.Is(err, Table[i].Err) {
			return &Table[i]
		}
	}
	return &other
}

// A retry says when to ask again.
type retry struct {
	first, most time.Duration // the wait, doubled from first to most
	others      bool          // the other endpoints are asked before any wait
	ours        bool          // the wait is our own caution: full jitter, and whoever asks may skip it
	window      bool          // at least what is left of the service's window, and from then on more slowly
	token       bool          // also as soon as there is another token
}

var (
	backOff    = retry{first: time.Second, most: 5 * time.Minute, others: true, ours: true}
	slowDown   = retry{window: true}
	probe      = retry{first: 15 * time.Minute, most: 6 * time.Hour, token: true} // a new token may be another account's
	correct    = retry{first: time.Hour, most: time.Hour, others: true}
	awaitToken = retry{first: time.Hour, most: time.Hour, token: true}
)

// TokenInterval is how often a refused token is compared with the current one.
const TokenInterval = 30 * time.Second

// The bounds put to a Retry-After: a service's slip must not stop us for days.
const (
	minRetryAfter = time.Second
	maxRetryAfter = 10 * time.Minute
)

// wait is how long to wait after the n-th failure in a row of this kind (n from
// 1), with so many endpoints to choose from, before jitter.
func (r *retry) wait(n, endpoints int) time.Duration {
	if r.others {
		if n%endpoints != 0 {
			return 0 // another endpoint has not been asked yet
		}
		n /= endpoints
	}
	wait := r.first
	for ; n > 1 && wait < r.most; n-- {
		wait *= 2
	}
	return min(wait, r.most)
}

// retryAfter is what the service asked for, within bounds; zero if nothing.
func retryAfter(err error) time.Duration {
	var e *qrypt.Error
	if !errors.As(err, &e) || e.RetryAfter == 0 {
		return 0
	}
	return min(max(e.RetryAfter, minRetryAfter), maxRetryAfter)
}
