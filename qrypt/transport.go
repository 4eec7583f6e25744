package qrypt

import (
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"time"

	"example.com/qrand/internal/osrand"
)

// NewHTTPClient returns the client that is used when Config.HTTPClient is nil, for
// callers who want to change it. Its transport is an *http.Transport with a time limit
// on every phase of a request, TLS 1.2 or newer, and the proxies of the environment. Its
// TLS uses crypto/rand even where a program replaces rand.Reader.
//
// Connections are not kept. Requests are minutes apart, and on a kept connection
// net/http may send a request twice: that would cost entropy, and one call would not be
// one request. Instead TLS sessions are resumed (RFC 8446 section 2.2), which saves both
// sides the certificates.
func NewHTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		TLSClientConfig:        newTLSConfig(),
		ResponseHeaderTimeout:  20 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		GetProxyConnectHeader:  askingProxy(nil, nil),
		OnProxyConnectResponse: refusedByProxy(nil),
	}}
}

// maxSessions is how many TLS sessions are kept to be resumed, one for each endpoint.
const maxSessions = 16

func newTLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		Rand:               osrand.Reader(), //qrandvet:ignore it is the reader of crypto/rand
		ClientSessionCache: tls.NewLRUClientSessionCache(maxSessions),
	}
}

// single changes a client so that one call makes one request.
func single(client http.Client) http.Client {
	client.Jar = nil
	switch transport := client.Transport.(type) {
	case nil:
		client.Transport = NewHTTPClient().Transport
	case *http.Transport:
		transport = transport.Clone()
		transport.DisableKeepAlives = true
		if transport.TLSClientConfig == nil {
			transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if transport.TLSClientConfig.Rand == nil {
			transport.TLSClientConfig.Rand = osrand.Reader() //qrandvet:ignore it is the reader of crypto/rand
		}
		transport.GetProxyConnectHeader = askingProxy(transport.GetProxyConnectHeader, transport.ProxyConnectHeader)
		transport.OnProxyConnectResponse = refusedByProxy(transport.OnProxyConnectResponse)
		onlyHTTP1(transport)
		client.Transport = transport
	}
	client.Transport = direct{client.Transport}
	return client
}

// A direct transport removes the Location of a redirect, so that an http.Client returns
// it like any other answer. That is then an error: a token must not leave its host, and
// programs have used the HTML of a redirect as entropy. CheckRedirect would be too late,
// because an http.Client first parses the Location, and quotes it in its error if it
// cannot.
type direct struct{ http.RoundTripper }

func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := d.RoundTripper.RoundTrip(req)
	if res != nil {
		res.Header.Del("Location")
	}
	return res, err
}

// onlyHTTP1 turns HTTP/2 off in a transport that has TLS settings and is not in use yet.
// On HTTP/2, net/http repeats a request whose stream the server refuses: thousands of
// times, until the timeout.
func onlyHTTP1(t *http.Transport) {
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	// A connection on which the caller's own DialTLS agreed on HTTP/2 would go to these:
	// to another implementation, or to that of the transport that was copied.
	t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	// A transport in use has h2 in this list, and so does a copy, which shares it.
	t.TLSClientConfig.NextProtos = slices.DeleteFunc(slices.Clone(t.TLSClientConfig.NextProtos), func(name string) bool {
		return name == "h2"
	})
}
