package qrypt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// The classes of failure, for errors.Is. The text of an [*Error] also says who can help:
// Qrypt, or the operator of another endpoint.
var (
	ErrBadRequest   = errors.New("bad request: is the endpoint right, and does it speak this dialect?")
	ErrUnauthorized = errors.New("the access token is invalid or has expired")
	ErrQuota        = errors.New("no more entropy is granted")
	ErrRateLimited  = errors.New("too many requests")
	ErrServer       = errors.New("internal error of the service")
	ErrNoSupply     = errors.New("the service's supply of entropy is insufficient for now")
	ErrNetwork      = errors.New("the service cannot be reached")
	ErrTLS          = errors.New("no trusted TLS connection to the service")
	ErrTimeout      = errors.New("the service did not answer in time")
	ErrRedirected   = errors.New("the answer is a redirect, which is never followed: is the endpoint right?")
	ErrMalformed    = errors.New("the answer is malformed: no byte of it was used")
	ErrNoToken      = errors.New("no access token")
)

// ErrProxy is why a service cannot be reached (ErrNetwork) if the proxy cannot be reached, or
// answers our CONNECT not at all or with another status than 200. That is the proxy's answer, not the
// service's: a 429 or 403 of it is no rate limit and no quota of the token.
var ErrProxy = errors.New("no connection through the proxy")

// A proxyError is ErrProxy with its status, and without the words of the proxy.
type proxyError int

func (status proxyError) Error() string {
	return fmt.Sprintf("%v: it answers HTTP %d to our CONNECT", ErrProxy, int(status))
}

func (proxyError) Is(target error) bool { return target == ErrProxy }

type onProxyConnect = func(context.Context, *url.URL, *http.Request, *http.Response) error

// refusedByProxy is for http.Transport.OnProxyConnectResponse. It calls next, the function
// that was there before, if there was one.
func refusedByProxy(next onProxyConnect) onProxyConnect {
	return func(ctx context.Context, proxy *url.URL, req *http.Request, res *http.Response) (err error) {
		setUnanswered(ctx, false)
		if next != nil {
			err = next(ctx, proxy, req, res)
		}
		if res.StatusCode != http.StatusOK {
			return proxyError(res.StatusCode)
		}
		return err
	}
}

type onProxyRequest = func(context.Context, *url.URL, string) (http.Header, error)

// askingProxy is for http.Transport.GetProxyConnectHeader. It returns what next does, the
// function that was there before, or else header.
func askingProxy(next onProxyRequest, header http.Header) onProxyRequest {
	return func(ctx context.Context, proxy *url.URL, target string) (http.Header, error) {
		setUnanswered(ctx, true)
		if next != nil {
			return next(ctx, proxy, target)
		}
		return header, nil
	}
}

// errUnanswered is an error of package net/http after our CONNECT and before an answer to it.
var errUnanswered = errors.New("no answer to our CONNECT")

// unansweredKey is the key of an *atomic.Bool in a context: whether a proxy owes an answer.
type unansweredKey struct{}

func setUnanswered(ctx context.Context, value bool) {
	if unanswered, ok := ctx.Value(unansweredKey{}).(*atomic.Bool); ok {
		unanswered.Store(value)
	}
}

// onTheWay returns the failure of a connection to the proxy, as ErrProxy. Package net/http
// names these operations so.
func onTheWay(err error, e *Error) error {
	var op *net.OpError
	var cause error
	switch {
	case errors.Is(err, errUnanswered):
		cause = fmt.Errorf("%w: it does not answer our CONNECT as a proxy does", ErrProxy)
	case !errors.As(err, &op):
		return e
	case op.Op == "proxyconnect":
		cause = fmt.Errorf("%w: it cannot be reached", ErrProxy)
	case strings.HasPrefix(op.Op, "socks "):
		cause = fmt.Errorf("%w: SOCKS failed, or was refused", ErrProxy)
	default:
		return e
	}
	if e.Detail != "" {
		cause = fmt.Errorf("%w: %s", cause, e.Detail)
	}
	if e.cause != nil {
		cause = fmt.Errorf("%w: %w", cause, e.cause)
	}
	return &Error{Endpoint: e.Endpoint, Class: ErrNetwork, cause: cause}
}

// Error is a failed request. Of what the service sent it holds only a status and a time,
// so that printing it cannot show a token or entropy.
type Error struct {
	Endpoint   string        // base URL
	StatusCode int           // HTTP status; zero if no answer arrived
	RetryAfter time.Duration // as the answer asks, at least 1 s; zero if it does not
	Class      error         // ErrRateLimited and so on
	Detail     string        // where more is known than the class
	cause      error
}

func (e *Error) Error() string {
	if e == nil {
		return "qrypt: a nil Error"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "qrypt: %s: ", e.Endpoint)
	if e.Class != nil {
		b.WriteString(e.Class.Error())
	} else {
		b.WriteString("the request failed")
	}
	if advice := e.advice(); advice != "" {
		fmt.Fprintf(&b, ": %s", advice)
	}
	if e.Detail != "" {
		fmt.Fprintf(&b, ": %s", e.Detail)
	}
	if _, known := e.cause.(tokenError); e.Class == ErrNoToken && !known {
		b.WriteString(": the token function failed") // its error may quote what it got
	} else if e.cause != nil {
		fmt.Fprintf(&b, ": %v", e.cause)
	}
	if e.StatusCode != 0 && e.StatusCode != http.StatusOK {
		fmt.Fprintf(&b, " (HTTP %d)", e.StatusCode)
	}
	if e.RetryAfter != 0 {
		fmt.Fprintf(&b, ", retry after %v", e.RetryAfter)
	}
	return b.String()
}

// advice says who can help, where that depends on the endpoint.
func (e *Error) advice() string {
	host, qrypts := Operator(e.Endpoint)
	switch {
	case e.Class == ErrUnauthorized && qrypts:
		return "generate a new one in the Qrypt portal"
	case e.Class == ErrUnauthorized:
		return "ask whoever runs " + host + " for a new one"
	case e.Class == ErrQuota && qrypts:
		return "the account's allotment for this period is used up, or something in between refuses us"
	case e.Class == ErrQuota:
		return "a client's quota at " + host + " is used up, or something in between refuses us: ask whoever runs it"
	case e.Class == ErrRateLimited && qrypts:
		return "30 in 10 s are allowed with a token"
	case e.Class == ErrRateLimited:
		return host + " has a limit of its own: ask whoever runs it"
	}
	return ""
}

// Operator returns the host of an endpoint, and whether Qrypt runs it. A relay or a
// device is run by others, and has tokens, quotas and limits of its own.
func Operator(endpoint string) (host string, qrypts bool) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return "the endpoint", false
	}
	return u.Host, strings.HasSuffix(strings.ToLower(u.Hostname()), ".qrypt.com")
}

// Unwrap returns the class, and the cause of a failure of the transport or of a
// TokenFunc.
func (e *Error) Unwrap() []error {
	if e == nil {
		return nil
	}
	return slices.DeleteFunc([]error{e.Class, e.cause}, func(err error) bool { return err == nil })
}

// statusError returns the Error for an answer other than 200.
func statusError(endpoint string, res *http.Response, now time.Time) error {
	e := &Error{Endpoint: endpoint, StatusCode: res.StatusCode, RetryAfter: retryAfter(res.Header, now)}
	switch code := res.StatusCode; {
	case code == http.StatusUnauthorized:
		e.Class = ErrUnauthorized
	case code == http.StatusRequestTimeout:
		e.Class = ErrTimeout
	case code == http.StatusForbidden:
		e.Class = ErrQuota
	case code == http.StatusTooManyRequests:
		e.Class = ErrRateLimited
	case code == http.StatusServiceUnavailable:
		e.Class = ErrNoSupply
	case code >= 500:
		e.Class = ErrServer
	case code >= 400:
		e.Class = ErrBadRequest
	case code >= 300:
		e.Class = ErrRedirected
	default:
		e.Class, e.Detail = ErrMalformed, "a success without entropy"
	}
	return e
}

// longest is the longest time that is read from a header. A longer one is cut to it, so
// that nothing overflows.
const longest = 365 * 24 * time.Hour

// retryAfter reads a Retry-After header in either form (RFC 9110 section 10.2.3). A date
// counts from the answer's own Date, if it has one, because the clocks of client and
// service may differ.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0
	}
	var wait time.Duration
	if strings.Trim(value, "0123456789") == "" {
		seconds, _ := strconv.ParseUint(value, 10, 64) // its largest, where value is larger
		wait = time.Duration(min(seconds, uint64(longest/time.Second))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		if sent, err := http.ParseTime(h.Get("Date")); err == nil {
			now = sent
		}
		wait = at.Sub(now)
	} else {
		return 0
	}
	return min(max(wait, time.Second), longest)
}

// transportError returns the Error for a request without an answer. Of its cause it
// keeps only what has no bytes of the peer: net/http quotes a malformed answer in its
// error, and that may be entropy, or the token sent back.
func transportError(ctx context.Context, endpoint string, err error) error {
	if ctx.Err() != nil { // the caller gave up; the service did not fail
		return fmt.Errorf("qrypt: %s: %w", endpoint, context.Cause(ctx))
	}
	e := &Error{Endpoint: endpoint, Class: ErrNetwork}
	var (
		verify  *tls.CertificateVerificationError
		alert   tls.AlertError
		record  tls.RecordHeaderError
		lookup  *net.DNSError
		errno   systemError
		timeout net.Error
		proxy   proxyError
	)
	switch {
	case errors.As(err, &proxy):
		e.cause = proxy
	case errors.As(err, &verify):
		e.Class = ErrTLS
		e.Detail, e.cause = certificateError(verify.Err)
	case errors.As(err, &alert):
		e.Class, e.cause = ErrTLS, alert
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		e.Class, e.Detail = ErrTLS, "the peer does not speak TLS"
	case errors.As(err, &timeout) && timeout.Timeout():
		e.Class, e.cause = ErrTimeout, context.DeadlineExceeded
	case errors.As(err, &lookup):
		e.cause = lookup
	case errors.As(err, &errno):
		e.cause = errno
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		e.Detail, e.cause = "the connection was closed before the answer", io.ErrUnexpectedEOF
	case strings.Contains(err.Error(), ": tls: "):
		e.Class, e.Detail = ErrTLS, "the handshake failed"
	default:
		e.Detail = "the HTTP exchange failed"
	}
	return onTheWay(err, e)
}

// certificateError says why a certificate is refused. The errors of crypto/x509 may quote
// its names, which are bytes of the peer too. Only its times are kept.
func certificateError(err error) (detail string, cause error) {
	var (
		invalid x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate has expired, or this host's clock is wrong", invalid
	case errors.As(err, &unknown):
		return "its certificate is refused (a private CA goes into " + EnvCAFile + ")", x509.UnknownAuthorityError{Cert: unknown.Cert}
	case errors.As(err, &host):
		return "its certificate is another host's", nil
	}
	return "its certificate is refused", nil
}
