package qrypt

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Only Qrypt can help with Qrypt's own hosts, and only their operators with
// others.
func TestErrorNamesWhoCanHelp(t *testing.T) {
	qrypts := map[int]string{
		401: "the access token is invalid or has expired: generate a new one in the Qrypt portal (HTTP 401)",
		403: "no more entropy is granted: the account's allotment for this period is used up, or something in between refuses us (HTTP 403)",
		429: "too many requests: 30 in 10 s are allowed with a token (HTTP 429)",
	}
	others := map[int]string{
		401: "the access token is invalid or has expired: ask whoever runs HOST for a new one (HTTP 401)",
		403: "no more entropy is granted: a client's quota at HOST is used up, or something in between refuses us: ask whoever runs it (HTTP 403)",
		429: "too many requests: HOST has a limit of its own: ask whoever runs it (HTTP 429)",
	}
	classes := map[int]error{401: ErrUnauthorized, 403: ErrQuota, 429: ErrRateLimited}
	for endpoint, host := range map[string]string{
		EndpointEUS:                         "", // Qrypt's own
		EndpointWEU:                         "",
		"https://API-EUS.Qrypt.com:443":     "",
		"https://new.region.qrypt.com/base": "",
		"https://relay.example:8443":        "relay.example:8443",
		"https://relay.example/qrypt.com":   "relay.example",
		"https://qrypt.com.example":         "qrypt.com.example",
		"https://notqrypt.com":              "notqrypt.com",
		"https://qrypt.com":                 "qrypt.com",
		"http://127.0.0.1:8080":             "127.0.0.1:8080",
		"https://[2001:db8::1]:443":         "[2001:db8::1]:443",
	} {
		for status, want := range qrypts {
			if host != "" {
				want = strings.ReplaceAll(others[status], "HOST", host)
			}
			answer := status
			requests := 0
			c := mustNew(t, Config{
				Endpoints: []string{endpoint}, Token: StaticToken("a-token-of-" + t.Name() + endpoint[8:12]),
				HTTPClient: &http.Client{Transport: withStatus(countingClient(&requests).Transport, &answer)},
			})
			e := mustFail(t, c, 1, classes[status])
			if want = "qrypt: " + endpoint + ": " + want; e.Error() != want {
				t.Errorf("%s\nwant %s", e, want)
			}
		}
	}
	// Others may make an Error too, of what is no URL.
	for _, endpoint := range []string{"", "device 3", "%zz", "https://["} {
		e := &Error{Endpoint: endpoint, Class: ErrUnauthorized}
		if want := "qrypt: " + endpoint + ": the access token is invalid or has expired: ask whoever runs the endpoint for a new one"; e.Error() != want {
			t.Errorf("%s\nwant %s", e, want)
		}
	}
	// The classes alone name nobody.
	for _, class := range classes {
		if text := strings.ToLower(class.Error()); strings.Contains(text, "portal") || strings.Contains(text, "account") || strings.Contains(text, "30") {
			t.Errorf("%q is for Qrypt's hosts alone", text)
		}
	}
}

// An Error that others made may lack what ours have.
func TestErrorOfNothing(t *testing.T) {
	var none *Error
	for _, c := range []struct {
		e    *Error
		want string
	}{
		{none, "qrypt: a nil Error"},
		{&Error{}, "qrypt: : the request failed"},
		{&Error{Endpoint: "https://there", StatusCode: 500}, "qrypt: https://there: the request failed (HTTP 500)"},
	} {
		if c.e.Error() != c.want {
			t.Errorf("%q, want %q", c.e.Error(), c.want)
		}
		if len(c.e.Unwrap()) != 0 || errors.Is(c.e, ErrServer) {
			t.Errorf("%q wraps %v", c.want, c.e.Unwrap())
		}
	}
	if got := (&Error{Class: ErrServer, cause: io.EOF}).Unwrap(); !slices.Equal(got, []error{ErrServer, io.EOF}) {
		t.Errorf("wraps %v", got)
	}
}

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

const rawToken = "J5QK2M7VXW4T6NAZ3RBJ5QK2M7VXW4T6"

// newRawServer answers each request with what answer writes, HTTP or not. It is
// on plain loopback: TLS adds nothing to what a server may say.
func newRawServer(t testing.TB, answer func(io.Writer)) *Client {
	t.Helper()
	address := listen(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			answer(c)
		}
	})
	return mustNew(t, Config{Endpoints: []string{"http://" + address}, Token: StaticToken(rawToken)})
}

// net/http quotes a malformed answer in its errors, and an answer can have the
// token in it, or entropy: a server, or a proxy before it, that sends back what
// it got. No error of ours shows any.
func TestErrorsQuoteNoAnswer(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	const asJSON = ok + "Content-Type: application/json\r\n"
	block := noise(3, 1)[0]
	for i, answer := range []string{
		"$",
		"$\r\n\r\n",
		"$ 200 OK\r\n\r\n",
		"HTTP/$ 200 OK\r\n\r\n",
		"HTTP/1.1 $ OK\r\n\r\n",
		"HTTP/1.1 $",
		"HTTP/1.1 200 $\r\n\r\n",
		"HTTP/1.1 503 $\r\n\r\n",
		"HTTP/1.1 99999 $\r\n\r\n",
		"HTTP/1.1 -12 $\r\n\r\n",
		ok + "$\r\n\r\n",
		ok + "$: x\r\nno colon here $\r\n\r\n",
		ok + " $: x\r\n\r\n",
		ok + "Content-Length: $\r\n\r\n",
		ok + "Content-Length: 5\r\nContent-Length: $\r\n\r\n",
		ok + "Transfer-Encoding: $\r\n\r\n",
		ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: $\r\n\r\n",
		ok + "Content-Type: $\r\n\r\n$",
		ok + "Content-Type: application/json; $=$; $\r\n\r\n$",
		asJSON + "Content-Encoding: $\r\n\r\n$",
		asJSON + "Transfer-Encoding: chunked\r\n\r\n$\r\n",
		asJSON + "Transfer-Encoding: chunked\r\n\r\n5;$\r\n{\"$\"\r\n$",
		asJSON + "Transfer-Encoding: chunked\r\nTrailer: $\r\n\r\n2\r\n{}\r\n0\r\n$\r\n$",
		asJSON + "Content-Length: 1000\r\n\r\n$",
		asJSON + "\r\n$",
		asJSON + "\r\n\"$\"",
		asJSON + "\r\n{\"$\":\"$\"}",
		asJSON + "\r\n{\"random\":\"$\",\"size\":\"$\"}",
		asJSON + "\r\n{\"random\":[\"$\"],\"size\":1}",
		asJSON + "\r\n{\"random\":[],\"$\":0,\"$\":0}",
		asJSON + "\r\n{\"\\u0020$\":0}",
		"HTTP/1.1 301 Moved $\r\nLocation: https://elsewhere.example/$\r\n\r\n",
		"HTTP/1.1 302 $\r\nLocation: http://[$\r\n\r\n",
		"HTTP/1.1 302 $\r\nLocation: %zz$\r\n\r\n",
		"HTTP/1.1 307 $\r\nLocation: $\r\n\r\n$",
		"HTTP/1.1 401 $\r\nWWW-Authenticate: Bearer $\r\nContent-Type: application/json\r\n\r\n{\"error\":\"$\"}",
		"HTTP/1.1 429 $\r\nRetry-After: $\r\nDate: $\r\n\r\n$",
		"HTTP/1.1 500 $\r\nServer: $\r\n\r\n$",
		"HTTP/1.1 101 $\r\nUpgrade: $\r\n\r\n",
		strings.Repeat("HTTP/1.1 103 $\r\nLink: $\r\n\r\n", 10),
	} {
		for what, secret := range map[string][]byte{
			rawToken: []byte(rawToken),
			base64.StdEncoding.EncodeToString(block[:48]): block[:48],
			string(block[:48]):                            block[:48],
		} {
			c := newRawServer(t, func(w io.Writer) { io.WriteString(w, strings.ReplaceAll(answer, "$", what)) })
			c.token = StaticToken(fmt.Sprint(rawToken, i)) // its own rate limit
			_, err := c.Blocks(t.Context(), 1)
			if _, typed := err.(*Error); !typed {
				t.Fatalf("answer %.60q: error %T %v", answer, err, err)
			}
			checkSilent(t, err, secret, []byte(rawToken))
		}
	}
}
