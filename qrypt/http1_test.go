package qrypt

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"example.com/qrand/internal/osrand"
)

// A caller's client is changed, in a copy, so that it makes one request of each
// of ours: net/http may repeat one on a kept connection.
func TestCustomClientIsMadeSingle(t *testing.T) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, custom := range map[string]*http.Client{
		"no transport":  {Jar: jar, Timeout: time.Minute},
		"bare":          {Jar: jar, Timeout: time.Minute, Transport: &http.Transport{}},
		"TLS of theirs": {Jar: jar, Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{ServerName: "x"}}},
	} {
		c := mustNew(t, Config{Token: StaticToken("token"), HTTPClient: custom})
		transport := c.http.Transport.(direct).RoundTripper.(*http.Transport)
		if !transport.DisableKeepAlives || transport.TLSClientConfig.Rand != osrand.Reader() || c.http.Jar != nil || c.http.Timeout != time.Minute {
			t.Errorf("%s: connections or cookies are kept, or its settings are not", name)
		}
		theirs, ok := custom.Transport.(*http.Transport)
		if custom.Jar == nil || custom.CheckRedirect != nil || ok && (theirs.DisableKeepAlives || theirs == transport) {
			t.Errorf("%s: the caller's own client was changed", name)
		}
		if name == "TLS of theirs" && transport.TLSClientConfig.ServerName != "x" {
			t.Errorf("%s: its TLS settings are lost", name)
		}
	}
}

// We speak HTTP/1.1 on any transport, and the caller's own transport does not change.
func TestOnlyHTTP1(t *testing.T) {
	var asked []string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked = append(asked, req.Proto)
		w.Header().Set("Content-Type", "application/json")
		w.Write(oneBlock[DialectQuantumEntropy])
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	trust := func() *tls.Config { return &tls.Config{RootCAs: trustIn(server.Certificate())} }
	http1, http2, clear2 := new(http.Protocols), new(http.Protocols), new(http.Protocols)
	http1.SetHTTP1(true)
	http2.SetHTTP2(true)
	clear2.SetUnencryptedHTTP2(true)
	standard := http.DefaultTransport.(*http.Transport).Clone()
	standard.TLSClientConfig = trust()
	unused := standard.Clone()
	listed := trust()
	listed.NextProtos = []string{"http/1.1", "h2"}
	theirs := map[string]func(string, *tls.Conn) http.RoundTripper{
		"h2": func(_ string, c *tls.Conn) http.RoundTripper {
			c.Close()
			return roundTrip(func(req *http.Request) (*http.Response, error) {
				asked = append(asked, "HTTP/2.0")
				return reply(http.StatusOK, oneBlock[DialectQuantumEntropy]), nil
			})
		},
	}
	for _, c := range []struct {
		name  string
		proto string // with the transport itself
		t     *http.Transport
	}{
		{"standard", "HTTP/2.0", standard},
		{"standard, used", "HTTP/2.0", standard},
		{"copy of the standard one, used", "HTTP/2.0", standard.Clone()},
		{"standard, not used", "", unused},
		{"forced", "HTTP/2.0", &http.Transport{TLSClientConfig: trust(), ForceAttemptHTTP2: true}},
		{"HTTP/2 alone", "HTTP/2.0", &http.Transport{TLSClientConfig: trust(), Protocols: http2}},
		{"HTTP/1 alone", "HTTP/1.1", &http.Transport{TLSClientConfig: trust(), Protocols: http1}},
		{"HTTP/2 in clear", "", &http.Transport{TLSClientConfig: trust(), Protocols: clear2}},
		{"another implementation", "HTTP/2.0", &http.Transport{TLSClientConfig: listed, TLSNextProto: theirs}},
		{"plain", "HTTP/1.1", &http.Transport{TLSClientConfig: trust()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			freshLimiter()
			asked = nil
			direct := func() {
				t.Helper()
				if c.proto == "" {
					return
				}
				res, err := (&http.Client{Transport: c.t}).Get(server.URL)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
			}
			direct()
			protocols, forced, next := c.t.Protocols, c.t.ForceAttemptHTTP2, len(c.t.TLSNextProto)
			names := slices.Clone(c.t.TLSClientConfig.NextProtos)
			client := clientOf(t, server, withHTTP(&http.Client{Transport: c.t}))
			mustBlocks(t, client, 1)
			mustBlocks(t, client, 1)
			direct()
			if c.proto == "" {
				if want := []string{"HTTP/1.1", "HTTP/1.1"}; !reflect.DeepEqual(asked, want) {
					t.Errorf("asked with %q, want %q", asked, want)
				}
				return // as it was never used, Clone prepares it, as a first use would
			}
			if want := []string{c.proto, "HTTP/1.1", "HTTP/1.1", c.proto}; !reflect.DeepEqual(asked, want) {
				t.Errorf("asked with %q, want %q", asked, want)
			}
			if c.t.Protocols != protocols || c.t.ForceAttemptHTTP2 != forced || len(c.t.TLSNextProto) != next ||
				!slices.Equal(c.t.TLSClientConfig.NextProtos, names) {
				t.Error("the caller's transport was changed")
			}
		})
	}
	if want := []string{"http/1.1", "h2"}; !slices.Equal(listed.NextProtos, want) {
		t.Errorf("the caller's protocols are %q, want %q", listed.NextProtos, want)
	}
}

// A connection that a caller's own function made for HTTP/2 is good for nothing
// else: that call fails, and the next.
func TestDialerOfHTTP2(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a request arrived")
	}))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it says that HTTP/1.1 is no HTTP/2
	server.StartTLS()
	defer server.Close()
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: trustIn(server.Certificate()), NextProtos: []string{"h2"}}}
	theirs := &http.Transport{DialTLSContext: dialer.DialContext, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{
		"h2": func(_ string, c *tls.Conn) http.RoundTripper {
			t.Error("the connection was handed to another implementation")
			c.Close()
			return roundTrip(func(*http.Request) (*http.Response, error) { return nil, io.EOF })
		},
	}}
	c := clientOf(t, server, withHTTP(&http.Client{Transport: theirs}))
	for range 2 {
		mustFail(t, c, 1, ErrNetwork)
	}
}

// A plain server is not asked with HTTP/2 in clear.
func TestNoHTTP2InClear(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(oneBlock[DialectQuantumEntropy])
	}))
	defer server.Close()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	mustBlocks(t, clientOf(t, server, withHTTP(&http.Client{Transport: &http.Transport{Protocols: protocols}})), 1)
}

// Other names than HTTP/2's that a caller has a connection offer stay.
func TestOtherProtocolNamesStay(t *testing.T) {
	theirs := &http.Transport{TLSClientConfig: &tls.Config{NextProtos: []string{"h2", "theirs", "http/1.1"}}}
	got := single(http.Client{Transport: theirs}).Transport.(direct).RoundTripper.(*http.Transport).TLSClientConfig.NextProtos
	if want := []string{"theirs", "http/1.1"}; !slices.Equal(got, want) {
		t.Errorf("offers %q, want %q", got, want)
	}
}

// A server that refuses every stream of HTTP/2 (RFC 9113 section 8.7) has
// net/http repeat the request.
func TestRefusedStreams(t *testing.T) {
	cert := selfSigned(t, "there.example")
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
	var streams, requests atomic.Int64
	address := listen(t, func(conn net.Conn) {
		c := tls.Server(conn, cfg)
		if c.Handshake() != nil {
			return
		}
		if c.ConnectionState().NegotiatedProtocol == "h2" {
			refuseStreams(c, &streams)
			return
		}
		var request []byte
		for buf := make([]byte, 1024); !bytes.Contains(request, []byte("\r\n\r\n")); {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			request = append(request, buf[:n]...)
		}
		requests.Add(1)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"+string(oneBlock[DialectQuantumEntropy]))
		c.CloseWrite()
	})
	standard := http.DefaultTransport.(*http.Transport).Clone()
	standard.TLSClientConfig = &tls.Config{RootCAs: trustIn(cert.Leaf), ServerName: "there.example"}
	mustBlocks(t, mustNew(t, Config{
		Endpoints: []string{"https://" + address}, Token: StaticToken("token-of-" + t.Name()),
		HTTPClient: &http.Client{Transport: standard}, Timeout: time.Second,
	}), 1)
	if streams.Load() != 0 || requests.Load() != 1 {
		t.Errorf("%d streams and %d requests for one call", streams.Load(), requests.Load())
	}
}

// refuseStreams is the least of an HTTP/2 server (RFC 9113 sections 3.4, 4.1 and
// 6), until the client goes.
func refuseStreams(c net.Conn, streams *atomic.Int64) {
	const rstStream, headers, settings, refused, ack = 3, 1, 4, 7, 1
	send := func(kind, flags byte, stream uint32, payload ...byte) {
		frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind)), flags)
		c.Write(append(binary.BigEndian.AppendUint32(frame, stream), payload...))
	}
	send(settings, 0, 0)
	if _, err := io.CopyN(io.Discard, c, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
		return
	}
	for {
		var head [9]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		length := binary.BigEndian.Uint32(head[:]) >> 8
		if _, err := io.CopyN(io.Discard, c, int64(length)); err != nil {
			return
		}
		switch kind, flags := head[3], head[4]; {
		case kind == settings && flags&ack == 0:
			send(settings, ack, 0)
		case kind == headers:
			streams.Add(1)
			send(rstStream, 0, binary.BigEndian.Uint32(head[5:]), 0, 0, 0, refused)
		}
	}
}
