package clients

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"example.com/qrand/qrypt"
)

// RateWindow is the time in which a client may make as many requests as its Rate
// says. It is that of Qrypt's documented limit, and so is the default rate.
const (
	RateWindow       = 10 * time.Second
	defaultRate      = 30
	defaultBandwidth = 64 << 10
	noLimit          = -1 // as Rate and Bandwidth
)

// A Member is a client in the list that is in force. Its limiters and its usage go
// over to the next list.
type Member struct {
	Client
	requests, bytes *rate.Limiter // for Rate and Bandwidth
	used            *usage
}

func newMember(c Client, used *usage) *Member {
	perSecond := float64(c.Rate) / RateWindow.Seconds()
	// The largest request must fit in.
	atOnce := max(c.Bandwidth*int64(RateWindow/time.Second), qrypt.MaxBlocks*qrypt.BlockSize)
	return &Member{Client: c, used: used,
		requests: newLimiter(c.Rate == noLimit, perSecond, c.Rate),
		bytes:    newLimiter(c.Bandwidth == noLimit, float64(c.Bandwidth), int(atOnce)),
	}
}

// newLimiter makes a bucket that holds a window's requests or bytes, or more. It
// refuses no client that keeps the limit in every window, wherever that begins: in a
// time t such a client takes at most ceil(t/window) windows' worth, and the bucket lets
// 1 + t/window through.
func newLimiter(unlimited bool, perSecond float64, size int) *rate.Limiter {
	if unlimited {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(perSecond), size)
}

// waitFor is how long it is until a limiter allows n; zero: it does.
func waitFor(l *rate.Limiter, n int64, now time.Time) time.Duration {
	if l.Limit() == rate.Inf {
		return 0
	}
	wait := (float64(n) - l.TokensAt(now)) / float64(l.Limit()) * float64(time.Second)
	if wait < 1 { // less than a nanosecond is a rounding error, to the limiter as well
		return 0
	}
	return time.Duration(math.Ceil(wait))
}

// A usage is what a name has used.
type usage struct {
	lastUsed atomic.Int64 // Unix time in seconds; zero: never

	mu          sync.Mutex
	limited     time.Time // when the limiters were last asked
	periods     uint64    // that have begun
	periodStart int64     // Unix time in ns
	periodBytes int64
	totalBytes  int64
}

// A Limit is one that a Charge reached.
type Limit int

// The limits of a client.
const (
	NoLimit Limit = iota
	RateLimit
	BandwidthLimit
	QuotaLimit
)

// A Receipt says what a Charge took, and from which period.
type Receipt struct {
	period             uint64
	quotaBytes, nBytes int64
}

// Charge counts a request for n bytes, at most 512 KiB. If a limit is reached it takes
// nothing at all, and returns which limit that is, and how long it is until this request
// is within it. If the client does not get the bytes after all, Refund them. A request
// for no bytes counts for the rate alone.
func (m *Member) Charge(n int64, now time.Time) (paid Receipt, reached Limit, wait time.Duration) {
	u := m.used
	u.mu.Lock()
	defer u.mu.Unlock()
	// If a request that read the clock earlier comes later, a rate.Limiter goes back to
	// that time, and the time since then would count twice.
	if now.After(u.limited) {
		u.limited = now
	}
	requests, bytes := waitFor(m.requests, 1, u.limited), waitFor(m.bytes, n, u.limited)
	switch {
	case bytes > requests:
		return Receipt{}, BandwidthLimit, bytes
	case requests > 0:
		return Receipt{}, RateLimit, requests
	}
	if m.Quota.Bytes > 0 && n > 0 {
		u.enter(m.Quota.Period, now)
		if n > m.Quota.Bytes-u.periodBytes {
			return Receipt{}, QuotaLimit, time.Unix(0, u.periodStart).Add(m.Quota.Period).Sub(now)
		}
		u.periodBytes += n
		paid.quotaBytes = n
	}
	m.requests.AllowN(u.limited, 1)
	m.bytes.AllowN(u.limited, int(n))
	u.totalBytes += n
	paid.period, paid.nBytes = u.periods, n
	return paid, NoLimit, 0
}

// Refund gives back the bytes that a Charge took: the request counts for the rate. The
// quota gets nothing back that was taken in a period that is over, or while there was no
// quota.
func (m *Member) Refund(paid Receipt) {
	u := m.used
	u.mu.Lock()
	defer u.mu.Unlock()
	if paid.period == u.periods {
		u.periodBytes -= paid.quotaBytes
	}
	u.totalBytes -= paid.nBytes
	m.bytes.AllowN(u.limited, -int(paid.nBytes)) // a Reservation gives back nothing once its time has come
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
