package qrand

import (
	"bytes"
	"errors"
	"testing"

	"example.com/qrand/internal/outage"
)

// slowOS is an osReader that gives a few bytes at a time, and an error with the
// last of them.
type slowOS struct{ left int }

func (o *slowOS) Read(p []byte) (int, error) {
	n := min(len(p), 7, o.left)
	for i := range p[:n] {
		p[i] = byte(o.left - i)
	}
	if o.left -= n; o.left == 0 {
		return n, errors.New("no more")
	}
	return n, nil
}

// TestShortReadsOfOS: crypto/rand gives all that is asked for at once; another
// reader in its place need not, and all of p is filled even so.
func TestShortReadsOfOS(t *testing.T) {
	stubOS(t, &slowOS{left: 32})
	p := make([]byte, 32)
	readOS(p)
	want := make([]byte, 32)
	for i := range want {
		want[i] = byte(32 - i)
	}
	if !bytes.Equal(p, want) {
		t.Errorf("readOS gave %v", p)
	}
}

// TestReasonWords: what JSON and metrics say of an outage stays as it is, for
// others look for it, and each has a text for people.
func TestReasonWords(t *testing.T) {
	words := []string{
		"rate_limited", "no_supply", "server_error", "tls_failed", "timed_out", "unreachable", "quota_reached",
		"unauthorized", "no_token", "bad_request", "redirected", "malformed", "unhealthy", "repeated", "timed_out",
	}
	for i, row := range outage.Table {
		if i >= len(words) || row.Reason != words[i] {
			t.Errorf("row %d of the outage table has the reason %q", i, row.Reason)
		}
		if Reason(row.Reason).String() == "" {
			t.Errorf("%q has no text", row.Reason)
		}
	}
	if Failed != "failed" || Failed.String() == "" || Reason("").String() != "" {
		t.Errorf("what is in no row has the reason %q", string(Failed))
	}
}
