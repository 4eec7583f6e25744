package qrypttest

import (
	"fmt"
	mrand "math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// A Kind is what a Fault does. Its name in a script is its String.
type Kind int

// A kind that sends blocks, or spoiled ones, needs a request that may have them. One with
// a bad token, or over a limit, is refused as if the fault were OK.
const (
	// OK is an ordinary answer, to pace a script.
	OK Kind = iota
	// Status answers with the status Fault.Status. A script has the number.
	Status
	// Hang sends no answer, and waits until the client goes or the emulator closes.
	Hang
	// Drip sends a valid answer a byte at a time, over two minutes or more.
	Drip
	// Reset resets the connection (TCP RST) in the middle of the body.
	Reset
	// Truncate sends valid HTTP, with the JSON cut in the middle.
	Truncate
	// ShortBody closes the connection when half of Content-Length is sent.
	ShortBody
	// Oversize sends valid JSON of 32 MiB, for as long as the client reads.
	Oversize
	// BadBase64 has a character in the last block that is not base64.
	BadBase64
	// URLBase64 uses the alphabet of RFC 4648 section 5, with "-" and "_";
	// every block has at least one "-".
	URLBase64
	// BlockLength makes the last block one byte shorter: 1,023 bytes.
	BlockLength
	// WrongCount sends one block more than asked for, or for an even number one
	// fewer; "size" is as many as there are.
	WrongCount
	// WrongSize sends the right number of blocks, and a "size" that is another.
	// The Open API has no size: there it is WrongCount.
	WrongSize
	// Repeat sends the blocks of the last ordinary answer again, repeated up to the
	// number asked for. If there was none, it repeats a single block.
	Repeat
	// Stuck sends blocks of one repeated byte.
	Stuck
	// Biased sends blocks without long runs where every eighth byte, from
	// the first on, has the same value.
	Biased
	// Redirect answers 301 with a page of HTML and a Location on this server,
	// RedirectPath. A client that follows it is seen in Requests.
	Redirect
	// HTML answers 200 with a page of HTML.
	HTML
	// WrongType sends the right JSON as text/plain.
	WrongType
	// GzipBomb sends about 1 MiB of gzip that expands to over 1 GiB.
	GzipBomb
	// Trailing sends more data after valid JSON.
	Trailing
	// DuplicateKeys sends JSON with two lists of blocks under one name.
	DuplicateKeys
	// DeepNesting sends 100,000 nested arrays.
	DeepNesting
	// Empty answers 200 with no body.
	Empty
	// NoJSON answers 200 and application/json with a body that is not JSON.
	NoJSON
	// ExpiredCertificate makes a Server present an expired certificate in its next TLS
	// handshake. A request on a connection made before is dropped, and does not count.
	// Without TLS, or from SetFault, it closes the connection.
	ExpiredCertificate

	kinds int = iota
)

var kindNames = [kinds]string{
	"ok", "status", "hang", "drip", "reset", "truncate", "short-body", "oversize",
	"bad-base64", "base64url", "block-length", "wrong-count", "wrong-size", "repeat",
	"stuck", "biased", "redirect", "html", "wrong-type", "gzip-bomb", "trailing",
	"duplicate-keys", "deep-nesting", "empty", "no-json", "expired-certificate",
}

// String returns the name of the kind in a script.
func (k Kind) String() string {
	if k < 0 || int(k) >= kinds {
		return "kind(" + strconv.Itoa(int(k)) + ")"
	}
	return kindNames[k]
}

// RedirectPath is where a Redirect points to. There is nothing there.
const RedirectPath = "/api/v1/moved"

// A Fault is what happens to one request or several. The zero Fault is one
// ordinary answer.
type Fault struct {
	// Kind is what happens.
	Kind Kind

	// Status is the status of the answer, 201 to 999, if Kind is Status. Zero for
	// the other kinds.
	Status int

	// RetryAfter is sent as the header Retry-After, in seconds rounded up.
	// Zero: no such header.
	RetryAfter time.Duration

	// RetryAfterDate sends RetryAfter as a date. False: as seconds.
	RetryAfterDate bool

	// Latency comes before the answer, whatever the kind.
	Latency time.Duration

	// Times is how many requests meet the fault. Zero: one; negative: all from then on.
	Times int
}

// String returns the fault as a statement of a script.
func (f Fault) String() string {
	var b strings.Builder
	if f.Kind == Status {
		b.WriteString(strconv.Itoa(f.Status))
	} else {
		b.WriteString(f.Kind.String())
	}
	if f.RetryAfter != 0 {
		name := wordRetryAfter
		if f.RetryAfterDate {
			name = wordRetryAfterDate
		}
		fmt.Fprintf(&b, " %s=%ds", name, seconds(f.RetryAfter))
	}
	if f.Latency != 0 {
		fmt.Fprintf(&b, " %s=%v", wordLatency, f.Latency)
	}
	switch {
	case f.Times < 0:
		b.WriteString(" x*")
	case f.Times > 0:
		fmt.Fprintf(&b, " x%d", f.Times)
	}
	return b.String()
}

func (f Fault) check() error {
	switch {
	case f.Kind < 0 || int(f.Kind) >= kinds:
		return fmt.Errorf("qrypttest: fault of unknown %v", f.Kind)
	case f.Kind == Status && (f.Status < minStatus || f.Status > maxStatus):
		return fmt.Errorf("qrypttest: fault with status %d, want %d to %d", f.Status, minStatus, maxStatus)
	case f.Kind != Status && f.Status != 0:
		return fmt.Errorf("qrypttest: fault of kind %v with a status", f.Kind)
	case f.RetryAfter < 0 || f.Latency < 0:
		return fmt.Errorf("qrypttest: fault %v with a negative duration", f.Kind)
	case f.RetryAfterDate && f.RetryAfter == 0:
		return fmt.Errorf("qrypttest: fault %v with RetryAfterDate and no RetryAfter", f.Kind)
	}
	return nil
}

// RandomScript returns n faults that depend on seed alone, each for one request. They
// are of all kinds except ExpiredCertificate, which needs a Server. A kind in extra is
// added, or comes more often.
func RandomScript(seed uint64, n int, extra ...Kind) []Fault {
	var draw []Kind
	for k := range Kind(kinds) {
		if k != ExpiredCertificate {
			draw = append(draw, k)
		}
	}
	draw = append(draw, extra...)
	statuses := []int{400, 401, 403, 404, 429, 429, 500, 502, 503, 503, 504}

	r := mrand.New(mrand.NewPCG(seed, 0))
	faults := make([]Fault, n)
	for i := range faults {
		f := Fault{Kind: draw[r.IntN(len(draw))], Times: 1}
		if f.Kind == Status {
			f.Status = statuses[r.IntN(len(statuses))]
			if (f.Status == 429 || f.Status == 503) && r.IntN(2) == 0 {
				f.RetryAfter = time.Duration(1+r.IntN(10)) * time.Second
				f.RetryAfterDate = r.IntN(2) == 0
			}
		}
		if r.IntN(4) == 0 {
			f.Latency = time.Duration(1+r.IntN(50)) * time.Millisecond
		}
		faults[i] = f
	}
	return faults
}
