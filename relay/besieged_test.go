package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/qrand/internal/abuse"
	"example.com/qrand/relay/clients"
)

// hurried are timeouts for tests that wait for them. lab/relayabuse shows that the
// real ones hold.
var hurried = timeouts{
	header:   3 * time.Second,
	read:     3 * time.Second,
	write:    3 * time.Second,
	stall:    3 * time.Second,
	idle:     3 * time.Second,
	shutdown: 10 * time.Second,
}

// A besieged relay is served over TLS on loopback.
type besieged struct {
	*Relay
	target abuse.Target // with the good client's token, from 127.0.0.2
	worse  abuse.Target // the attacker's: from 127.0.0.1, with a token too
	conns  *counter
	end    func() error
}

// besiege serves a relay as Serve does by itself, but for the timeouts of cfg.
func besiege(t *testing.T, source *abuse.Numbered, relayConfig Config, cfg ServerConfig) *besieged {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clients.json")
	var tokens []string
	for _, name := range []string{"good", "bad"} {
		token, err := clients.Add(path, clients.Client{Name: name, Rate: -1})
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token)
	}
	list, err := clients.Open(path, "")
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	relayConfig.Blocks, relayConfig.Clients, relayConfig.Logger = source, list, quiet
	r, err := New(relayConfig)
	if err != nil {
		t.Fatal(err)
	}
	for up := r.Upstream(); !up.Up && up.Reason == ""; up = r.Upstream() {
		time.Sleep(time.Millisecond) // till the service has been asked
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &besieged{Relay: r, conns: &counter{Listener: listener, changed: make(chan struct{}, 1)}}
	serverTLS, clientTLS := certificates(t)
	if cfg.Logger == nil {
		cfg.Logger = quiet
	}
	cfg.Listener, cfg.TLS = b.conns, serverTLS
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, r, cfg) }()
	ended := false
	b.end = func() error {
		ended = true
		cancel()
		err := <-served
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		return err
	}
	t.Cleanup(func() {
		if !ended {
			b.end()
		}
	})
	b.worse = abuse.Target{Addr: listener.Addr().String(), TLS: clientTLS, Token: tokens[1], From: "127.0.0.1"}
	b.target = b.worse
	b.target.Token, b.target.From = tokens[0], "127.0.0.2"
	if runtime.GOOS != "linux" {
		t.Log("only Linux has all of 127.0.0.0/8: the good client shares its address with the attackers")
		b.target.From = "127.0.0.1"
	}
	return b
}

// certificates are a server's, and what a client needs to trust it.
func certificates(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.StartTLS()
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, &tls.Config{RootCAs: pool}
}

// A counter is a listener that counts the connections which have not been closed.
type counter struct {
	net.Listener
	open    atomic.Int64
	changed chan struct{}
}

func (c *counter) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	conn.(*net.TCPConn).SetWriteBuffer(1) // else what nobody reads fits in it
	c.open.Add(1)
	return &counted{Conn: conn, counter: c}, nil
}

// awaitNone returns when the relay has closed all connections, or with what is
// left when ctx is done.
func (c *counter) awaitNone(ctx context.Context) (left int64) {
	for c.open.Load() > 0 && ctx.Err() == nil {
		select {
		case <-c.changed:
		case <-ctx.Done():
		}
	}
	return c.open.Load()
}

type counted struct {
	net.Conn
	counter *counter
	once    sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() {
		c.counter.open.Add(-1)
		select {
		case c.counter.changed <- struct{}{}:
		default:
		}
	})
	return c.Conn.Close()
}
