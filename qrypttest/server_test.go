package qrypttest_test

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/qrand/qrypttest"
)

// noReader fails a test that reads it.
type noReader struct{ t *testing.T }

func (r noReader) Read(p []byte) (int, error) {
	r.t.Error("rand.Reader was read")
	return len(p), nil
}

// TestRandReaderReplaced: a rand.Reader that a program under test has set is used neither
// for blocks nor for TLS.
func TestRandReaderReplaced(t *testing.T) {
	defer func(was io.Reader) { rand.Reader = was }(rand.Reader)
	s := newServer(t, qrypttest.Config{Tokens: []string{"token"}})
	rand.Reader = noReader{t}
	get(t, s.Client(), s.Endpoints()[0], "token", 2).blocks(t, 1024, 2)
	s.Close()
}

func TestCertificates(t *testing.T) {
	s := newServer(t, qrypttest.Config{Regions: []string{"api-eus", "api-weu"}})
	block, rest := pem.Decode(s.CAPEM())
	if block == nil || len(rest) > 0 {
		t.Fatal("no PEM")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CAPEM())
	for i, endpoint := range s.Endpoints() {
		u, _ := url.Parse(endpoint)
		region := []string{"api-eus", "api-weu"}[i]
		for _, name := range []string{"127.0.0.1", "::1", "localhost", region + ".localhost"} {
			conn, err := tls.Dial("tcp", u.Host, &tls.Config{RootCAs: roots, ServerName: name, NextProtos: []string{"h2", "http/1.1"}})
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if got := conn.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
				t.Errorf("protocol %q", got)
			}
			conn.Close()
		}
		if conn, err := tls.Dial("tcp", u.Host, &tls.Config{RootCAs: roots, ServerName: "example.com"}); err == nil {
			conn.Close()
			t.Error("the certificate is valid for example.com")
		}
		if conn, err := tls.Dial("tcp", u.Host, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
			conn.Close()
			t.Error("TLS 1.1 is spoken")
		}
	}
}

func isExpired(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}

func TestExpiredCertificate(t *testing.T) {
	s := newServer(t, qrypttest.Config{})
	s.Script(mustScript(t, "ok; expired-certificate x2; 503")...)
	get(t, s.Client(), s.URL, s.Token(), 1).blocks(t, 1024, 1)
	for range 2 {
		if r := get(t, s.Client(), s.URL, s.Token(), 1); !isExpired(r.err) {
			t.Errorf("status %d, error %v", r.status, r.err)
		}
	}
	if r := get(t, s.Client(), s.URL, s.Token(), 1); r.status != 503 {
		t.Errorf("status %d, error %v", r.status, r.err)
	}
	all := s.Requests()
	if len(all) != 4 || all[1].Fault.Kind != qrypttest.ExpiredCertificate || all[1].Status != 0 || all[1].Token != -1 || all[1].Region != "api-eus" {
		t.Errorf("recorded %+v", all)
	}
}

// Neither a kept connection nor a session to resume avoids an expired certificate.
func TestExpiredCertificateKeepAlive(t *testing.T) {
	s := newServer(t, qrypttest.Config{})
	c := s.Client()
	tr := c.Transport.(*http.Transport)
	tr.DisableKeepAlives = false
	tr.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	defer tr.CloseIdleConnections()
	get(t, c, s.URL, s.Token(), 1).blocks(t, 1024, 1)
	s.Script(mustScript(t, "expired-certificate")...)
	// The transport tries again by itself when a kept connection ends.
	if r := get(t, c, s.URL, s.Token(), 1); !isExpired(r.err) {
		t.Errorf("status %d, error %v", r.status, r.err)
	}
	get(t, c, s.URL, s.Token(), 1).blocks(t, 1024, 1)
	if s.Pending() != 0 {
		t.Errorf("pending %d", s.Pending())
	}
}

// Without a Server there is no handshake to spoil.
func TestExpiredCertificateHandler(t *testing.T) {
	e := qrypttest.New(qrypttest.Config{})
	s := httptest.NewTLSServer(e.Handler("api-eus"))
	defer s.Close()
	s.Client().Transport.(*http.Transport).DisableKeepAlives = true
	e.Script(mustScript(t, "expired-certificate")...)
	if r := get(t, s.Client(), s.URL, e.Token(), 1); r.err == nil || isExpired(r.err) {
		t.Errorf("status %d, error %v", r.status, r.err)
	}
	get(t, s.Client(), s.URL, e.Token(), 1).blocks(t, 1024, 1)
}

func TestReset(t *testing.T) {
	s := newServer(t, qrypttest.Config{})
	s.Script(mustScript(t, "reset x3")...)
	for range 3 {
		if r := get(t, s.Client(), s.URL, s.Token(), 512); !errors.Is(r.err, syscall.ECONNRESET) {
			t.Errorf("status %d, %d bytes, error %v", r.status, len(r.body), r.err)
		}
	}
}

func TestStopStart(t *testing.T) {
	s := newServer(t, qrypttest.Config{Regions: []string{"a", "b"}, Rate: -1})
	a, b := s.Endpoints()[0], s.Endpoints()[1]
	if s.URL != a {
		t.Errorf("URL %q, want %q", s.URL, a)
	}
	hanging := make(chan struct{})
	s.SetFault(func(r qrypttest.Request) *qrypttest.Fault {
		close(hanging)
		return &qrypttest.Fault{Kind: qrypttest.Hang}
	})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if r := get(t, s.Client(), a, s.Token(), 1); r.err == nil {
			t.Errorf("a request outlived Stop: status %d", r.status)
		}
	})
	<-hanging
	s.SetFault(nil)
	s.Stop("a")
	waiting.Wait()
	s.Stop("a")
	if r := get(t, s.Client(), a, s.Token(), 1); !errors.Is(r.err, syscall.ECONNREFUSED) {
		t.Errorf("stopped: status %d, error %v", r.status, r.err)
	}
	get(t, s.Client(), b, s.Token(), 1).blocks(t, 1024, 1)
	for range 2 {
		if err := s.Start("a"); err != nil {
			t.Fatal(err)
		}
		get(t, s.Client(), a, s.Token(), 1).blocks(t, 1024, 1)
	}
	s.Close()
	if err := s.Start("a"); err == nil {
		t.Error("Start after Close: no error")
	}
}

// While a request has not been read to its end, the server does not see that its client is
// gone.
func TestStopWithUnreadBody(t *testing.T) {
	s := newServer(t, qrypttest.Config{})
	hanging := make(chan struct{})
	s.SetFault(func(qrypttest.Request) *qrypttest.Fault {
		close(hanging)
		return &qrypttest.Fault{Kind: qrypttest.Hang}
	})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		req := request(t, "POST", s.URL+open, s.Token(), `{}`+strings.Repeat(" ", 1<<20))
		do(t, s.Client(), req)
	})
	<-hanging
	s.Stop("api-eus")
	waiting.Wait()
}

// When Stop returns, no request is still under way.
func TestStopWaits(t *testing.T) {
	s := newServer(t, qrypttest.Config{})
	var ended atomic.Bool
	met, gone := make(chan struct{}), make(chan struct{})
	s.SetFault(func(qrypttest.Request) *qrypttest.Fault {
		close(met)
		<-gone
		for range 1000 {
			runtime.Gosched() // time for a Stop that does not wait
		}
		ended.Store(true)
		return nil
	})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		defer close(gone)
		if r := get(t, s.Client(), s.URL, s.Token(), 1); r.err == nil {
			t.Errorf("a request outlived Stop: status %d", r.status)
		}
	})
	<-met
	s.Stop("api-eus")
	if !ended.Load() {
		t.Error("Stop returned before the last request ended")
	}
	waiting.Wait()
}

// What net/http would answer by itself: OPTIONS * gets the label too, and an endless header
// does not fill the memory.
func TestRawRequests(t *testing.T) {
	s := newServer(t, qrypttest.Config{})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CAPEM())
	for _, test := range []struct {
		request string
		status  int
		label   string
	}{
		{"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, qrypttest.EmulatedValue},
		{"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n\r\n", 431, ""},
	} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(s.URL, "https://"), &tls.Config{RootCAs: roots})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, test.request)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%.20q: %v", test.request, err)
			continue
		}
		if got := resp.Header.Get(qrypttest.EmulatedHeader); resp.StatusCode != test.status || got != test.label {
			t.Errorf("%.20q: status %d, label %q", test.request, resp.StatusCode, got)
		}
	}
}

func TestClose(t *testing.T) {
	faults := mustScript(t, "hang; drip; oversize; gzip-bomb; ok latency=1h")
	s := qrypttest.NewServer(qrypttest.Config{Regions: []string{"a", "b"}})
	met := make(chan struct{}, len(faults))
	s.SetFault(func(r qrypttest.Request) *qrypttest.Fault {
		met <- struct{}{}
		return &faults[r.Blocks-1]
	})
	var waiting sync.WaitGroup
	stopReading := make(chan struct{})
	for i := range faults {
		url := s.Endpoints()[i%2]
		waiting.Go(func() {
			req := request(t, "GET", url+quantum+"?size="+string(rune('1'+i)), s.Token(), "")
			resp, err := s.Client().Do(req)
			if err != nil {
				return
			}
			// A client that does not read is what a long answer hangs on.
			<-stopReading
			resp.Body.Close()
		})
	}
	for range faults {
		<-met
	}
	s.Close()
	s.Close()
	if left := goroutines(); left != "" {
		t.Errorf("after Close:\n%s", left)
	}
	for _, r := range s.Requests() {
		// The bomb is small enough to fit into a socket's buffers.
		if r.Status != 0 && r.Fault.Kind != qrypttest.GzipBomb {
			t.Errorf("%v was answered: %d", r.Fault, r.Status)
		}
	}
	close(stopReading)
	waiting.Wait()
	if r := get(t, s.Client(), s.URL, s.Token(), 1); r.err == nil {
		t.Errorf("closed: status %d", r.status)
	}
}

// goroutines returns those of the emulator and its HTTP server that do not end. It waits a
// little for those that are about to end.
func goroutines() string {
	var left []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		buf := make([]byte, 1<<20)
		left = nil
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "qrand/qrypttest.(") || strings.Contains(g, "net/http.(*conn)") || strings.Contains(g, "net/http.(*connReader)") {
				left = append(left, g)
			}
		}
		if left == nil {
			break
		}
	}
	return strings.Join(left, "\n\n")
}

func TestListen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := l.Addr().String()
	cfg := qrypttest.Config{Regions: []string{"a", "b"}, Listen: []string{"localhost:0", taken}}
	if s, err := qrypttest.Listen(cfg); err == nil {
		s.Close()
		t.Error("a port that is taken: no error")
	}
	if left := goroutines(); left != "" {
		t.Errorf("after the error:\n%s", left)
	}
	l.Close()
	s, err := qrypttest.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := s.Endpoints(); !strings.HasPrefix(got[0], "https://localhost:") || got[1] != "https://"+taken {
		t.Errorf("endpoints %q", got)
	}
	for _, endpoint := range s.Endpoints() {
		get(t, s.Client(), endpoint, s.Token(), 1).blocks(t, 1024, 1)
	}

	everywhere := newServer(t, qrypttest.Config{Listen: []string{":0"}})
	get(t, everywhere.Client(), everywhere.URL, everywhere.Token(), 1).blocks(t, 1024, 1)
}

// TestListenZone: an address with an IPv6 zone becomes a URL that clients accept.
func TestListenZone(t *testing.T) {
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(interfaces, func(i net.Interface) bool { return i.Flags&net.FlagLoopback != 0 })
	if i < 0 {
		t.Skip("there is no loopback interface to name as a zone")
	}
	address := net.JoinHostPort("::1%"+interfaces[i].Name, "0")
	probe, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("this host has no IPv6 loopback with a zone: %v", err)
	}
	probe.Close()
	s := newServer(t, qrypttest.Config{Listen: []string{address}})
	if !strings.HasPrefix(s.URL, "https://[::1%25"+interfaces[i].Name+"]:") {
		t.Errorf("the URL is %s", s.URL)
	}
	get(t, s.Client(), s.URL, s.Token(), 1).blocks(t, 1024, 1)
}

// The emulator makes no more of an answer than its client reads.
func TestOversizeStops(t *testing.T) {
	s := newServer(t, qrypttest.Config{})
	s.Script(mustScript(t, "oversize")...)
	resp, err := s.Client().Do(request(t, "GET", s.URL+quantum, s.Token(), ""))
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(resp.Body, make([]byte, 1000))
	resp.Body.Close()
	s.Stop("api-eus") // waits for the handler
	if got := s.Requests()[0].Status; got != 0 {
		t.Errorf("status %d recorded, of an answer nobody read", got)
	}
}
