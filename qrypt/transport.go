package qrypt

import (
	"crypto/rand"
	"crypto/tls"
	"net"
	"net/http"
	"reflect"
	"slices"
	"time"
)

// tlsRand feeds TLS. It is captured here because a program may later set
// rand.Reader to a reader that is itself seeded through this client.
var tlsRand = rand.Reader

// NewHTTPClient returns the client used when Config.HTTPClient is nil, for
// callers who want to change something about it. Its transport is an
// *http.Transport with a limit on every phase of a request, TLS 1.2 or newer,
// crypto/rand for TLS even where a program replaces rand.Reader, and the
// proxies of the environment.
//
// Connections are not kept: requests are minutes apart, and on a kept one
// net/http may send a request twice, which would cost entropy and break the
// promise that one call is one request.
func NewHTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, Rand: tlsRand},
		ResponseHeaderTimeout:  20 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableKeepAlives:      true,
		DisableCompression:     true,
	}}
}

// isNil reports whether a transport, though not nil itself, holds a pointer or a
// function that is, and would panic when it is used.
func isNil(transport http.RoundTripper) bool {
	v := reflect.ValueOf(transport)
	return (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil()
}

// single changes a client so that each of our requests is one of its own.
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
			transport.TLSClientConfig.Rand = tlsRand
		}
		onlyHTTP1(transport)
		client.Transport = transport
	}
	client.Transport = direct{client.Transport}
	return client
}

// A direct transport says nothing of where a redirect leads, and an http.Client
// that does not know takes it for an answer like any other. It is one of the
// wrong kind: a token must not leave its host, and a redirect's HTML has been
// taken for entropy before. CheckRedirect would come too late, for an http.Client
// first parses the Location, and quotes it in an error if it cannot.
type direct struct{ http.RoundTripper }

func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := d.RoundTripper.RoundTrip(req)
	if res != nil {
		res.Header.Del("Location")
	}
	return res, err
}

// onlyHTTP1 turns HTTP/2 off in a transport that has TLS settings and nobody
// uses yet. On HTTP/2, net/http repeats a request whose stream the server
// refuses, thousands of times until its time is up.
func onlyHTTP1(t *http.Transport) {
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	// A connection on which a caller's own DialTLS agreed on HTTP/2 is handed to
	// these: to another implementation, or that of the transport that was copied.
	t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	// A transport in use has h2 in here, and its copies too. The copy shares the
	// slice with the original.
	t.TLSClientConfig.NextProtos = slices.DeleteFunc(slices.Clone(t.TLSClientConfig.NextProtos), func(name string) bool {
		return name == "h2"
	})
}
