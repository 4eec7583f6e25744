package qrypt

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
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
				HTTPClient: &http.Client{Transport: &answering{countingClient(&requests).Transport, &answer}},
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
