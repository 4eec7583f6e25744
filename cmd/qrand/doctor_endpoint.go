package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"example.com/qrand"
	"example.com/qrand/internal/health"
	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
)

// The limits of the steps to an endpoint. Two endpoints that answer nothing stay
// within doctorLimit.
const (
	stepTimeout  = 5 * time.Second
	fetchTimeout = 12 * time.Second
)

// checkEndpoint makes the steps to an endpoint until one fails, then fetches a block.
func (s *settings) checkEndpoint(ctx context.Context, r *report, endpoint string, clock *clock, fetch bool) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return // it parsed before
	}
	r.about = u.Host
	defer func() { r.about = "" }()
	through, reached := checkProxy(ctx, r, u)
	if !through {
		reached = reach(ctx, r, u, s.roots)
	}
	switch {
	case !reached:
		r.add(skip, "fetch", "not tried", "")
	case !fetch:
		r.add(skip, "fetch", "--no-fetch", "")
	case s.token == nil && !s.noToken:
		r.add(skip, "fetch", "there is no token that could be sent", "")
	case s.broken:
		r.add(skip, "fetch", "a setting in the environment cannot be used", "")
	default:
		s.checkFetch(ctx, r, endpoint, clock)
	}
}

// checkProxy names the proxy that requests go through, if any, without the user and
// password for it, and lets it connect to the endpoint.
func checkProxy(ctx context.Context, r *report, u *url.URL) (through, reached bool) {
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	switch {
	case err != nil || noURL(cmp.Or(os.Getenv("HTTPS_PROXY"), os.Getenv("https_proxy"))):
		r.add(fail, "proxy", "the proxy in the environment is no URL, so Go ignores it", "correct HTTPS_PROXY, or unset it")
		return true, false
	case proxy == nil:
		return false, false
	}
	how := "through " + proxy.Host + ", so it looks up names and connects, not this host"
	if strings.HasPrefix(proxy.Scheme, "socks") { // the fetch shows whether it connects
		r.add(ok, "proxy", how, "")
		return true, true
	}
	// The answer to CONNECT is all that is wanted. With an error no request follows it, so
	// no token is needed.
	var connected atomic.Bool
	transport := qrypt.NewHTTPClient()
	transport.Transport.(*http.Transport).OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
		connected.Store(res.StatusCode == http.StatusOK)
		return errors.New("it has answered")
	}
	endpoint, began := u.String(), time.Now()
	client, err := qrypt.New(qrypt.Config{Endpoints: []string{endpoint}, Token: qrypt.StaticToken("none"), HTTPClient: transport, Timeout: stepTimeout})
	if err == nil {
		_, err = client.Blocks(ctx, 1)
	}
	if !connected.Load() {
		text := strings.TrimPrefix(plain(err.Error()), endpoint+": ")
		r.add(fail, "proxy", "through "+proxy.Host+": "+text, "check HTTPS_PROXY, and ask whoever runs the proxy to let this host through; if it wants a user and a password, they go into HTTPS_PROXY")
		return true, false
	}
	r.add(ok, "proxy", how+"; connected in "+since(began), "")
	return true, true
}

// noURL reports whether Go ignores the address of a proxy: it tries it as it is, and then
// with http:// before it.
func noURL(proxy string) bool {
	_, err := url.Parse(proxy)
	_, alsoErr := url.Parse("http://" + proxy)
	return err != nil && alsoErr != nil
}

// reach looks up the name, connects, and makes the TLS handshake. It returns false if
// a step failed.
func reach(ctx context.Context, r *report, u *url.URL, roots *x509.CertPool) bool {
	host, port := u.Hostname(), cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	began := time.Now()
	step, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if net.ParseIP(host) != nil {
		r.add(skip, "dns", "an address, not a name", "")
	} else {
		addresses, err := net.DefaultResolver.LookupHost(step, host)
		if err != nil {
			r.add(fail, "dns", "the name is not found: "+reason(err), "check its spelling, and the DNS of this host")
			r.add(skip, "tcp", "there is no address", "")
			r.add(skip, "tls", "there is no address", "")
			return false
		}
		r.add(ok, "dns", fmt.Sprintf("%s in %s", strings.Join(addresses, ", "), since(began)), "")
	}

	began = time.Now()
	step, cancel = context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(step, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		r.add(fail, "tcp", "no connection: "+reason(err), "check the address, and whether a firewall or a proxy is in between")
		r.add(skip, "tls", "there is no connection", "")
		return false
	}
	defer conn.Close()
	r.add(ok, "tcp", fmt.Sprintf("connected to %s in %s", conn.RemoteAddr(), since(began)), "")
	if u.Scheme == "http" {
		r.add(warn, "tls", "none: plain http, which is allowed for loopback addresses only", "use https, except for tests")
		return true
	}

	began = time.Now()
	step, cancel = context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	secure := tls.Client(conn, &tls.Config{ServerName: host, RootCAs: roots, MinVersion: tls.VersionTLS12})
	if err := secure.HandshakeContext(step); err != nil {
		r.add(fail, "tls", "no trusted connection: "+reason(err), tlsAdvice(err))
		return false
	}
	state := secure.ConnectionState()
	describeTLS(r, &state, began)
	return true
}

func describeTLS(r *report, state *tls.ConnectionState, began time.Time) {
	leaf := state.PeerCertificates[0]
	issuer := cmp.Or(leaf.Issuer.CommonName, leaf.Issuer.String())
	detail := fmt.Sprintf("%s in %s, certificate by %q until %s", tls.VersionName(state.Version), since(began), issuer, day(leaf.NotAfter))
	if left := time.Until(leaf.NotAfter); left < 7*24*time.Hour {
		r.add(warn, "tls", detail, "the service must renew it soon")
		return
	}
	r.add(ok, "tls", detail, "")
}

func tlsAdvice(err error) string {
	var expired x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &expired) && expired.Reason == x509.Expired:
		return "check the clock of this host: if it is right, the service must renew its certificate"
	case errors.As(err, &verify):
		issuer := ""
		if len(verify.UnverifiedCertificates) > 0 {
			issuer = fmt.Sprintf(", by %q,", verify.UnverifiedCertificates[0].Issuer.CommonName)
		}
		return fmt.Sprintf("the certificate%s is not from a CA that is trusted here: put a private CA into %s", issuer, qrypt.EnvCAFile)
	case errors.As(err, &record):
		return "something that does not speak TLS answers there: check the port"
	}
	return "check whether the service answers there: a proxy that opens TLS needs its CA in " + qrypt.EnvCAFile
}

// reason is the text of an error without the addresses that package net puts before it.
func reason(err error) string {
	var op *net.OpError
	var lookup *net.DNSError
	switch {
	case errors.As(err, &lookup):
		return lookup.Err
	case errors.As(err, &op) && op.Err != nil:
		return strings.TrimPrefix(op.Err.Error(), "connect: ")
	}
	return strings.TrimPrefix(err.Error(), "tls: ")
}

func since(t time.Time) string {
	d := time.Since(t)
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// checkFetch fetches one block, as a Source would, and checks it.
func (s *settings) checkFetch(ctx context.Context, r *report, endpoint string, clock *clock) {
	transport := qrypt.NewHTTPClient()
	transport.Transport.(*http.Transport).TLSClientConfig.RootCAs = s.roots
	transport.Transport = &clockReader{next: transport.Transport, clock: clock}
	client, err := qrypt.New(qrypt.Config{
		Endpoints: []string{endpoint}, Dialect: s.dialect, Token: s.token, Auth: s.auth, HTTPClient: transport, Timeout: fetchTimeout,
	})
	if err != nil {
		r.add(fail, "fetch", plain(err.Error()), "")
		return
	}
	if s.dialect == qrypt.DialectOpenAPI {
		defer checkDevice(ctx, r, client)
	}
	began := time.Now()
	blocks, err := client.Blocks(ctx, 1)
	if err != nil {
		text := strings.TrimPrefix(plain(err.Error()), endpoint+": ")
		r.add(fail, "fetch", text, supply.AdviceOn(err, endpoint))
		return
	}
	took := since(began)
	origin := blocks[0].Origin()
	err = health.Check(blocks[0].Bytes())
	blocks[0].Wipe()
	age := time.Since(origin.Received)
	switch {
	case err != nil:
		r.add(fail, "fetch", "the block does not look random: "+plain(err.Error()), supply.AdviceOn(err, endpoint))
	case origin.Emulated:
		r.add(warn, "fetch", "1 block in "+took+", EMULATED, not quantum", supply.AdviceOn(qrand.ErrEmulated, endpoint))
	case age >= freshFor:
		r.add(warn, "fetch", fmt.Sprintf("1 block in %s, %v old", took, age.Round(time.Second)), supply.AdviceOn(qrand.ErrTooOld, endpoint))
	default:
		r.add(ok, "fetch", "1 block in "+took, "")
	}
}

// checkDevice shows what a device of the QRNG Open API says of itself. A device need not
// know the two calls.
func checkDevice(ctx context.Context, r *report, client *qrypt.Client) {
	caps, err := client.Capabilities(ctx)
	switch {
	case err != nil:
		r.add(skip, "device", "it does not say what it can do: "+plain(err.Error()), "")
	case caps.MinBlockSize > qrypt.BlockSize || caps.MaxBlockSize < qrypt.BlockSize:
		r.add(fail, "device", fmt.Sprintf("it gives blocks of %d to %d bytes, and qrand needs %d", caps.MinBlockSize, caps.MaxBlockSize, qrypt.BlockSize), "use another device")
	default:
		detail := fmt.Sprintf("it gives blocks of %d to %d bytes, %d to %d in a request", caps.MinBlockSize, caps.MaxBlockSize, caps.MinBlockCount, caps.MaxBlockCount)
		if len(caps.EntropyTypes) > 0 {
			detail += fmt.Sprintf(", of type %s", printable(strings.Join(caps.EntropyTypes, ", ")))
		}
		r.add(ok, "device", detail, "")
	}
	tests, err := client.HealthTest(ctx)
	if err != nil || len(tests) == 0 {
		r.add(skip, "health", "the device tells of no tests of its own", "")
		return
	}
	for _, t := range tests {
		r.add(ok, "health", printable(fmt.Sprintf("the device says of its test %q: %s (%s)", t.Type, t.Result, t.Time)), "")
	}
}

// printable makes what a device said fit for a terminal.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
	if short := []rune(s); len(short) > 200 {
		return string(short[:200]) + " ..."
	}
	return s
}

// freshFor is the default MaxAge of a Source.
const freshFor = 10 * time.Minute

// maxSkew is how far apart the clocks may be. A larger difference can make
// certificates and tokens seem expired.
const maxSkew = time.Minute

// A clock compares the clock of the service, as its answers show it, with ours.
type clock struct {
	mu   sync.Mutex
	seen bool
	skew time.Duration // ours minus theirs
}

func (c *clock) check(r *report, fetch bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.seen && !fetch:
		r.add(skip, "clock", "--no-fetch", "")
	case !c.seen:
		r.add(skip, "clock", "no answer to compare it with", "")
	case c.skew.Abs() > maxSkew:
		way := "ahead of"
		if c.skew < 0 {
			way = "behind"
		}
		r.add(warn, "clock", fmt.Sprintf("%v %s the clock of the service", c.skew.Abs().Round(time.Second), way), "set the clock of this host, by NTP for example")
	default:
		r.add(ok, "clock", "within a minute of the clock of the service", "")
	}
}

// A clockReader reads the Date of the answers that pass through it.
type clockReader struct {
	next  http.RoundTripper
	clock *clock
}

func (t *clockReader) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.next.RoundTrip(req)
	if err != nil {
		return res, err
	}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		t.clock.mu.Lock()
		t.clock.seen, t.clock.skew = true, time.Since(date)
		t.clock.mu.Unlock()
	}
	return res, nil
}
