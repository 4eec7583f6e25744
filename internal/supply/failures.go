package supply

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/qrand/internal/health"
	"example.com/qrand/qrypt"
)

// Failures that package qrypt does not know.
var (
	ErrBlockCount = errors.New("the BlockSource returned no block, more blocks than asked for, or an empty one")
	ErrTooOld     = errors.New("the blocks that come are older than MaxAge already: a relay has kept them for too long")
	ErrEmulated   = errors.New("the blocks are emulated, not quantum entropy: is this the right endpoint? (A rehearsal accepts them: Config.AllowEmulated, --rehearsal)")
	ErrHangs      = fmt.Errorf("the BlockSource has not answered for %v: does its token function hang?", HangLimit)
)

// HangLimit is how long a call may take. Then its context is cancelled, and the other
// endpoints are asked even if the call does not end. A qrypt.Client gives up sooner by
// itself.
const HangLimit = time.Minute

// A Row is a kind of failure: what the project says of it, and does about it.
type Row struct {
	Err    error  // as errors.Is sees the failure
	Reason string // a word for JSON and metrics
	Text   string // a few words for people
	Advice string // what to do about it
	Others string // the same, where the endpoint is not Qrypt's own and HOST is its host; empty: Advice
	retry  *retry // says when the endpoint is asked again
}

// Table has a row for each kind of failure.
var Table = []Row{
	{qrypt.ErrRateLimited, "rate_limited", "rate limited (429)",
		"find out who else uses this token, which allows 30 requests in 10 s; requests slow down by themselves",
		"find out who else uses this token, or ask whoever runs HOST for a higher limit; requests slow down by themselves",
		&slowDown},
	{qrypt.ErrNoSupply, "no_supply", "service out of supply (503)",
		"nothing to do here: the service has no entropy to give, and is asked again", "",
		&askLess},
	{qrypt.ErrServer, "server_error", "service error (5xx)",
		"nothing to do here: the service has an error of its own, and is asked again", "",
		&backOff},
	{qrypt.ErrTLS, "tls_failed", "TLS failed",
		"check this host's clock, and for proxies: one that opens TLS needs its CA in " + qrypt.EnvCAFile, "",
		&backOff},
	{qrypt.ErrTimeout, "timed_out", "service timed out",
		"check this host's network: is it slow, or does a firewall or a proxy drop packets?", "",
		&backOff},
	{qrypt.ErrNetwork, "unreachable", "service unreachable",
		"check the address in " + qrypt.EnvEndpoints + ", and this host's network, DNS, firewall and proxy", "",
		&backOff},
	{qrypt.ErrQuota, "quota_reached", "quota reached (403)",
		"wait for the next period, ask Qrypt for a larger allotment, or use another account's token; a proxy that refuses the request answers 403, too",
		"wait for the next period, or ask whoever runs HOST for a larger quota; a proxy that refuses the request answers 403, too",
		&awaitQuota},
	{qrypt.ErrUnauthorized, "unauthorized", "token refused (401)",
		"generate a token at https://portal.qrypt.com, and check that it was copied whole" + newToken,
		"check that the token was copied whole, and is one for HOST: whoever runs it has new ones" + newToken,
		&awaitToken},
	{qrypt.ErrNoToken, NoToken, "no token",
		"set " + qrypt.EnvToken + ", or check that the file in " + qrypt.EnvTokenFile + " is there and can be read", "",
		&awaitToken},
	{qrypt.ErrBadRequest, "bad_request", "request refused (4xx)",
		"check that " + qrypt.EnvEndpoints + " and " + qrypt.EnvDialect + " are those of this service", "",
		&awaitPerson},
	{qrypt.ErrRedirected, "redirected", "answer redirected",
		"put the address of the service itself into " + qrypt.EnvEndpoints + ": redirects are not followed, so that the token goes nowhere else; a login page of the network may be in between", "",
		&backOff},
	{qrypt.ErrMalformed, "malformed", "answer malformed",
		"check " + qrypt.EnvEndpoints + " and " + qrypt.EnvDialect + ": something other than the service may answer, such as a proxy", "",
		&backOff},
	{health.ErrUnhealthy, "unhealthy", "block unhealthy",
		"do not use this endpoint, and tell whoever runs it: its blocks are not random enough, and were wiped", "",
		&askOne},
	{health.ErrRepeated, "repeated", "block repeated",
		"do not use this endpoint, and check for proxies: it gave a block twice, as a cache would, so others may have its blocks", "",
		&askOne},
	{ErrTooOld, "too_old", "block too old",
		"a relay keeps blocks for too long: give it a shorter --max-age, or allow a longer one here", "",
		&askOne},
	{ErrEmulated, "emulated", "block emulated",
		"good for tests, and for rehearsals with --rehearsal; policies that require quantum entropy refuse such blocks", "",
		&askOne},
	{ErrHangs, "timed_out", "service timed out",
		"check whether the token's file, or the network, hangs", "",
		&backOff},
}

const newToken = "; a file in " + qrypt.EnvTokenFile + " is read again when it changes, " + qrypt.EnvToken + " needs a restart"

// NoToken is the one Reason for which no request was made.
const NoToken = "no_token"

// unknown is the row of all other errors, which a BlockSource of another kind may
// have. They are treated as failures of the network.
var unknown = Row{Reason: "failed", Text: "request failed", Advice: "the log and the last error may say more", retry: &backOff}

// Reasons returns every Reason once.
func Reasons() (all []string) {
	for _, row := range append(Table[:len(Table):len(Table)], unknown) {
		if !slices.Contains(all, row.Reason) {
			all = append(all, row.Reason)
		}
	}
	return all
}

// Text says a Reason in words. It is empty if there is no such Reason.
func Text(reason string) string { return rowWith(reason).Text }

// Advice says what to do about an endpoint that fails for a Reason.
func Advice(reason, endpoint string) string { return rowWith(reason).AdviceFor(endpoint) }

// AdviceOn says what to do about an error of an endpoint.
func AdviceOn(err error, endpoint string) string { return rowOf(err).AdviceFor(endpoint) }

// AdviceFor returns the row's advice for an endpoint.
func (r *Row) AdviceFor(endpoint string) string {
	host, qrypts := qrypt.Operator(endpoint)
	if qrypts || r.Others == "" {
		return r.Advice
	}
	return strings.ReplaceAll(r.Others, "HOST", host)
}

// rowWith returns the first row with a Reason, or an empty one if there is none.
func rowWith(reason string) *Row {
	for i := range Table {
		if Table[i].Reason == reason {
			return &Table[i]
		}
	}
	if reason == unknown.Reason {
		return &unknown
	}
	return &Row{}
}

func rowOf(err error) *Row {
	for i := range Table {
		if errors.Is(err, Table[i].Err) {
			return &Table[i]
		}
	}
	return &unknown
}

// A retry says when an endpoint is asked again after a failure. Every wait is
// drawn at random, because many processes may have failed together.
type retry struct {
	first, most time.Duration // the wait: each further failure doubles it, from first to most
	ours        bool          // the wait is our own caution: all of it is random, and a Reseed may skip it
	shared      bool          // others may share the limit: see sharedLimit
	token       bool          // also as soon as there is another token
	less        bool          // and for half as many blocks, because it may have fewer
	one         bool          // and for one block, because it may have to be thrown away again
}

var (
	slowDown    = retry{shared: true}
	backOff     = retry{first: time.Second, most: 5 * time.Minute, ours: true}
	askLess     = retry{first: time.Second, most: 5 * time.Minute, ours: true, less: true}
	askOne      = retry{first: time.Second, most: 5 * time.Minute, ours: true, one: true}
	awaitQuota  = retry{first: 15 * time.Minute, most: 6 * time.Hour, token: true, less: true} // a new token may be another account's
	awaitToken  = retry{first: time.Hour, most: time.Hour, token: true}
	awaitPerson = retry{first: time.Hour, most: time.Hour}
)

// wait returns the longest wait after the n-th failure of this kind, n from 1.
func (r *retry) wait(n int) time.Duration {
	wait := r.first
	for ; n > 1 && wait < r.most; n-- {
		wait *= 2
	}
	return min(wait, r.most)
}

// The longest waits that an endpoint may ask for: a mistake of its operator must not
// stop us for days. A quota may begin anew tomorrow.
const (
	maxRetryAfter = 10 * time.Minute
	maxQuotaAfter = 24 * time.Hour
)

// after returns the wait that the endpoint asked for, within bounds, or zero.
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
