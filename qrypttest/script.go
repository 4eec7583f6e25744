package qrypttest

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The options a statement may have, besides its count.
const (
	wordRetryAfter     = "retry-after"
	wordRetryAfterDate = "retry-after-date"
	wordLatency        = "latency"
)

// A status below 200 is not an answer, and 200 is what "ok" is for.
const (
	minStatus = 201
	maxStatus = 999
)

// ParseScript reads faults from text. A statement ends with a semicolon or at the end of
// the line; "#" starts a comment, to the end of the line. A statement is
//
//	KIND [retry-after=DURATION | retry-after-date=DURATION] [latency=DURATION] [xN | x*]
//
// KIND is a three-digit status, or the name of another kind. DURATION is as
// time.ParseDuration reads it; for retry-after it is in whole seconds. N is how many
// requests the fault is for: 1 by default, and all of them with x*.
//
//	429 retry-after=5s x3; ok x2   # a rate limit, then two answers
//	hang
//	503 x*
func ParseScript(text string) ([]Fault, error) {
	var faults []Fault
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		for statement := range strings.SplitSeq(line, ";") {
			words := strings.Fields(statement)
			if len(words) == 0 {
				continue
			}
			f, err := parseStatement(words)
			if err != nil {
				return nil, fmt.Errorf("qrypttest: script, line %d: %w", n+1, err)
			}
			faults = append(faults, f)
		}
	}
	return faults, nil
}

func parseStatement(words []string) (f Fault, err error) {
	if f.Kind, f.Status, err = parseKind(words[0]); err != nil {
		return f, err
	}
	seen := make(map[string]bool)
	for _, word := range words[1:] {
		name, value, isOption := strings.Cut(word, "=")
		switch {
		case isOption && (name == wordRetryAfter || name == wordRetryAfterDate):
			f.RetryAfterDate = name == wordRetryAfterDate
			name = wordRetryAfter
			if f.RetryAfter, err = parseDuration(word, value); err == nil && f.RetryAfter%time.Second != 0 {
				err = fmt.Errorf("%q: want whole seconds", word)
			}
		case isOption && name == wordLatency:
			f.Latency, err = parseDuration(word, value)
		case !isOption && word[0] == 'x':
			name = "x"
			f.Times, err = parseTimes(word)
		default:
			err = fmt.Errorf("%q: want %s=DURATION, %s=DURATION, %s=DURATION, xN or x*",
				word, wordRetryAfter, wordRetryAfterDate, wordLatency)
		}
		if err != nil {
			return f, err
		}
		if seen[name] {
			return f, fmt.Errorf("%q: the statement has this option twice", word)
		}
		seen[name] = true
	}
	return f, nil
}

func parseKind(word string) (Kind, int, error) {
	if len(word) == 3 && strings.Trim(word, "0123456789") == "" {
		status, _ := strconv.Atoi(word)
		if status < minStatus || status > maxStatus {
			return 0, 0, fmt.Errorf("status %q: want %d to %d, or ok", word, minStatus, maxStatus)
		}
		return Status, status, nil
	}
	if i := slices.Index(kindNames[:], word); i >= 0 && Kind(i) != Status {
		return Kind(i), 0, nil
	}
	names := slices.Delete(slices.Clone(kindNames[:]), int(Status), int(Status)+1)
	return 0, 0, fmt.Errorf("kind %q: want a status from %d to %d, or one of %s",
		word, minStatus, maxStatus, strings.Join(names, ", "))
}

func parseDuration(word, value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q: want a duration above zero, such as 5s or 300ms", word)
	}
	return d, nil
}

func parseTimes(word string) (int, error) {
	if word == "x*" {
		return -1, nil
	}
	// Atoi alone would also accept a sign.
	n, err := strconv.Atoi(word[1:])
	if err != nil || n < 1 || strings.Trim(word[1:], "0123456789") != "" {
		return 0, fmt.Errorf("%q: want xN with a number N above zero, or x*", word)
	}
	return n, nil
}

// queue holds the faults to come.
type queue struct {
	faults []Fault
	used   int // requests that have met the first fault
}

// advance counts a request that meets the first fault, and drops the fault if that was
// its last one.
func (q *queue) advance() {
	f := q.faults[0]
	q.used++
	if f.Times >= 0 && q.used >= max(f.Times, 1) {
		q.faults, q.used = q.faults[1:], 0
	}
}

// pending returns how many requests will meet a fault of the queue; -1: all.
func (q *queue) pending() int {
	n := -q.used
	for _, f := range q.faults {
		if f.Times < 0 {
			return -1
		}
		n = addUp(n, max(f.Times, 1))
	}
	return n
}

// addUp adds b >= 0 without wrapping around: scripts may say xN with the largest int.
func addUp(a, b int) int {
	if a > math.MaxInt-b {
		return math.MaxInt
	}
	return a + b
}

// Script appends faults to the queue that all regions share. A request for entropy
// meets the first; a request for another path or with another method meets none.
// Script panics if a fault is not valid.
func (e *Emulator) Script(faults ...Fault) { e.enqueue(&e.sharedFaults, faults) }

// ScriptRegion appends faults to the queue of one region, which comes before the shared
// one. It panics if there is no such region or a fault is not valid.
func (e *Emulator) ScriptRegion(region string, faults ...Fault) {
	e.mustKnow(region)
	e.enqueue(e.regionFaults[region], faults)
}

func (e *Emulator) enqueue(q *queue, faults []Fault) {
	for _, f := range faults {
		if err := f.check(); err != nil {
			panic(err)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	q.faults = append(slices.Clip(q.faults), faults...)
}

// ClearScript empties all queues. A request that has met a fault goes on with it.
func (e *Emulator) ClearScript() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sharedFaults = queue{}
	for _, q := range e.regionFaults {
		*q = queue{}
	}
}

// Pending returns how many requests will meet a fault of the queues, or -1 if all of
// them will.
func (e *Emulator) Pending() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.sharedFaults.pending()
	for _, q := range e.regionFaults {
		p := q.pending()
		if n < 0 || p < 0 {
			return -1
		}
		n = addUp(n, p)
	}
	return n
}

// SetFault sets a function that is called for each request for entropy, before the
// queues. The fault that it returns happens to this request, whatever its Times say. If
// it returns nil, the queues decide. Several requests may call it at the same time. A
// nil f removes the function.
func (e *Emulator) SetFault(f func(Request) *Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hook = f
}

// nextFault returns the region's next fault, or the zero Fault, and counts it as met.
// An ExpiredCertificate that waits for a handshake is not counted. e.mu is held.
func (e *Emulator) nextFault(region string, handshakes bool) *Fault {
	q := e.nextQueue(region)
	if q == nil {
		return new(Fault)
	}
	f := q.faults[0]
	if !handshakes || f.Kind != ExpiredCertificate {
		q.advance()
	}
	return &f
}

// nextQueue returns the queue that has the region's next fault, or nil. e.mu is held.
func (e *Emulator) nextQueue(region string) *queue {
	for _, q := range []*queue{e.regionFaults[region], &e.sharedFaults} {
		if len(q.faults) > 0 {
			return q
		}
	}
	return nil
}
