package qrypttest

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A Request is what the emulator was asked, and what it answered. It has no
// token in it: where one was sent outside the Authorization header, as a word
// of the path, the query or another header, it reads "[token]".
type Request struct {
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

// Requests returns what the emulator was asked until now, in order, in all
// regions. A client that has read an answer to its end finds its status here.
func (e *Emulator) Requests() []Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]Request, len(e.requests))
	for i, r := range e.requests {
		all[i] = r.clone()
	}
	return all
}

// record notes a request that arrives now. e.mu is held.
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
	e.requests = append(e.requests, rec)
	return rec
}

// scrub replaces the tokens among the words of s. A client that leaks its
// token into a URL is a finding; the token itself is still nobody's to read.
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
