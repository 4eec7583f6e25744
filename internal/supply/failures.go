package supply

import (
	"errors"
	"fmt"
	"time"

	"example.com/qrand/internal/health"
	"example.com/qrand/qrypt"
)

// The failures of an answer or of a source that package qrypt does not know.
var (
	ErrBlockCount = errors.New("the BlockSource returned no block, more blocks than asked for, or an empty one")
	ErrTooOld     = errors.New("the blocks that come are older than MaxAge already: a relay has kept them for too long")
	ErrEmulated   = errors.New("the blocks are emulated, not quantum entropy: is this the right endpoint?")
	ErrHangs      = fmt.Errorf("the BlockSource has not answered for %v: does its token function hang?", HangLimit)
)

// HangLimit is how long a call may take before its context is cancelled, and the
// other endpoints are asked whether it ends or not. A qrypt.Client gives up sooner
// by itself.
const HangLimit = time.Minute

// A Row is a kind of failure. Its Reason is a word for JSON and metrics.
type Row struct {
	Err    error // as errors.Is sees the failure
	Reason string
	retry  *retry
}

// Table has a row for each kind of failure.
var Table = []Row{
	{qrypt.ErrRateLimited, "rate_limited", &slowDown},
	{qrypt.ErrNoSupply, "no_supply", &askLess},
	{qrypt.ErrServer, "server_error", &backOff},
	{qrypt.ErrTLS, "tls_failed", &backOff},
	{qrypt.ErrTimeout, "timed_out", &backOff},
	{qrypt.ErrNetwork, "unreachable", &backOff},
	{qrypt.ErrQuota, "quota_reached", &awaitQuota},
	{qrypt.ErrUnauthorized, "unauthorized", &awaitToken},
	{qrypt.ErrNoToken, NoToken, &awaitToken},
	{qrypt.ErrBadRequest, "bad_request", &awaitPerson},
	{qrypt.ErrRedirected, "redirected", &backOff},
	{qrypt.ErrMalformed, "malformed", &backOff},
	{health.ErrUnhealthy, "unhealthy", &askOne},
	{health.ErrRepeated, "repeated", &askOne},
	{ErrTooOld, "too_old", &askOne},
	{ErrEmulated, "emulated", &askOne},
	{ErrHangs, "timed_out", &backOff},
}

// NoToken is the Reason of a failure for which no request was made.
const NoToken = "no_token"

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

// A retry says when an endpoint is asked again after a failure. Every wait is
// drawn at random, because many processes may have failed together.
type retry struct {
	first, most time.Duration // the wait, doubled from first to most by failures in a row
	ours        bool          // the wait is our own caution: drawn from all of it, and a Reseed may skip it
	crowd       bool          // others want the same: see crowd
	token       bool          // also as soon as there is another token
	less        bool          // and for half as many blocks: so many may be there
	one         bool          // and for one block: what comes may have to be thrown away again
}

var (
	slowDown    = retry{crowd: true}
	backOff     = retry{first: time.Second, most: 5 * time.Minute, ours: true}
	askLess     = retry{first: time.Second, most: 5 * time.Minute, ours: true, less: true}
	askOne      = retry{first: time.Second, most: 5 * time.Minute, ours: true, one: true}
	awaitQuota  = retry{first: 15 * time.Minute, most: 6 * time.Hour, token: true, less: true} // a new token may be another account's
	awaitToken  = retry{first: time.Hour, most: time.Hour, token: true}
	awaitPerson = retry{first: time.Hour, most: time.Hour}
)

// wait is the wait after the n-th failure in a row, n from 1, before it is drawn.
func (r *retry) wait(n int) time.Duration {
	wait := r.first
	for ; n > 1 && wait < r.most; n-- {
		wait *= 2
	}
	return min(wait, r.most)
}

// The bounds on what an endpoint may ask for: a slip must not stop us for days. A
// quota may begin anew tomorrow.
const (
	maxRetryAfter = 10 * time.Minute
	maxQuotaAfter = 24 * time.Hour
)

// after is what the endpoint asked for, within bounds; zero if nothing.
func (r *retry) after(err error) time.Duration {
	var e *qrypt.Error
	if !errors.As(err, &e) || e == nil || e.RetryAfter <= 0 {
		return 0
	}
	most := maxRetryAfter
	if r == &awaitQuota {
		most = maxQuotaAfter
	}
	return min(max(e.RetryAfter, time.Second), most)
}
