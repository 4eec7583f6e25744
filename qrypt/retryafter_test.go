package qrypt

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	year = 365 * 24 * time.Hour
	sent = "Tue, 03 Mar 2026 10:00:00 GMT" // the Date of these answers
)

var retryAfterValues = []struct {
	value string
	want  time.Duration
}{
	{"", 0},
	{"   ", 0},
	{"0", time.Second},
	{"1", time.Second},
	{"120", 2 * time.Minute},
	{"0120", 2 * time.Minute},
	{"31535999", year - time.Second},
	{"31536000", year},
	{"31536001", year},
	{"9223372036", year}, // a second less than a Duration can hold
	{"9223372037", year},
	{"18446744073709551615", year},
	{"18446744073709551616", year},
	{"99999999999999999999999999999999", year},
	{"99999999999999999999999999999999 s", 0},
	{"-1", 0},
	{"-9223372036854775809", 0},
	{"+5", 0},
	{"1.5", 0},
	{"1e3", 0},
	{"0x10", 0},
	{"1_000", 0},
	{"5 s", 0},
	{"5, 6", 0},
	{"soon", 0},
	{"Tue, 03 Mar 2026 10:01:30 GMT", 90 * time.Second},
	{"Tuesday, 03-Mar-26 10:01:30 GMT", 90 * time.Second}, // RFC 850
	{"Tue Mar  3 10:01:30 2026", 90 * time.Second},        // asctime
	{sent, time.Second},
	{"Tue, 03 Mar 2026 09:00:00 GMT", time.Second},
	{"Mon, 01 Jan 0001 00:00:00 GMT", time.Second},
	{"Fri, 31 Dec 9999 23:59:59 GMT", year},
	{"Tue, 31 Feb 2026 10:00:00 GMT", 0},
	{"2026-03-03T10:01:30Z", 0},
}

func TestRetryAfter(t *testing.T) {
	var header string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", header)
		w.Header().Set("Date", sent)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	for i, c := range retryAfterValues {
		header = c.value
		// A token each, or the client's own limit would be in the way.
		client := clientOf(t, server, withToken(StaticToken(fmt.Sprintf("token-%d", i))))
		e := mustFail(t, client, 1, ErrNoSupply)
		if e.RetryAfter != c.want {
			t.Errorf("Retry-After: %q: %v, want %v", c.value, e.RetryAfter, c.want)
		}
		if shown := strings.Contains(e.Error(), "retry after"); shown != (c.want != 0) {
			t.Errorf("Retry-After: %q: error %q", c.value, e)
		}
	}
}

// Without a Date that can be read, a date is relative to our own clock.
func TestRetryAfterOwnClock(t *testing.T) {
	for _, date := range []string{"", "yesterday"} {
		synctest.Test(t, func(t *testing.T) {
			at := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
			server := roundTrip(func(*http.Request) (*http.Response, error) {
				res := reply(http.StatusTooManyRequests, nil)
				res.Header.Set("Retry-After", at)
				res.Header.Set("Date", date)
				return res, nil
			})
			c := mustNew(t, Config{Token: StaticToken("token"), HTTPClient: server.client()})
			time.Sleep(time.Minute)
			if e := mustFail(t, c, 1, ErrRateLimited); e.RetryAfter != 59*time.Minute {
				t.Errorf("Date: %q: retry after %v, want 59m", date, e.RetryAfter)
			}
		})
	}
}
