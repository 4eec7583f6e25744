package qrypttest

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"
)

// What Request.Token says when it is no index.
const (
	noToken      = -1
	unknownToken = -2
)

// anonymous is the account of requests without a token; no token hashes to it.
var anonymous [sha256.Size]byte

// limit is what Config says about the rate of each token.
type limit struct {
	rate         int
	window       time.Duration
	fixed        bool
	freeRefusals bool
}

// expiry returns when a request that arrived at t no longer counts.
func (l limit) expiry(t time.Time) time.Time {
	if l.fixed {
		t = t.Truncate(l.window)
	}
	return t.Add(l.window)
}

// account is what one token used of its limits. It is found by the token's
// hash, so that it outlives SetTokens.
type account struct {
	arrivals []time.Time // of the last requests that count, at most Rate, none expired
	taken    int         // blocks, in Quota's unit
}

// identify returns the index of the token a request carries, and the account
// it is on. It compares with all tokens, and hashes of them, so that the time
// taken tells nothing about any.
func (e *Emulator) identify(h http.Header) (int, [sha256.Size]byte) {
	values := h.Values("Authorization")
	if len(values) == 0 {
		return noToken, anonymous
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return unknownToken, anonymous
	}
	return e.lookup(strings.TrimSpace(token))
}

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

// arrive counts a request and returns zero, or how long it takes until there
// is room for another one, if none comes before.
func (a *account) arrive(now time.Time, l limit) time.Duration {
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
		// It takes the place of the oldest: a client that does not wait stays out.
		a.arrivals = append(a.arrivals[1:], now)
	}
	return l.expiry(a.arrivals[0]).Sub(now)
}

// charge takes blocks off a quota, or returns false if they are not there.
func (e *Emulator) charge(key [sha256.Size]byte, blocks int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.account(key)
	if e.quota > 0 && a.taken+blocks > e.quota {
		return false
	}
	a.taken += blocks
	return true
}

// SetQuota replaces the quota, and counts from now. Zero: no limit.
func (e *Emulator) SetQuota(blocks int) {
	if blocks < 0 {
		panic("qrypttest: SetQuota: a negative quota")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.quota = blocks
	for _, a := range e.accounts {
		a.taken = 0
	}
}

// seconds rounds up: who waits that long has waited long enough.
func seconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second > 0 {
		s++
	}
	return s
}
