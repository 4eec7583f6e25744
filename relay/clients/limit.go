package clients

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// RateWindow is the time in which a client may make as many requests as its Rate
// says. It is that of Qrypt's documented limit, and so is the default.
const (
	RateWindow  = 10 * time.Second
	defaultRate = 30
	noRateLimit = -1
)

// A Member is a client in the list that is in force. Its rate limiter and its usage
// go over to the next list.
type Member struct {
	Client
	limiter *rate.Limiter // nil: no limit
	used    *usage
}

// newRateLimiter makes a bucket that holds a window's requests. It refuses no
// client that keeps the limit in every window, wherever that begins: in a time t
// such a client sends at most ceil(t/window) windows' requests, and the bucket lets
// 1 + t/window through.
func newRateLimiter(requests int) *rate.Limiter {
	if requests == noRateLimit {
		return nil
	}
	return rate.NewLimiter(rate.Limit(float64(requests)/RateWindow.Seconds()), requests)
}

// Allow counts a request and returns zero. Where the rate limit is reached it
// counts nothing, and returns how long it is until a request is allowed.
func (m *Member) Allow(now time.Time) (wait time.Duration) {
	if m.limiter == nil || m.limiter.AllowN(now, 1) {
		return 0
	}
	seconds := (1 - m.limiter.TokensAt(now)) / float64(m.limiter.Limit())
	return max(time.Duration(math.Ceil(seconds*float64(time.Second))), 1)
}

// A usage is what a name has used.
type usage struct {
	lastUsed atomic.Int64 // Unix time in seconds; zero: never

	mu          sync.Mutex
	periods     uint64 // that have begun
	periodStart int64  // Unix time in ns
	periodBytes int64
	totalBytes  int64
}

// A Receipt says what a Charge took, and from which period.
type Receipt struct {
	period             uint64
	quotaBytes, nBytes int64
}

// Charge takes n bytes from the quota, or takes none and returns when the next
// period begins. If the client does not get them after all, Refund them.
func (m *Member) Charge(n int64, now time.Time) (ok bool, paid Receipt, until time.Time) {
	u := m.used
	u.mu.Lock()
	defer u.mu.Unlock()
	if m.Quota.Bytes > 0 {
		u.enter(m.Quota.Period, now)
		if n > m.Quota.Bytes-u.periodBytes {
			return false, Receipt{}, time.Unix(0, u.periodStart).Add(m.Quota.Period)
		}
		u.periodBytes += n
		paid.quotaBytes = n
	}
	u.totalBytes += n
	paid.period, paid.nBytes = u.periods, n
	return true, paid, time.Time{}
}

// Refund gives back what a Charge took. The quota gets nothing back that was taken
// in a period that is over, or while there was no quota.
func (m *Member) Refund(paid Receipt) {
	u := m.used
	u.mu.Lock()
	defer u.mu.Unlock()
	if paid.period == u.periods {
		u.periodBytes -= paid.quotaBytes
	}
	u.totalBytes -= paid.nBytes
}

// enter begins a period if now is in a later one. If now is in an earlier one it
// does not: another request may have looked at the clock just before this one did, or
// the clock was set back a little, and neither may reset what was used. But if the
// clock was wrong by more than a period, the period does begin: without this exception
// a client could be locked out until a far day.
//
// If the quota's period was changed, what was used goes over to the new period in
// which the old one began. Otherwise it would end at an odd time.
func (u *usage) enter(period time.Duration, now time.Time) {
	u.periodStart -= u.periodStart % int64(period)
	start := now.UnixNano() - now.UnixNano()%int64(period)
	if start > u.periodStart || start < u.periodStart-int64(period) {
		u.periodStart, u.periodBytes = start, 0
		u.periods++
	}
}

// seen notes that the client has asked.
func (u *usage) seen(now time.Time) {
	if s := now.Unix(); u.lastUsed.Load() != s { // else all processors would fight for the cache line
		u.lastUsed.Store(s)
	}
}

func (m *Member) status(now time.Time) Status {
	st := Status{Client: m.Client}
	u := m.used
	if seconds := u.lastUsed.Load(); seconds != 0 {
		st.LastUsed = time.Unix(seconds, 0).UTC()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	st.TotalBytes = u.totalBytes
	if m.Quota.Bytes > 0 {
		u.enter(m.Quota.Period, now)
		st.PeriodBytes = u.periodBytes
		st.PeriodEnds = time.Unix(0, u.periodStart).Add(m.Quota.Period).UTC()
	}
	return st
}
