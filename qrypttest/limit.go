package qrypttest

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"
)

// The values of Request.Token that are no index.
const (
	noToken      = -1
	unknownToken = -2
)

// anonymous is the key of the account of requests without a token. No token hashes to it.
var anonymous [sha256.Size]byte

// A limit is the rate limit of each token, as Config has it.
type limit struct {
	rate         int
	window       time.Duration
	fixed        bool
	freeRefusals bool
}

// expiry returns when a request that came at t no longer counts.
func (l limit) expiry(t time.Time) time.Time {
	if l.fixed {
		t = t.Truncate(l.window)
	}
	return t.Add(l.window)
}

// An account is what one token has used of its limits. Its key is the token's hash, so
// that it outlives SetTokens.
type account struct {
	arrivals []time.Time // of the requests that count, at most Rate
	used     int         // blocks, in units of 1,024 bytes
}

// identify returns the index of the request's token, and the key of its account. It
// compares with all tokens, by their hashes, so that its time tells nothing about any.
func (e *Emulator) identify(h http.Header) (int, [sha256.Size]byte) {
	values, keys := h.Values("Authorization"), h.Values("X-API-KEY")
	switch {
	case len(values)+len(keys) == 0:
		return noToken, anonymous
	case len(values)+len(keys) > 1:
		return unknownToken, anonymous
	case len(keys) == 1:
		return e.lookup(keys[0])
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return unknownToken, anonymous
	}
	return e.lookup(strings.TrimSpace(token))
}

// lookup is identify for a token.
func (e *Emulator) lookup(token string) (int, [sha256.Size]byte) {
	sum := sha256.Sum256([]byte(token))
	index := unknownToken
	for i := range e.tokens {
		equal := subtle.ConstantTimeCompare(sum[:], e.tokens[i][:])
		index = subtle.ConstantTimeSelect(equal, i, index)
	}
	return index, sum
}

func (e *Emulator) account(key [sha256.Size]byte) *account {
	a := e.accounts[key]
	if a == nil {
		a = new(account)
		e.accounts[key] = a
	}
	return a
}

// count counts a request. It returns zero if the limit admits it, and otherwise how long
// it takes until the limit admits one, if none comes before.
func (a *account) count(now time.Time, l limit) time.Duration {
	if l.rate < 0 {
		return 0
	}
	for len(a.arrivals) > 0 && !now.Before(l.expiry(a.arrivals[0])) {
		a.arrivals = a.arrivals[1:]
	}
	if len(a.arrivals) < l.rate {
		a.arrivals = append(a.arrivals, now)
		return 0
	}
	if !l.freeRefusals {
		// It replaces the oldest, so a client that does not wait is not admitted.
		a.arrivals = append(a.arrivals[1:], now)
	}
	return l.expiry(a.arrivals[0]).Sub(now)
}

// charge counts blocks for the quota. It returns false if that has no room for them.
func (e *Emulator) charge(key [sha256.Size]byte, blocks int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.account(key)
	if e.quota > 0 && a.used+blocks > e.quota {
		return false
	}
	a.used += blocks
	return true
}

// SetQuota replaces the quota, and starts to count from zero. Zero: no limit.
func (e *Emulator) SetQuota(blocks int) {
	if blocks < 0 {
		panic("qrypttest: SetQuota: a negative quota")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.quota = blocks
	for _, a := range e.accounts {
		a.used = 0
	}
}

// seconds rounds up, so that a client which waits that long has waited long enough.
func seconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second > 0 {
		s++
	}
	return s
}
