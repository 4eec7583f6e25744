package relay

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/qrand/relay/internal/testca"
)

// serve serves h with TLS on loopback until the test ends or stop is called.
func serve(t *testing.T, h http.Handler, cfg ServerConfig) (address string, roots *x509.CertPool, stop func() error) {
	t.Helper()
	ca := testca.New(t)
	roots = x509.NewCertPool()
	roots.AddCert(ca.Certificate)
	var err error
	if cfg.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	cfg.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "relay")}, MinVersion: tls.VersionTLS10}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, h, cfg) }()
	stopped := false
	stop = func() error {
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if !stopped {
			stop()
		}
	})
	return cfg.Listener.Addr().String(), roots, stop
}

// TestPlainOnLoopbackOnly: tokens and entropy are not sent in the clear.
func TestPlainOnLoopbackOnly(t *testing.T) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	if err := Serve(t.Context(), http.NotFoundHandler(), ServerConfig{Listener: l}); err == nil || !strings.Contains(err.Error(), "plain HTTP") {
		t.Errorf("Serve: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is still open: %v", err)
	}
	if err := Serve(t.Context(), nil, ServerConfig{}); err == nil {
		t.Error("Serve without a listener")
	}
}

// TestTLSVersions: TLS is 1.2 or newer, even if the configuration allows older ones.
func TestTLSVersions(t *testing.T) {
	address, roots, _ := serve(t, http.NotFoundHandler(), ServerConfig{})
	for version, want := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: version})
		if (err == nil) != want {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

// TestShutdown: requests under way are answered, and no others after them.
func TestShutdown(t *testing.T) {
	began, finish := make(chan bool), make(chan bool)
	address, _, stop := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		began <- true
		<-finish
		io.WriteString(w, "answered")
	}), ServerConfig{})
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: relay\r\n\r\n")
	<-began
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for {
		other, err := net.Dial("tcp", address)
		if err != nil {
			break // it does not listen any more
		}
		other.Close()
	}
	close(finish)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(res.Body); string(body) != "answered" {
		t.Errorf("got %q", body)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A failing listener accepts until it fails.
type failing struct {
	net.Listener
	fail chan struct{}
}

func (f *failing) Accept() (net.Conn, error) {
	type accepted struct {
		conn net.Conn
		err  error
	}
	next := make(chan accepted, 1)
	go func() {
		conn, err := f.Listener.Accept()
		next <- accepted{conn, err}
	}()
	select {
	case a := <-next:
		return a.conn, a.err
	case <-f.fail:
		return nil, errors.New("the network is gone")
	}
}

// TestListenerFails: Serve says so, and leaves no connection behind.
func TestListenerFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &failing{l, make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- Serve(t.Context(), http.NotFoundHandler(), ServerConfig{Listener: f}) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: relay\r\n\r\n")
	from := bufio.NewReader(conn)
	res, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	close(f.fail)
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "the network is gone") {
		t.Errorf("Serve: %v", err)
	}
	conn.SetReadDeadline(time.Now().Add(10 * time.Second)) // less than the idle timeout
	if _, err := from.ReadByte(); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is still open")
	}
}

// TestErrorLog: what is wrong in the relay is at Warn; what peers can cause is not.
func TestErrorLog(t *testing.T) {
	var log bytes.Buffer
	to := stdlog.New(errorLog{slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, "", 0)
	for line, level := range map[string]string{
		"http: Accept error: accept tcp: too many open files; retrying in 5ms": "WARN",
		"http: panic serving 192.0.2.1:1: broken":                              "WARN",
		"http: superfluous response.WriteHeader call from x":                   "WARN",
		"http: TLS handshake error from 192.0.2.1:1: EOF":                      "DEBUG",
	} {
		log.Reset()
		to.Print(line)
		if text := log.String(); !strings.Contains(text, "level="+level+" msg="+strconv.Quote(line)) || strings.Count(text, "\n") != 1 {
			t.Errorf("%q is logged as %q", line, text)
		}
	}
}

// TestOpenFilesWarning: there is a warning if more connections are allowed than files.
func TestOpenFilesWarning(t *testing.T) {
	files, known := openFiles()
	if !known {
		t.Skip("this system has no limit of open files to ask for")
	}
	for _, c := range []struct {
		conns int
		warn  bool
	}{{1, false}, {1 << 30, files < 1<<30}} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var log bytes.Buffer
		if err := Serve(ctx, http.NotFoundHandler(), ServerConfig{Listener: listener, MaxConns: c.conns, Logger: slog.New(slog.NewTextHandler(&log, nil))}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), "fewer files"); got != c.warn {
			t.Errorf("%d connections, %d files: warned %v, want %v", c.conns, files, got, c.warn)
		}
	}
}
