package relay

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Qrypt's documented limit for a token, which is a client's here unless its entry
// says otherwise.
const (
	clientRateWindow  = 10 * time.Second
	defaultClientRate = 30 // requests in a window
	noClientRate      = -1
)

// A client is an entry of the list in force, its limiter and its account. The
// latter two go over to the next list.
type client struct {
	Client
	limiter *rate.Limiter // nil: no limit
	account *account
}

// newLimiter makes a bucket that holds a window's requests. It refuses no client
// that keeps the limit in every window, wherever that begins: in a time t such a
// client sends at most ceil(t/window) windows' requests, and the bucket lets
// 1 + t/window through.
func newLimiter(requests int) *rate.Limiter {
	if requests == noClientRate {
		return nil
	}
	return rate.NewLimiter(rate.Limit(float64(requests)/clientRateWindow.Seconds()), requests)
}

// allow takes a request off the rate limit and returns zero, or takes nothing and
// returns how long it is until one is allowed.
func (cl *client) allow(now time.Time) (wait time.Duration) {
	if cl.limiter == nil || cl.limiter.AllowN(now, 1) {
		return 0
	}
	seconds := (1 - cl.limiter.TokensAt(now)) / float64(cl.limiter.Limit())
	return max(time.Duration(math.Ceil(seconds*float64(time.Second))), 1)
}

// An account is what a name has used.
type account struct {
	lastUsed atomic.Int64 // Unix time in seconds; zero: never

	mu          sync.Mutex
	periods     uint64 // that have begun
	periodStart int64  // Unix time in ns
	periodBytes int64
	totalBytes  int64
}

// A receipt is what a charge took, and off which period.
type receipt struct {
	period             uint64
	quotaBytes, nBytes int64
}

// charge takes n bytes off the quota, or takes none and returns when the next
// period begins. An order that is not served after all is refunded.
func (cl *client) charge(n int64, now time.Time) (ok bool, paid receipt, until time.Time) {
	a := cl.account
	a.mu.Lock()
	defer a.mu.Unlock()
	if cl.Quota.Bytes > 0 {
		a.enter(cl.Quota.Period, now)
		if n > cl.Quota.Bytes-a.periodBytes {
			return false, receipt{}, time.Unix(0, a.periodStart).Add(cl.Quota.Period)
		}
		a.periodBytes += n
		paid.quotaBytes = n
	}
	a.totalBytes += n
	paid.period, paid.nBytes = a.periods, n
	return true, paid, time.Time{}
}

// refund gives back what a charge took. What it took off a period that is over is
// nothing to the new one, and what it took while there was no quota is none of it.
func (cl *client) refund(paid receipt) {
	a := cl.account
	a.mu.Lock()
	defer a.mu.Unlock()
	if paid.period == a.periods {
		a.periodBytes -= paid.quotaBytes
	}
	a.totalBytes -= paid.nBytes
}

// enter begins a period if now is in a later one. In an earlier one it does not:
// another request may have looked at the clock just before this one did, or the
// clock was put back a little, and neither is to empty the account. A clock that
// was wrong by more than a period is another matter: without that exception a
// client could be locked out until a far day.
//
// Where the quota's period is another than it was, what was used goes over to the
// new one that the old one began in: else it would end at an odd time.
func (a *account) enter(period time.Duration, now time.Time) {
	a.periodStart -= a.periodStart % int64(period)
	start := now.UnixNano() - now.UnixNano()%int64(period)
	if start > a.periodStart || start < a.periodStart-int64(period) {
		a.periodStart, a.periodBytes = start, 0
		a.periods++
	}
}

func (cl *client) status(now time.Time) ClientStatus {
	st := ClientStatus{Client: cl.Client}
	a := cl.account
	if used := a.lastUsed.Load(); used != 0 {
		st.LastUsed = time.Unix(used, 0).UTC()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	st.TotalBytes = a.totalBytes
	if cl.Quota.Bytes > 0 {
		a.enter(cl.Quota.Period, now)
		st.PeriodBytes = a.periodBytes
		st.PeriodEnds = time.Unix(0, a.periodStart).Add(cl.Quota.Period).UTC()
	}
	return st
}

// used notes that the client was recognised.
func (a *account) used(now time.Time) {
	if s := now.Unix(); a.lastUsed.Load() != s { // else all processors would fight for the cache line
		a.lastUsed.Store(s)
	}
}
