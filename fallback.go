package qrand

import (
	"crypto/rand"
	"errors"
	"time"

	"example.com/qrand/qrypt"
)

// osReader is the operating system's generator. It is captured here, when the
// package is initialised, so that a program may set rand.Reader to a Source. (A
// package that replaces rand.Reader in an init before this one's is beyond what
// can be noticed here.)
var osReader = rand.Reader

// readOS fills p from osReader. If that fails there is nothing to fall back on:
// it panics, as crypto/rand itself ends the process, and no byte is emitted.
func readOS(p []byte) {
	for len(p) > 0 {
		n, err := osReader.Read(p)
		if err != nil && n < len(p) {
			panic("qrand: crypto/rand failed: " + err.Error())
		}
		p = p[n:]
	}
}

// A Reason says why a Source is degraded. Its value is a word for JSON and for
// metrics, its String one for people.
type Reason string

// The reasons, one for each row of the outage table.
const (
	RateLimited  Reason = "rate_limited"
	NoSupply     Reason = "no_supply"
	ServerError  Reason = "server_error"
	Unreachable  Reason = "unreachable"
	TLSFailed    Reason = "tls_failed"
	TimedOut     Reason = "timed_out"
	QuotaReached Reason = "quota_reached"
	Unauthorized Reason = "unauthorized"
	NoToken      Reason = "no_token"
	BadRequest   Reason = "bad_request"
	Malformed    Reason = "malformed"
	Redirected   Reason = "redirected"
	Unhealthy    Reason = "unhealthy"
	Repeated     Reason = "repeated"
	Failed       Reason = "failed"
)

var reasonTexts = map[Reason]string{
	RateLimited:  "rate limited (429)",
	NoSupply:     "service out of supply (503)",
	ServerError:  "service error (5xx)",
	Unreachable:  "service unreachable",
	TLSFailed:    "TLS failed",
	TimedOut:     "service timed out",
	QuotaReached: "quota reached (403)",
	Unauthorized: "token refused (401)",
	NoToken:      "no token",
	BadRequest:   "request refused (4xx)",
	Malformed:    "answer malformed",
	Redirected:   "answer redirected",
	Unhealthy:    "block unhealthy",
	Repeated:     "block repeated",
	Failed:       "request failed",
}

// String says it in a few words; empty for no Reason.
func (r Reason) String() string { return reasonTexts[r] }

// outages is the outage table. In every row Reads go on from crypto/rand and
// the generators, reseeds come due as before with what there is, and the State
// is Degraded for the row's Reason.
var outages = []struct {
	err    error // as errors.Is sees the failure
	reason Reason
	retry  *retry
}{
	{qrypt.ErrRateLimited, RateLimited, &slowDown},
	{qrypt.ErrNoSupply, NoSupply, &backOff},
	{qrypt.ErrServer, ServerError, &backOff},
	{qrypt.ErrTLS, TLSFailed, &backOff},
	{qrypt.ErrTimeout, TimedOut, &backOff},
	{qrypt.ErrNetwork, Unreachable, &backOff},
	{qrypt.ErrQuota, QuotaReached, &probe},
	{qrypt.ErrUnauthorized, Unauthorized, &awaitToken},
	{qrypt.ErrNoToken, NoToken, &awaitToken},
	{qrypt.ErrBadRequest, BadRequest, &correct},
	{qrypt.ErrRedirected, Redirected, &backOff},
	{qrypt.ErrMalformed, Malformed, &backOff},
	{ErrUnhealthy, Unhealthy, &backOff},
	{ErrRepeated, Repeated, &backOff},
	{errHangs, TimedOut, &backOff},
}

// A retry says when to ask again.
type retry struct {
	first, most time.Duration // the wait, doubled from first to most
	others      bool          // the other endpoints are asked before any wait
	ours        bool          // the wait is our own caution: full jitter, and Reseed may skip it
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

// tokenInterval is how often a refused token is compared with the current one.
const tokenInterval = 30 * time.Second

// The bounds put to a Retry-After: a service's slip must not stop us for days.
const (
	minRetryAfter = time.Second
	maxRetryAfter = 10 * time.Minute
)

// classify finds the row of a failure. What is in none, from a BlockSource with
// errors of its own, is treated as the network's failures are.
func classify(err error) (Reason, *retry) {
	for i := range outages {
		if errors.Is(err, outages[i].err) {
			return outages[i].reason, outages[i].retry
		}
	}
	return Failed, &backOff
}

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

// The service's rate limit, and the slowest pace we fall to.
const (
	rateWindow  = 10 * time.Second
	rateLimit   = 30.0             // requests in a window
	slowestPace = 10 * time.Minute // between requests
)

// A pace keeps requests apart by additive increase, multiplicative decrease of
// their rate (Chiu and Jain, 1989), by which processes that share a token and
// know nothing of each other come to share its limit.
type pace struct{ rate float64 } // requests in a window

func (p *pace) refused()  { p.rate = max(p.rate/2, float64(rateWindow)/float64(slowestPace)) }
func (p *pace) answered() { p.rate = min(p.rate+1, rateLimit) }

// spacing is the least time from one request to the next: a hundredth more than
// the rate says, so that no window has one more at its very end.
func (p *pace) spacing() time.Duration { return time.Duration(1.01 * float64(rateWindow) / p.rate) }
