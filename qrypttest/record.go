package qrypttest

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A Request is what the emulator was asked, and what it answered. It holds no token: a
// token that was sent as a word of the path, the query or another header is replaced by
// "[token]".
type Request struct {
	Number       int64 // 1 for the first that the emulator was asked, and so on
	Time         time.Time
	Region       string
	Method, Path string // both empty for a handshake that ended with ExpiredCertificate
	Query        url.Values
	Blocks       int         // asked for; 0 if the request does not say it properly
	Token        int         // index into the tokens accepted then; -1: none sent; -2: unknown
	Header       http.Header // without Authorization and Proxy-Authorization
	Status       int         // answered; 0: no answer completed
	Fault        Fault       // that it met; zero: none
}

func (r *Request) clone() Request {
	c := *r
	c.Header = r.Header.Clone()
	c.Query = url.Values(http.Header(r.Query).Clone())
	return c
}

// Requests returns the last requests to all regions, in order, as many as Config.Record
// keeps. A client that has read an answer to its end finds its status here.
func (e *Emulator) Requests() []Request { return e.RequestsSince(0) }

// RequestsSince returns the Requests with a higher Number, for a test that follows a
// long run and has seen the others.
func (e *Emulator) RequestsSince(number int64) []Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	kept := e.requests
	if first := e.arrived - int64(len(kept)) + 1; number >= first {
		kept = kept[min(number-first+1, int64(len(kept))):]
	}
	all := make([]Request, len(kept))
	for i, r := range kept {
		all[i] = r.clone()
	}
	return all
}

// Answers returns how many requests got which status since the emulator was made, also
// those that Requests has no more. Under 0 are those whose answer was not completed.
func (e *Emulator) Answers() map[int]int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := map[int]int64{0: e.arrived}
	for status, n := range e.answers {
		all[status] = n
		all[0] -= n
	}
	if all[0] == 0 {
		delete(all, 0)
	}
	return all
}

// keep numbers a request and adds it to the record. If that is full, the oldest one is
// dropped. e.mu is held.
func (e *Emulator) keep(r *Request) {
	e.arrived++
	r.Number = e.arrived
	if len(e.requests) == e.maxRecord {
		e.requests[0] = nil // the array lives on for a while
		e.requests = e.requests[1:]
	}
	e.requests = append(e.requests, r)
}

// record records a request that comes now. e.mu is held.
func (e *Emulator) record(region string, r *http.Request, blocks, token int) *Request {
	rec := &Request{
		Time:   time.Now(),
		Region: region,
		Method: r.Method,
		Path:   e.scrub(r.URL.Path),
		Query:  make(url.Values),
		Blocks: blocks,
		Token:  token,
		Header: make(http.Header),
	}
	for key, values := range r.URL.Query() {
		key = e.scrub(key)
		for _, v := range values {
			rec.Query.Add(key, e.scrub(v))
		}
	}
	for key, values := range r.Header {
		if key == "Authorization" || key == "Proxy-Authorization" {
			continue
		}
		for _, v := range values {
			rec.Header.Add(key, e.scrub(v))
		}
	}
	e.keep(rec)
	return rec
}

// scrub replaces the tokens among the words of s. That a client leaks its token into a
// URL is worth knowing; the token itself must not be shown.
func (e *Emulator) scrub(s string) string {
	const mark = "[token]"
	if s == "" {
		return s
	}
	if i, _ := e.lookup(s); i >= 0 {
		return mark
	}
	found := make(map[string]bool)
	for word := range strings.FieldsFuncSeq(s, func(r rune) bool { return strings.ContainsRune(" \t,;:/=&?\"'", r) }) {
		if i, _ := e.lookup(word); i >= 0 {
			found[word] = true
		}
	}
	for _, word := range slices.Sorted(maps.Keys(found)) {
		s = strings.ReplaceAll(s, word, mark)
	}
	return s
}
