package qrypt

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/qrand/qrypttest"
)

// faultAnswers has what becomes of each fault of the emulator: the class of the
// error, nil for blocks that only a health test can refuse.
var faultAnswers = map[qrypttest.Kind]struct {
	class  error
	status int
	detail string // in the error's text
}{
	qrypttest.OK:                 {},
	qrypttest.Status:             {ErrNoSupply, 503, "supply"},
	qrypttest.Hang:               {ErrTimeout, 0, "in time"},
	qrypttest.Drip:               {ErrTimeout, 0, "in time"},
	qrypttest.Reset:              {ErrNetwork, 0, "reset"},
	qrypttest.Truncate:           {ErrMalformed, 200, "not one JSON value"},
	qrypttest.ShortBody:          {ErrMalformed, 200, "cut short"},
	qrypttest.Oversize:           {ErrMalformed, 200, "longer than any to this request"},
	qrypttest.BadBase64:          {ErrMalformed, 200, "block 3: not the base64 of 1024 bytes"},
	qrypttest.URLBase64:          {ErrMalformed, 200, "block 1: not the base64 of 1024 bytes"},
	qrypttest.BlockLength:        {ErrMalformed, 200, "block 3: not the base64 of 1024 bytes"},
	qrypttest.WrongCount:         {ErrMalformed, 200, "does not have the 3 blocks asked for"},
	qrypttest.WrongSize:          {ErrMalformed, 200, "3"},
	qrypttest.Repeat:             {},
	qrypttest.Stuck:              {},
	qrypttest.Biased:             {},
	qrypttest.Redirect:           {ErrRedirected, 301, "never followed"},
	qrypttest.HTML:               {ErrMalformed, 200, "content type"},
	qrypttest.WrongType:          {ErrMalformed, 200, "content type"},
	qrypttest.GzipBomb:           {ErrMalformed, 200, "compressed"},
	qrypttest.Trailing:           {ErrMalformed, 200, "not one JSON value"},
	qrypttest.DuplicateKeys:      {ErrMalformed, 200, "same field twice"},
	qrypttest.DeepNesting:        {ErrMalformed, 200, "longer than any to this request"},
	qrypttest.Empty:              {ErrMalformed, 200, "not one JSON value"},
	qrypttest.NoJSON:             {ErrMalformed, 200, "not one JSON value"},
	qrypttest.ExpiredCertificate: {ErrTLS, 0, "expired"},
}

func TestEveryFault(t *testing.T) {
	for kind := qrypttest.OK; !strings.HasPrefix(kind.String(), "kind("); kind++ {
		for _, d := range bothDialects {
			t.Run(fmt.Sprint(kind, "/", d), func(t *testing.T) {
				t.Parallel()
				testFault(t, kind, d)
			})
		}
	}
}

func testFault(t *testing.T, kind qrypttest.Kind, d Dialect) {
	want, known := faultAnswers[kind]
	if !known {
		t.Fatal("the emulator has a new kind of fault: what becomes of it?")
	}
	s := newService(t, "a", "b")
	c := newClient(t, s, withDialect(d))
	fault := qrypttest.Fault{Kind: kind}
	if kind == qrypttest.Status {
		fault.Status = 503
	}
	s.ScriptRegion("a", fault)

	if want.class == nil {
		mustBlocks(t, c, 3)
	} else {
		failing := c
		if want.class == ErrTimeout {
			failing = newClient(t, s, withDialect(d), withTimeout(soon))
		}
		e := mustFail(t, failing, 3, want.class, []byte(s.Token()), canary)
		if e.Endpoint != s.URL || e.StatusCode != want.status || e.RetryAfter != 0 || e.Class != want.class {
			t.Errorf("fields %q %d %v %v", e.Endpoint, e.StatusCode, e.RetryAfter, e.Class)
		}
		if !strings.Contains(e.Error(), want.detail) {
			t.Errorf("error %q, want %q in it", e, want.detail)
		}
		checkCause(t, kind, e)
	}
	if s.Pending() != 0 {
		t.Fatal("the fault was not met")
	}
	for _, r := range s.Requests() {
		if r.Path == qrypttest.RedirectPath {
			t.Error("the redirect was followed")
		}
	}

	blocks := mustBlocks(t, c, 3)
	for _, b := range blocks {
		if !bytes.Contains(b.Bytes(), canary) {
			t.Error("after the fault: not the block that the service sent")
		}
	}
	wantAsked(t, s, "a", "a")
}

// checkCause looks at what errors.Is and errors.As find beneath the class.
func checkCause(t *testing.T, kind qrypttest.Kind, err error) {
	t.Helper()
	switch kind {
	case qrypttest.Reset:
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v is no ECONNRESET", err)
		}
	case qrypttest.ExpiredCertificate:
		var invalid x509.CertificateInvalidError
		if !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
			t.Errorf("%v is no expired certificate", err)
		}
	}
}

// The answers to a large request take other ways through the reader: this
// nesting, with room for it, is JSON's to refuse.
func TestDeepNestingWithRoom(t *testing.T) {
	for _, d := range bothDialects {
		s := newService(t)
		s.Script(qrypttest.Fault{Kind: qrypttest.DeepNesting})
		e := mustFail(t, newClient(t, s, withDialect(d)), MaxBlocks, ErrMalformed)
		if want := "it is not one JSON value"; e.Detail != want {
			t.Errorf("%v: detail %q, want %q", d, e.Detail, want)
		}
	}
}

func TestEveryCount(t *testing.T) {
	for _, d := range bothDialects {
		s := newService(t)
		c := newClient(t, s, withDialect(d))
		for _, n := range []int{1, 2, 3, 100, MaxBlocks} {
			blocks := mustBlocks(t, c, n)
			seen := make(map[[BlockSize]byte]bool)
			for _, b := range blocks {
				seen[[BlockSize]byte(b.Bytes())] = true
			}
			if len(seen) != n {
				t.Errorf("%v: %d different blocks of %d", d, len(seen), n)
			}
			requests := s.Requests()
			if last := requests[len(requests)-1]; last.Blocks != n {
				t.Errorf("%v: asked for %d blocks, want %d", d, last.Blocks, n)
			}
		}
		for _, n := range []int{-1, 0, MaxBlocks + 1} {
			blocks, err := c.Blocks(t.Context(), n)
			if blocks != nil || err == nil || !strings.Contains(err.Error(), "1 to 512") {
				t.Errorf("%v: %d blocks asked for: %v", d, n, err)
			}
		}
		if got := len(s.Requests()); got != 5 {
			t.Errorf("%v: %d requests for 5 calls in range", d, got)
		}
	}
}

func TestEveryStatus(t *testing.T) {
	classes := map[int]error{
		201: ErrMalformed, 202: ErrMalformed, 204: ErrMalformed, 206: ErrMalformed,
		300: ErrRedirected, 301: ErrRedirected, 302: ErrRedirected, 303: ErrRedirected,
		304: ErrRedirected, 307: ErrRedirected, 308: ErrRedirected,
		400: ErrBadRequest, 404: ErrBadRequest, 405: ErrBadRequest, 410: ErrBadRequest, 422: ErrBadRequest,
		401: ErrUnauthorized, 408: ErrTimeout, 403: ErrQuota, 429: ErrRateLimited, 503: ErrNoSupply,
		500: ErrServer, 501: ErrServer, 502: ErrServer, 504: ErrServer, 599: ErrServer, 999: ErrServer,
	}
	for _, d := range bothDialects {
		s := newService(t)
		for status, class := range classes {
			if status%2 != int(d) {
				continue // what a status means is the same in both
			}
			token := fmt.Sprint("a-token-for-", status) // with a rate limit of its own
			s.SetTokens(token)
			c := newClient(t, s, withDialect(d))
			s.Script(qrypttest.Fault{Kind: qrypttest.Status, Status: status, RetryAfter: 7 * time.Second})
			e := mustFail(t, c, 1, class, []byte(token))
			if e.Endpoint != s.URL || e.StatusCode != status || e.Class != class || e.RetryAfter != 7*time.Second {
				t.Errorf("fields %q %d %v %v", e.Endpoint, e.StatusCode, e.Class, e.RetryAfter)
			}
			if !strings.Contains(e.Error(), fmt.Sprintf("(HTTP %d)", status)) {
				t.Errorf("no status in %q", e)
			}
		}
		mustBlocks(t, newClient(t, s, withDialect(d)), 1)

		// A date says when; how long that is depends on the clock.
		s.Script(qrypttest.Fault{Kind: qrypttest.Status, Status: 429, RetryAfter: 10 * time.Hour, RetryAfterDate: true})
		e := mustFail(t, newClient(t, s, withDialect(d)), 1, ErrRateLimited)
		if e.RetryAfter < 9*time.Hour || e.RetryAfter > 11*time.Hour {
			t.Errorf("retry after %v, want about 10 h", e.RetryAfter)
		}
	}
}

// What the service refuses on its own account, without a script.
func TestServiceLimits(t *testing.T) {
	for _, d := range bothDialects {
		s := newService(t)
		c := newClient(t, s, withDialect(d))
		s.SetQuota(2)
		mustBlocks(t, c, 2)
		mustFail(t, c, 1, ErrQuota, []byte(s.Token()))
		s.SetQuota(0)

		token := []byte(s.Token())
		s.SetTokens("another")
		mustFail(t, c, 1, ErrUnauthorized, token)
		s.SetTokens(string(token))
		mustBlocks(t, c, 1)
	}
}
