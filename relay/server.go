package relay

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"example.com/qrand/internal/osrand"
)

// timeouts are what a connection and a request may take.
type timeouts struct {
	header   time.Duration // also of the TLS handshake before it
	read     time.Duration // of a request with its body
	write    time.Duration // from the end of a request's header to the end of the answer
	stall    time.Duration // of an HTTP/2 connection whose peer takes nothing of what is written
	idle     time.Duration
	shutdown time.Duration
}

// defaultTimeouts are far more than a well-behaved client needs.
var defaultTimeouts = timeouts{
	header:   5 * time.Second,
	read:     10 * time.Second,
	write:    30 * time.Second,
	stall:    15 * time.Second,
	idle:     time.Minute,
	shutdown: 15 * time.Second,
}

const maxHeader = 16 << 10

// http2Limits bound the memory that a peer can make an HTTP/2 connection use before
// it has shown a token. A request of the API fits in one frame, and no answer needs a
// body to be read ahead; Go's own limits are 1 MiB for each of the three sizes.
// Without WriteByteTimeout a connection whose peer reads nothing would never end: the
// write timeout ends its streams, but neither that nor the idle timeout ends a write
// that hangs.
func http2Limits(t timeouts) *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          16,       // each can be made to hold 32 KiB, and four requests that wait
		MaxReadFrameSize:              16 << 10, // RFC 9113 section 4.2: the least that there may be
		MaxReceiveBufferPerConnection: 64 << 10, // section 6.9.2: the initial window, which peers may
		MaxReceiveBufferPerStream:     64 << 10, // use before they know ours, and Go's least
		WriteByteTimeout:              t.stall,
	}
}

// ServerConfig says how to serve a Relay.
type ServerConfig struct {
	// Listener is where to listen; Serve closes it. Required.
	Listener net.Listener

	// TLS has the certificate. Its MinVersion is raised to TLS 1.2 if it is lower.
	// Nil: plain HTTP, which is refused on any address but loopback.
	TLS *tls.Config

	// MaxConns is how many connections there may be at a time, and MaxConnsPerHost how
	// many of them from one address; any more are closed at once. Behind a load
	// balancer, set MaxConnsPerHost to MaxConns. Zero: 16384 and 1024.
	MaxConns, MaxConnsPerHost int

	// Logger gets errors of connections. Nil: slog.Default().
	Logger *slog.Logger

	timeouts timeouts // zero: defaultTimeouts
}

const (
	defaultMaxConns        = 16384
	defaultMaxConnsPerHost = 1024

	otherFiles = 64 // of a process, besides its clients' connections
)

// Serve serves h until ctx is done, and then waits for the requests under way. After
// 15 s it closes their connections.
func Serve(ctx context.Context, h http.Handler, cfg ServerConfig) error {
	if cfg.Listener == nil {
		return errors.New("relay: ServerConfig.Listener is nil")
	}
	defer cfg.Listener.Close()
	if cfg.MaxConns < 0 || cfg.MaxConnsPerHost < 0 {
		return errors.New("relay: MaxConns and MaxConnsPerHost must not be negative; zero means the default")
	}
	if addr, ok := cfg.Listener.Addr().(*net.TCPAddr); cfg.TLS == nil && !(ok && addr.IP.IsLoopback()) {
		return fmt.Errorf("relay: plain HTTP on %v would show tokens and entropy to the network: use TLS, or a loopback address", cfg.Listener.Addr())
	}
	logger := cfg.Logger
	if logger == nil {
		logger = slog.Default()
	}
	maxConns := cmp.Or(cfg.MaxConns, defaultMaxConns)
	if files, known := openFiles(); known && files < uint64(maxConns)+otherFiles {
		logger.Warn("relay: this process may have fewer files open than connections: raise its limit (ulimit -n, LimitNOFILE) or lower MaxConns", "files", files, "connections", maxConns)
	}
	limited := &connLimiter{Listener: cfg.Listener, most: maxConns, mostPerHost: cmp.Or(cfg.MaxConnsPerHost, defaultMaxConnsPerHost), perHost: map[netip.Addr]int{}}
	t := cmp.Or(cfg.timeouts, defaultTimeouts)
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: t.header,
		ReadTimeout:       t.read,
		WriteTimeout:      t.write,
		IdleTimeout:       t.idle,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             http2Limits(t),
		ErrorLog:          log.New(errorLog{logger}, "", 0),
	}
	var serve func(net.Listener) error = server.Serve
	if cfg.TLS != nil {
		server.TLSConfig = cfg.TLS.Clone()
		server.TLSConfig.MinVersion = max(server.TLSConfig.MinVersion, tls.VersionTLS12)
		if server.TLSConfig.Rand == nil {
			server.TLSConfig.Rand = osrand.Reader() //qrandvet:ignore it is the reader of crypto/rand
		}
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	ended := make(chan error, 1)
	go func() { ended <- serve(limited) }()
	select {
	case err := <-ended:
		server.Close() // or connections that were accepted would go on
		return fmt.Errorf("relay: %w", err)
	case <-ctx.Done():
	}
	shutdownCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.shutdown)
	defer cancel()
	if err := server.Shutdown(shutdownCtx); err != nil {
		server.Close()
		return fmt.Errorf("relay: connections were closed that did not end within %v", t.shutdown)
	}
	return nil
}

// A connLimiter is a net.Listener that closes a connection at once if it is one too
// many, of all or of one address. It does not let it wait: a peer that holds many
// connections must not keep others from theirs.
type connLimiter struct {
	net.Listener
	most, mostPerHost int

	mu      sync.Mutex
	all     int
	perHost map[netip.Addr]int
}

func (l *connLimiter) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host := hostOf(conn.RemoteAddr())
		if l.enter(host) {
			return &limitedConn{Conn: conn, leave: sync.OnceFunc(func() { l.leave(host) })}, nil
		}
		conn.Close()
	}
}

// hostOf is the address whose connections are counted together. Of IPv6 it is the
// /64, because one host may have all of that.
func hostOf(addr net.Addr) netip.Addr {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is6() {
		prefix, _ := ip.Prefix(64)
		return prefix.Addr()
	}
	return ip
}

func (l *connLimiter) enter(host netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= l.most || l.perHost[host] >= l.mostPerHost {
		return false
	}
	l.all++
	l.perHost[host]++
	return true
}

func (l *connLimiter) leave(host netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.perHost[host]--; l.perHost[host] == 0 {
		delete(l.perHost, host)
	}
}

type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// An errorLog gets what http.Server writes to its log. What is wrong here is at Warn:
// panics, Accept without files left, wrong answers. What peers do wrong is at Debug,
// from failed handshakes to broken HTTP/2: they can do it often.
type errorLog struct{ logger *slog.Logger }

func (e errorLog) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	ours := bytes.HasPrefix(line, []byte("http: ")) || bytes.HasPrefix(line, []byte("http2: panic"))
	if ours && !bytes.HasPrefix(line, []byte("http: TLS handshake error")) {
		level = slog.LevelWarn
	}
	e.logger.Log(context.Background(), level, string(bytes.TrimSpace(line)))
	return len(line), nil
}
