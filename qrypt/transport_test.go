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
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/qrypttest"
)

// listen accepts connections on loopback and hands each to serve, until the
// test ends.
func listen(t testing.TB, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn)
			// What the client still sends is read: a connection closed on
			// unread data is reset, and the client may miss the answer.
			if half, ok := conn.(*net.TCPConn); ok {
				half.CloseWrite()
			}
			io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func TestServerGone(t *testing.T) {
	s := newService(t)
	c := newClient(t, s)
	s.Stop("api-eus")
	e := mustFail(t, c, 1, ErrNetwork, []byte(s.Token()))
	if !errors.Is(e, syscall.ECONNREFUSED) || e.StatusCode != 0 || e.Endpoint != s.URL {
		t.Errorf("%#v", e)
	}
	if err := s.Start("api-eus"); err != nil {
		t.Fatal(err)
	}
	mustBlocks(t, c, 1)
}

func TestServerGoesDuringRequest(t *testing.T) {
	s := newService(t)
	c := newClient(t, s)
	asked := make(chan struct{})
	s.SetFault(func(qrypttest.Request) *qrypttest.Fault {
		close(asked)
		return &qrypttest.Fault{Kind: qrypttest.Hang}
	})
	go func() {
		<-asked
		s.Stop("api-eus")
	}()
	e := mustFail(t, c, 1, ErrNetwork, []byte(s.Token()))
	if !errors.Is(e, io.ErrUnexpectedEOF) || !strings.Contains(e.Error(), "closed before the answer") {
		t.Error(e)
	}
}

// A name that does not resolve, on a network in memory so as to ask nobody.
func TestLookupFails(t *testing.T) {
	for _, lookup := range []*net.DNSError{
		{Err: "no such host", Name: "there", IsNotFound: true},
		{Err: "i/o timeout", Name: "there", IsTimeout: true},
	} {
		h := NewHTTPClient()
		h.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: lookup}
		}
		h.Transport.(*http.Transport).Proxy = nil
		class := ErrNetwork
		if lookup.IsTimeout {
			class = ErrTimeout
		}
		e := mustFail(t, mustNew(t, Config{Token: StaticToken("token"), HTTPClient: h}), 1, class)
		var found *net.DNSError
		if errors.As(e, &found) != (class == ErrNetwork) {
			t.Errorf("%v", e)
		}
	}
}

func TestUntrustedAuthority(t *testing.T) {
	s, other := newService(t), newService(t)
	c := newClient(t, s, withHTTP(trusting(t, other.CAPEM())))
	e := mustFail(t, c, 1, ErrTLS, []byte(s.Token()))
	var unknown x509.UnknownAuthorityError
	if !errors.As(e, &unknown) || unknown.Cert == nil {
		t.Errorf("%v is no unknown authority", e)
	}
	// Both authorities have this name, and crypto/x509 would quote it.
	if strings.Contains(e.Error(), "emulator") {
		t.Errorf("%v quotes the certificate", e)
	}
	if len(s.Requests()) != 0 {
		t.Error("a request was sent")
	}
	mustBlocks(t, newClient(t, s), 1)
}

// The names in a certificate are the peer's to choose, trusted or not.
func TestCertificateOfAnotherHost(t *testing.T) {
	const token = "J5QK2M7VXW4T6NAZ3RBJ5QK2M7VXW4T6"
	server := newTLSServer(t, selfSigned(t, token), nil)
	e := mustFail(t, server.client(t, "elsewhere.example", token), 1, ErrTLS, []byte(token))
	if want := "its certificate is another host's"; e.Detail != want {
		t.Errorf("detail %q, want %q", e.Detail, want)
	}
	mustBlocks(t, server.client(t, token, token), 1)
}

func TestCertificateNotForServers(t *testing.T) {
	cert := selfSigned(t, "there.example", func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	})
	e := mustFail(t, newTLSServer(t, cert, nil).client(t, "there.example", "token"), 1, ErrTLS)
	if want := "its certificate is refused"; e.Detail != want {
		t.Errorf("detail %q, want %q", e.Detail, want)
	}
}

func TestOldTLS(t *testing.T) {
	server := newTLSServer(t, selfSigned(t, "there.example"), func(c *tls.Config) {
		c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	})
	e := mustFail(t, server.client(t, "there.example", "token"), 1, ErrTLS)
	if want := "the handshake failed"; e.Detail != want {
		t.Errorf("detail %q, want %q", e.Detail, want)
	}
}

func TestPeerWithoutTLS(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	banner := listen(t, func(c net.Conn) { io.WriteString(c, "SSH-2.0-there_0.1\r\n") })
	for _, address := range []string{strings.TrimPrefix(plain.URL, "http://"), banner} {
		c := mustNew(t, Config{Endpoints: []string{"https://" + address}, Token: StaticToken("a-token-in-clear")})
		e := mustFail(t, c, 1, ErrTLS, []byte("a-token-in-clear"))
		if want := "the peer does not speak TLS"; e.Detail != want {
			t.Errorf("detail %q, want %q", e.Detail, want)
		}
	}
}

func TestPeerClosesAtOnce(t *testing.T) {
	address := listen(t, func(net.Conn) {})
	c := mustNew(t, Config{Endpoints: []string{"https://" + address}, Token: StaticToken("token")})
	if e := mustFail(t, c, 1, ErrNetwork); !errors.Is(e, io.ErrUnexpectedEOF) {
		t.Error(e)
	}
}

// A peer that says nothing, where the handshake would begin.
func TestPeerIsSilent(t *testing.T) {
	gone := make(chan struct{})
	address := listen(t, func(c net.Conn) { <-gone })
	c := mustNew(t, Config{Endpoints: []string{"https://" + address}, Token: StaticToken("token"), Timeout: soon})
	mustFail(t, c, 1, ErrTimeout)
	close(gone)
}

// An endpoint of another scheme than its server: what a server says to that is
// an answer like another.
func TestPlainRequestToTLS(t *testing.T) {
	s := newService(t)
	c := newClient(t, s, withEndpoints(strings.Replace(s.URL, "https", "http", 1)))
	if e := mustFail(t, c, 1, ErrBadRequest); e.StatusCode != http.StatusBadRequest {
		t.Error(e)
	}
}

// What a transport of the caller's may return and net/http's does not.
func TestOtherTransports(t *testing.T) {
	for _, c := range []struct {
		err   error
		class error
	}{
		{fmt.Errorf("quic: %w", tls.AlertError(40)), ErrTLS},
		{errors.New("something: tls: else"), ErrTLS},
		{errors.New("something else"), ErrNetwork},
		{&tls.CertificateVerificationError{Err: errors.New("a name")}, ErrTLS},
		{context.DeadlineExceeded, ErrTimeout},
		{syscall.ETIMEDOUT, ErrTimeout},
		{syscall.EHOSTUNREACH, ErrNetwork},
		{io.EOF, ErrNetwork},
		{io.ErrUnexpectedEOF, ErrNetwork},
	} {
		h := roundTrip(func(*http.Request) (*http.Response, error) { return nil, c.err }).client()
		e := mustFail(t, mustNew(t, Config{Token: StaticToken("token"), HTTPClient: h}), 1, c.class)
		for _, text := range []string{"something", "a name"} {
			if strings.Contains(e.Error(), text) {
				t.Errorf("%v has a text of unknown origin", e)
			}
		}
		switch c.err {
		case io.EOF, io.ErrUnexpectedEOF:
			if !errors.Is(e, io.ErrUnexpectedEOF) {
				t.Errorf("%v: %v is no unexpected EOF", c.err, e)
			}
		case syscall.EHOSTUNREACH:
			if !errors.Is(e, c.err) {
				t.Errorf("%v: not in %v", c.err, e)
			}
		}
		var alert tls.AlertError
		if errors.As(c.err, &alert) && !errors.Is(e, alert) {
			t.Errorf("%v: no alert in %v", c.err, e)
		}
	}
}

func TestCallerGivesUp(t *testing.T) {
	s := newService(t)
	c := newClient(t, s)
	for _, kind := range []qrypttest.Kind{qrypttest.Hang, qrypttest.Drip} {
		ctx, cancel := context.WithCancelCause(t.Context())
		reason := errors.New("the caller's reason")
		s.SetFault(func(qrypttest.Request) *qrypttest.Fault {
			cancel(reason)
			return &qrypttest.Fault{Kind: kind}
		})
		blocks, err := c.Blocks(ctx, 1)
		var e *Error
		if blocks != nil || !errors.Is(err, reason) || errors.As(err, &e) {
			t.Errorf("%v: %v", kind, err)
		}
		checkSilent(t, err, []byte(s.Token()))
	}
	s.SetFault(nil)
	mustBlocks(t, c, 1)
}

// The answer's body is cut by the caller, not before.
func TestCallerGivesUpDuringBody(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := roundTrip(func(req *http.Request) (*http.Response, error) {
		res := reply(http.StatusOK, nil)
		res.Body = io.NopCloser(readerFunc(func([]byte) (int, error) {
			cancel()
			return 0, req.Context().Err()
		}))
		return res, nil
	}).client()
	c := mustNew(t, Config{Token: StaticToken("token"), HTTPClient: h})
	if blocks, err := c.Blocks(ctx, 1); blocks != nil || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// The client's own time limit is the service's failure; a deadline of the
// caller's is not.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := roundTrip(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}).client()
		for _, c := range []struct{ timeout, want time.Duration }{
			{0, defaultTimeout}, {time.Minute, time.Minute}, {time.Millisecond, time.Millisecond},
		} {
			began := time.Now()
			client := mustNew(t, Config{Token: StaticToken("token"), HTTPClient: silent, Timeout: c.timeout})
			mustFail(t, client, 1, ErrTimeout)
			if got := time.Since(began); got != c.want {
				t.Errorf("Timeout %v: after %v", c.timeout, got)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := mustNew(t, Config{Token: StaticToken("token"), HTTPClient: silent}).Blocks(ctx, 1)
		var e *Error
		if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &e) {
			t.Error(err)
		}
	})
}

// The time limit of a caller's http.Client counts too.
func TestTimeoutOfTheHTTPClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		hang := func(req *http.Request) error { <-req.Context().Done(); return req.Context().Err() }
		for name, h := range map[string]roundTrip{
			"no answer": func(req *http.Request) (*http.Response, error) { return nil, hang(req) },
			"no end": func(req *http.Request) (*http.Response, error) {
				res := reply(http.StatusOK, nil)
				res.Body = io.NopCloser(readerFunc(func([]byte) (int, error) { return 0, hang(req) }))
				return res, nil
			},
		} {
			began := time.Now()
			client := &http.Client{Transport: h, Timeout: 3 * time.Second}
			mustFail(t, mustNew(t, Config{Token: StaticToken("token"), HTTPClient: client}), 1, ErrTimeout)
			if got := time.Since(began); got != client.Timeout {
				t.Errorf("%s: given up after %v, want %v", name, got, client.Timeout)
			}
		}
	})
}

// TestSessionsAreResumed: each request has a connection of its own, and the second one to a
// server resumes the session of the first.
func TestSessionsAreResumed(t *testing.T) {
	var resumed []bool
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resumed = append(resumed, r.TLS.DidResume)
		w.Header().Set("Content-Type", "application/json")
		w.Write(oneBlock[DialectQuantumEntropy])
	}))
	defer server.Close()
	c := clientOf(t, server, func(cfg *Config) {
		h := NewHTTPClient()
		roots := x509.NewCertPool()
		roots.AddCert(server.Certificate())
		h.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
		cfg.HTTPClient = h
	})
	for range 3 {
		mustBlocks(t, c, 1)
	}
	if !slices.Equal(resumed, []bool{false, true, true}) {
		t.Errorf("resumed: %v", resumed)
	}
}
