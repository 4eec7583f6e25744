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
	"math"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/qrand/internal/osrand"
)

// timeouts are what a connection and a request may take.
type timeouts struct {
	header   time.Duration // also of the TLS handshake before it
	read     time.Duration // of a request with its body
	write    time.Duration // from the end of a request's header to the end of the answer
	idle     time.Duration
	shutdown time.Duration
}

// defaultTimeouts are far more than a well-behaved client needs.
var defaultTimeouts = timeouts{
	header:   5 * time.Second,
	read:     10 * time.Second,
	write:    30 * time.Second,
	idle:     time.Minute,
	shutdown: 15 * time.Second,
}

// maxHeader is the longest header, though net/http allows 4 KiB more. A header of many
// short fields takes twenty times its length in memory.
const maxHeader = 2 << 10

// ServerConfig says how to serve a Relay.
type ServerConfig struct {
	// Listener is where to listen; Serve closes it. Required.
	Listener net.Listener

	// TLS has the certificate. Its MinVersion is raised to TLS 1.2 if it is lower.
	// Nil: plain HTTP, which is refused on any address but loopback.
	TLS *tls.Config

	// ClientCAs are the CAs whose certificates clients may show. Nil: as TLS says.
	ClientCAs *ClientCAs

	// MaxConns is how many connections there may be at a time, and MaxConnsPerHost how
	// many of them from one address. If there is one too many, the oldest without a good
	// token is closed. If there is none without, one of the address that has the most is
	// closed, or else the new one. Behind a load balancer, set MaxConnsPerHost to
	// MaxConns. Zero: 2048 and 256.
	MaxConns, MaxConnsPerHost int

	// Logger gets errors of connections. Nil: slog.Default().
	Logger *slog.Logger

	timeouts timeouts // zero: defaultTimeouts
}

const (
	defaultMaxConns        = 2048
	defaultMaxConnsPerHost = 256

	otherFiles = 64 // of a process, besides its clients' connections
)

// Serve serves h until ctx is done, and then waits for the requests under way. After
// 15 s it closes their connections. It reads 48 KiB of a connection at most, unless a Relay
// has seen a good token on it, or another handler calls Known.
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
	conns := &connLimiter{Listener: cfg.Listener, most: maxConns, mostPerHost: cmp.Or(cfg.MaxConnsPerHost, defaultMaxConnsPerHost), hosts: map[netip.Addr]*host{}}
	relay, _ := h.(*Relay)
	if relay != nil {
		relay.conns.Store(conns)
	}
	t := cmp.Or(cfg.timeouts, defaultTimeouts)
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: t.header,
		ReadTimeout:       t.read,
		WriteTimeout:      t.write,
		IdleTimeout:       t.idle,
		MaxHeaderBytes:    maxHeader,
		Protocols:         new(http.Protocols),
		ErrorLog:          log.New(errorLog{logger}, "", 0),
		ConnContext:       withConn,
		ConnState:         conns.noteState,

		DisableGeneralOptionsHandler: true, // it would keep the connection
	}
	// Without HTTP/2 a connection has one request at a time, whose memory is bounded.
	// Sources make one request on each connection, and gain nothing by HTTP/2.
	server.Protocols.SetHTTP1(true)
	var serve func(net.Listener) error = server.Serve
	if cfg.TLS != nil {
		server.TLSConfig = cfg.TLS.Clone()
		server.TLSConfig.MinVersion = max(server.TLSConfig.MinVersion, tls.VersionTLS12)
		if server.TLSConfig.Rand == nil {
			server.TLSConfig.Rand = osrand.Reader() //qrandvet:ignore it is the reader of crypto/rand
		}
		if cfg.ClientCAs != nil {
			cfg.ClientCAs.verify(server.TLSConfig)
		}
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	ended := make(chan error, 1)
	go func() { ended <- serve(conns) }()
	select {
	case err := <-ended:
		server.Close() // or connections that were accepted would go on
		return fmt.Errorf("relay: %w", err)
	case <-ctx.Done():
	}
	if relay != nil {
		relay.draining.Store(true)
	}
	shutdownCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.shutdown)
	defer cancel()
	if err := server.Shutdown(shutdownCtx); err != nil {
		server.Close()
		return fmt.Errorf("relay: connections were closed that did not end within %v", t.shutdown)
	}
	return nil
}

// A connLimiter is a net.Listener that bounds how many connections there are. If there is
// one too many, another one makes room (see victim), or the new one is closed at once.
type connLimiter struct {
	net.Listener
	most, mostPerHost int

	mu      sync.Mutex
	all     int
	idle    int                  // of all, those between two requests
	refused int64                // connections that were closed at once
	evicted int64                // and those that made room for another
	hosts   map[netip.Addr]*host // that have connections
}

// count returns how many connections there are, and were.
func (l *connLimiter) count() (open, idle int, refused, evicted int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all, l.idle, l.refused, l.evicted
}

// noteState is the server's ConnState.
func (l *connLimiter) noteState(conn net.Conn, state http.ConnState) {
	if c, ok := limited(conn); ok {
		l.mu.Lock()
		defer l.mu.Unlock()
		c.setIdle(state == http.StateIdle)
	}
}

// A host is an address, and its connections.
type host struct {
	conns   []*limitedConn // oldest first
	unknown int            // of conns, those on which nobody has shown a good token yet
}

// oldest returns the oldest connection that is wanted, or nil.
func (h *host) oldest(wanted func(*limitedConn) bool) *limitedConn {
	if i := slices.IndexFunc(h.conns, wanted); i >= 0 {
		return h.conns[i]
	}
	return nil
}

func (l *connLimiter) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &limitedConn{Conn: conn, limiter: l, addr: hostOf(conn.RemoteAddr())}
		c.left.Store(maxUnknown)
		ok, gone := l.enter(c)
		if gone != nil {
			gone.Conn.Close()
		}
		if ok {
			return c, nil
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

// enter counts c if there is room, or another connection makes room: gone, to be closed.
func (l *connLimiter) enter(c *limitedConn) (ok bool, gone *limitedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.hosts[c.addr]
	if h == nil {
		h = &host{}
	}
	if len(h.conns) >= l.mostPerHost || l.all >= l.most {
		if gone = l.victim(h); gone == nil {
			l.refused++
			return false, nil
		}
		l.evicted++
		l.remove(gone)
	}
	l.hosts[c.addr] = h
	l.all++
	h.conns = append(h.conns, c)
	h.unknown++
	c.counted = true
	return true, gone
}

// victim chooses what makes room for one more connection of newcomer, or nothing. It is the
// oldest on which nobody has shown a good token: of newcomer if that has all it may have,
// else of the host that has the most of these. So those who have no token do not keep out
// those who have one. If all have shown one, the host with the most connections loses one,
// an idle one if it can be, unless newcomer would then have as many.
func (l *connLimiter) victim(newcomer *host) *limitedConn {
	unknown := func(c *limitedConn) bool { return !c.known }
	if len(newcomer.conns) >= l.mostPerHost {
		return newcomer.oldest(unknown)
	}
	most, mostUnknown := newcomer, newcomer
	for _, h := range l.hosts {
		if len(h.conns) > len(most.conns) {
			most = h
		}
		if h.unknown > mostUnknown.unknown {
			mostUnknown = h
		}
	}
	if c := mostUnknown.oldest(unknown); c != nil {
		return c
	}
	if len(most.conns) <= len(newcomer.conns)+1 {
		return nil
	}
	return cmp.Or(most.oldest(func(c *limitedConn) bool { return c.idle }), most.conns[0])
}

// remove counts c no more. Its caller holds the lock.
func (l *connLimiter) remove(c *limitedConn) {
	if !c.counted {
		return
	}
	c.setIdle(false)
	c.setKnown() // or it would count among the unknown ones
	c.counted = false
	l.all--
	h := l.hosts[c.addr]
	h.conns = slices.DeleteFunc(h.conns, func(other *limitedConn) bool { return other == c })
	if len(h.conns) == 0 {
		delete(l.hosts, c.addr)
	}
}

// maxUnknown is how many bytes are read from a connection before a good token is shown on it.
// TLS keeps handshake messages whole: a ClientHello may have 64 KiB, and certificates 256 KiB.
// Chains of three certificates have 3 KiB, and 20 KiB with ML-DSA.
const maxUnknown = 48 << 10

var errTooMuch = fmt.Errorf("relay: more than %d bytes came without a good token", maxUnknown)

type limitedConn struct {
	net.Conn
	limiter *connLimiter
	addr    netip.Addr
	left    atomic.Int64 // bytes that may come

	counted, known, idle bool // under the limiter's lock
}

func (c *limitedConn) Read(p []byte) (int, error) {
	left := c.left.Load()
	if left <= 0 {
		return 0, errTooMuch
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), left)])
	c.left.Add(-int64(n))
	return n, err
}

// setIdle counts c among the idle ones, or not. Its caller holds the lock.
func (c *limitedConn) setIdle(idle bool) {
	if !c.counted || c.idle == idle {
		return
	}
	c.idle = idle
	if idle {
		c.limiter.idle++
	} else {
		c.limiter.idle--
	}
}

func (c *limitedConn) Close() error {
	c.limiter.mu.Lock()
	c.limiter.remove(c)
	c.limiter.mu.Unlock()
	return c.Conn.Close()
}

// Known notes that a request has a good token, so that Serve reads more from its connection. A
// Relay notes that itself. Another handler of Serve calls Known before it reads a body.
func Known(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(*limitedConn); ok {
		c.shownToken()
	}
}

// shownToken notes that somebody has shown a good token on c.
func (c *limitedConn) shownToken() {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	c.left.Store(math.MaxInt64)
	c.setKnown()
}

// setKnown counts c among the known ones. Its caller holds the lock.
func (c *limitedConn) setKnown() {
	if c.counted && !c.known {
		c.known = true
		c.limiter.hosts[c.addr].unknown--
	}
}

// connKey is where the context of a request has its limitedConn.
type connKey struct{}

// withConn is the server's ConnContext.
func withConn(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := limited(conn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// limited returns what is below the TLS of a server's connection.
func limited(conn net.Conn) (*limitedConn, bool) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	c, ok := conn.(*limitedConn)
	return c, ok
}

// An errorLog gets what http.Server writes to its log. What is wrong here is at Warn:
// panics, Accept without files left, wrong answers. What peers do wrong is at Debug,
// from failed handshakes to broken headers: they can do it often.
type errorLog struct{ logger *slog.Logger }

func (e errorLog) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	ours := bytes.HasPrefix(line, []byte("http: "))
	if ours && !bytes.HasPrefix(line, []byte("http: TLS handshake error")) {
		level = slog.LevelWarn
	}
	e.logger.Log(context.Background(), level, string(bytes.TrimSpace(line)))
	return len(line), nil
}
