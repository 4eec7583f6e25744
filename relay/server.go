package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// What a connection and a request may take. They are far more than a client
// needs that means well.
const (
	headerTimeout   = 5 * time.Second // also of the TLS handshake before it
	readTimeout     = 10 * time.Second
	writeTimeout    = 30 * time.Second
	idleTimeout     = time.Minute
	shutdownTimeout = 15 * time.Second
	maxHeader       = 16 << 10
	maxStreams      = 64 // of an HTTP/2 connection
)

// ServerConfig says how to serve a Relay.
type ServerConfig struct {
	// Listener is where to listen. Serve closes it. It has to be.
	Listener net.Listener

	// TLS has the certificate. Its MinVersion is raised to TLS 1.2 if it is lower.
	// Nil: plain HTTP, which is refused on any address but loopback.
	TLS *tls.Config

	// MaxConns is how many connections there may be at a time, and MaxConnsPerHost
	// how many of them from one address; more are closed as they come. Set the
	// latter to MaxConns behind a load balancer. Zero: 16384 and 1024.
	MaxConns, MaxConnsPerHost int

	// Logger gets what concerns connections. Nil: slog.Default().
	Logger *slog.Logger
}

const (
	defaultMaxConns        = 16384
	defaultMaxConnsPerHost = 1024
)

// Serve serves h until ctx is done, and then lets the requests under way end.
// After 15 s of that their connections are closed.
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
	limited := limit(cfg.Listener, orDefault(cfg.MaxConns, defaultMaxConns), orDefault(cfg.MaxConnsPerHost, defaultMaxConnsPerHost))
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug), // clients' doings, such as failed handshakes
	}
	var serve func(net.Listener) error = server.Serve
	if cfg.TLS != nil {
		server.TLSConfig = cfg.TLS.Clone()
		server.TLSConfig.MinVersion = max(server.TLSConfig.MinVersion, tls.VersionTLS12)
		if server.TLSConfig.Rand == nil {
			server.TLSConfig.Rand = osReader
		}
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	ended := make(chan error, 1)
	go func() { ended <- serve(limited) }()
	select {
	case err := <-ended:
		return fmt.Errorf("relay: %w", err)
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(patience); err != nil {
		server.Close()
		return fmt.Errorf("relay: connections were closed that did not end within %v", shutdownTimeout)
	}
	return nil
}

func orDefault(n, other int) int {
	if n == 0 {
		return other
	}
	return n
}
