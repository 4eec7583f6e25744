package qrand

import (
	"crypto/rand"
	"fmt"
	"io"

	"example.com/qrand/internal/supply"
)

// osReader is the operating system's generator. It is captured here, when the
// package is initialised, so that a program may set rand.Reader to a Source. (A
// package that replaces rand.Reader in an init before this one's is beyond what
// can be noticed here.)
var osReader = rand.Reader

// maxEmptyReads is how often in a row osReader may return neither a byte nor an
// error, as an io.Reader may.
const maxEmptyReads = 100

// readOS fills p from osReader. If that fails there is nothing to fall back on:
// it panics, as crypto/rand itself ends the process. To clear p is then for the
// caller, who has to do so where osReader itself panics.
func readOS(p []byte) {
	empty := 0
	for len(p) > 0 {
		n, err := osReader.Read(p)
		switch {
		case n == len(p):
			return
		case n < 0 || n > len(p):
			err = fmt.Errorf("it returned %d for a Read of %d bytes", n, len(p))
		case n > 0:
			empty = 0
		case err == nil:
			if empty++; empty == maxEmptyReads {
				err = io.ErrNoProgress
			}
		}
		if err != nil {
			panic("qrand: crypto/rand failed: " + err.Error())
		}
		p = p[n:]
	}
}

// A Reason says why a Source is degraded. Its value is a word for JSON and for
// metrics, its String one for people.
type Reason string

// The reasons, one for each row of the table in internal/supply. In every row Reads
// go on from crypto/rand and the generators, as the Policy allows, and reseeds come
// due as before with what there is. Where no endpoint gives blocks, the State is
// Degraded for the last one's Reason.
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
	TooOld       Reason = "too_old"
	Emulated     Reason = "emulated"
	Failed       Reason = "failed"
)

// String says it in a few words; empty for no Reason.
func (r Reason) String() string { return supply.Text(string(r)) }
