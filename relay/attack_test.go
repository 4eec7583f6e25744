package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/qrand/internal/abuse"
	"example.com/qrand/internal/built"
	"example.com/qrand/relay/clients"
	"example.com/qrand/relay/internal/testca"
)

// now is a channel that was closed.
func now() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// TestAttacks: while each attack goes on, a good client at another address is
// served every time, and the relay ends all the attackers' connections by itself.
// The test looks from the relay's side: an attacker that reads nothing does not see
// the end.
func TestAttacks(t *testing.T) {
	for _, attack := range abuse.Attacks {
		t.Run(attack.Name, func(t *testing.T) {
			t.Parallel()
			attackers, perHost, asked := 50, 40, 50
			if attack.Busy {
				attackers, perHost = 4, 3
			}
			b := serveAttacked(t, abuse.NewNumbered(), Config{Stock: 64}, ServerConfig{MaxConnsPerHost: perHost, timeouts: shortTimeouts})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			siege := attack.Lay(ctx, b.worse, attackers)
			<-siege.InPlace
			service := b.target.Serve(asked, 0, now())
			if !attack.EndsNot {
				if left := b.conns.awaitNone(ctx); left > 0 {
					t.Errorf("the relay has not ended %d connections", left)
				}
			}
			cancel()
			counts := siege.Wait()
			t.Logf("%v; the good client: %v", counts, service)
			if counts.Sent == 0 && !strings.HasPrefix(attack.Name, "idle") {
				t.Error("the attack has not begun")
			}
			if service.Failed > 0 {
				t.Errorf("the good client: %v", service)
			}
			if err := b.end(); err != nil {
				t.Error(err)
			}
			if a := b.Account(); a.InFlight != 0 {
				t.Errorf("%d bytes are in flight", a.InFlight)
			}
		})
	}
}

// TestAttacksMemory: the memory that one connection can make the relay use is bounded, and
// the default MaxConns of them take less than two thirds of the 512 MiB of deploy/. The
// figure includes the attackers' own memory.
func TestAttacksMemory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clients.pem")
	put(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: testca.New(t).Certificate.Raw})))
	cas, err := LoadClientCAs(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, attack := range abuse.Attacks {
		t.Run(attack.Name, func(t *testing.T) {
			const attackers, most = 30, 340 << 20 / defaultMaxConns
			b := serveAttacked(t, abuse.NewNumbered(), Config{Stock: 64}, ServerConfig{ClientCAs: cas})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			before := memory()
			siege := attack.Lay(ctx, b.worse, attackers)
			<-siege.InPlace
			during := memory()
			each := (during - before) / attackers
			cancel()
			siege.Wait()
			t.Logf("%d KiB for each connection", each>>10)
			if each > most && !built.Race { // the detector keeps alive what is garbage otherwise
				t.Errorf("%d KiB for each connection", each>>10)
			}
		})
	}
}

// memory is what is in use, of heap and stacks. It does not count the gaps that other
// tests left between what is in use. The second collection takes what a sync.Pool kept.
func memory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestOnlyHTTP1: a client that offers HTTP/2 gets HTTP/1.1, and one that offers nothing
// else gets no connection.
func TestOnlyHTTP1(t *testing.T) {
	b := serveAttacked(t, abuse.NewNumbered(), Config{Stock: 64}, ServerConfig{})
	for _, test := range []struct {
		offered []string
		want    string
	}{{[]string{"h2", "http/1.1"}, "http/1.1"}, {nil, ""}, {[]string{"h2"}, "refused"}} {
		config := b.target.TLS.Clone()
		config.NextProtos = test.offered
		got := "refused"
		if conn, err := tls.Dial("tcp", b.target.Addr, config); err == nil {
			got = conn.ConnectionState().NegotiatedProtocol
			conn.Close()
		}
		if got != test.want {
			t.Errorf("offered %v: %q, want %q", test.offered, got, test.want)
		}
	}
}

// TestUnknownIsCutOff: the connection of somebody who is not known ends after one answer,
// whatever was asked for. A client's is kept, also after a refusal.
func TestUnknownIsCutOff(t *testing.T) {
	b := serveAttacked(t, abuse.NewNumbered(), Config{Stock: 64}, ServerConfig{})
	token := func(token string) string { return "Host: relay\r\nAuthorization: Bearer " + token + "\r\n\r\n" }
	const known, unknown = true, false
	for _, test := range []struct {
		request string
		known   bool
	}{
		{"GET " + quantumPath + " HTTP/1.1\r\n" + token(b.target.Token), known},
		{"GET " + quantumPath + "?size=0 HTTP/1.1\r\n" + token(b.target.Token), known},
		{"GET " + quantumPath + " HTTP/1.1\r\n" + token("qrelay_of_nobody"), unknown},
		{"POST " + quantumPath + " HTTP/1.1\r\n" + token(b.target.Token), unknown},
		{"GET /nothing HTTP/1.1\r\n" + token(b.target.Token), unknown},
		{"GET /a%2fb HTTP/1.1\r\n" + token(b.target.Token), unknown},
		{"GET /metrics HTTP/1.1\r\n" + token("qrelay_of_nobody"), unknown},
		{"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n", unknown},
		{"GET /readyz HTTP/1.1\r\nHost: relay\r\n\r\n", unknown},
		{"OPTIONS * HTTP/1.1\r\nHost: relay\r\n\r\n", unknown},
	} {
		got, err := b.worse.Raw(t.Context(), test.request+test.request, 2)
		if err != nil || len(got) != 2 || (got[1] != 0) != test.known {
			t.Errorf("%q, twice: %v, %v", test.request[:30], got, err)
		}
	}
}

// TestConnectionLimits: one address has no more connections than it may, and neither have
// all together. If there is one too many, one makes room on which no good token was shown.
// If there is none, one of the address that has the most makes room, or the new one is
// refused and takes nobody's place.
func TestConnectionLimits(t *testing.T) {
	const most, perHost = 6, 4
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &connLimiter{Listener: listener, most: most, mostPerHost: perHost, hosts: map[netip.Addr]*host{}}
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	// dial returns the server's side, or nil if the connection was closed at once.
	dial := func(from string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := d.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Skipf("there is no address %s here: %v", from, err)
		}
		t.Cleanup(func() { conn.Close() })
		refused := make(chan struct{})
		go func() { conn.Read(make([]byte, 1)); close(refused) }()
		select {
		case server := <-accepted:
			return server
		case <-refused:
			return nil
		}
	}
	closed := func(conns []net.Conn) (which []int) {
		for i, c := range conns {
			if errors.Is(c.SetDeadline(time.Time{}), net.ErrClosed) {
				which = append(which, i)
			}
		}
		return which
	}
	known := func(c net.Conn) { c.(*limitedConn).shownToken() }
	var first, second []net.Conn
	for range perHost {
		first = append(first, dial("127.0.0.1"))
	}
	if slices.Contains(first, nil) {
		t.Fatalf("an address may have %d connections", perHost)
	}
	known(first[0])
	first = append(first, dial("127.0.0.1"))
	if first[perHost] == nil || !slices.Equal(closed(first), []int{1}) {
		t.Fatalf("the oldest unknown one of the same address does not make room: %v are closed", closed(first))
	}
	for range most - perHost {
		second = append(second, dial("127.0.0.2"))
	}
	if slices.Contains(second, nil) {
		t.Fatal("another address is refused")
	}
	third := dial("127.0.0.3")
	if third == nil || !slices.Equal(closed(first), []int{1, 2}) {
		t.Errorf("the oldest unknown one of the address with most of them does not make room: %v are closed", closed(first))
	}
	first[1].Close() // it was closed, and leaves no room
	if l.all != most {
		t.Errorf("%d connections are counted, want %d", l.all, most)
	}
	// Now 127.0.0.1 has three connections, 127.0.0.2 two, and 127.0.0.3 one.
	for _, c := range []net.Conn{first[3], first[4], second[0], second[1], third} {
		known(c)
	}
	l.noteState(first[3], http.StateIdle)
	fourth := dial("127.0.0.4")
	if fourth == nil || !slices.Equal(closed(first), []int{1, 2, 3}) || len(closed(second)) > 0 {
		t.Errorf("the idle one of the address with most of them does not make room: %v and %v are closed", closed(first), closed(second))
	}
	known(fourth)
	if dial("127.0.0.3") != nil {
		t.Error("a connection makes room for an address that then has as many")
	}
	first[0].Close()
	first[0].Close() // what closes twice leaves once
	if dial("127.0.0.4") == nil || l.all != most {
		t.Errorf("one connection has ended, and %d are counted, want %d", l.all, most)
	}
}

// TestHostOf: the IPv6 addresses that one host has to itself count as one, and an
// IPv4-mapped address counts as the IPv4 address.
func TestHostOf(t *testing.T) {
	host := func(text string) string {
		addr, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(text, "1"))
		if err != nil {
			t.Fatal(err)
		}
		return hostOf(addr).String()
	}
	for addr, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1",
		"::ffff:192.0.2.1":     "192.0.2.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
		"2001:db8:1:2::1":      "2001:db8:1:2::",
		"2001:db8:1:3::1":      "2001:db8:1:3::",
		"fe80::1%lo":           "fe80::",
	} {
		if got := host(addr); got != want {
			t.Errorf("%s is counted as %s, want %s", addr, got, want)
		}
	}
}

// TestLargeBodies: the relay reads little of a body that is too large, with a good
// token or without, and hands nothing out.
func TestLargeBodies(t *testing.T) {
	const size, most = 64 << 20, 8 << 20 // most of it are the buffers of the network
	b := serveAttacked(t, abuse.NewNumbered(), Config{Stock: 64}, ServerConfig{})
	unknown := "qrelay_of_nobody"
	for _, token := range []string{b.target.Token, unknown} {
		for _, chunked := range []bool{false, true} {
			sent, status, err := b.worse.SendBody(t.Context(), token, size, chunked)
			if err != nil {
				t.Fatal(err)
			}
			want := http.StatusUnprocessableEntity
			if token == unknown {
				want = http.StatusUnauthorized
			}
			cut := status == 0 // while it still sends
			if sent > most || status != want && !cut {
				t.Errorf("chunked %v: of %d bytes %d were sent, status %d, want %d or none", chunked, size, sent, status, want)
			}
		}
	}
	if a := b.Account(); a.HandedOut+a.Lost+a.InFlight != 0 {
		t.Errorf("entropy was handed out: %+v", a)
	}
}

// TestOversizeHeaders: they are refused, and the connection ends.
func TestOversizeHeaders(t *testing.T) {
	b := serveAttacked(t, abuse.NewNumbered(), Config{Stock: 64}, ServerConfig{})
	const begin = "GET /api/v1/quantum-entropy?size=1 HTTP/1.1\r\nHost: relay\r\n"
	for name, request := range map[string]string{
		"one":         begin + "X: " + strings.Repeat("a", 1<<20) + "\r\n\r\n",
		"many":        begin + strings.Repeat("X: a\r\n", 1<<16) + "\r\n",
		"a long path": "GET /" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\nHost: relay\r\n\r\n",
		"a token":     begin + "Authorization: Bearer " + strings.Repeat("a", 1<<20) + "\r\n\r\n",
		"a method":    strings.Repeat("A", 1<<20),
	} {
		got, err := b.worse.Raw(t.Context(), request, 2)
		if err != nil || !slices.Equal(got, []int{431, 0}) && !slices.Equal(got, []int{0}) {
			t.Errorf("%s: %v, %v; want 431 and the end, or the end", name, got, err)
		}
	}
	if a := b.Account(); a.HandedOut+a.Lost+a.InFlight != 0 {
		t.Errorf("entropy was handed out: %+v", a)
	}
}

// shortTimeouts are for tests that wait for them. lab/relayabuse shows that the real
// ones hold.
var shortTimeouts = timeouts{
	header:   3 * time.Second,
	read:     3 * time.Second,
	write:    3 * time.Second,
	idle:     3 * time.Second,
	shutdown: 10 * time.Second,
}

// An attacked relay is served over TLS on loopback.
type attacked struct {
	*Relay
	target abuse.Target // with the good client's token, from 127.0.0.2
	worse  abuse.Target // the attacker's: from 127.0.0.1, with a token too
	conns  *counter
	end    func() error
}

// serveAttacked serves a relay as Serve does, with the timeouts of cfg.
func serveAttacked(t *testing.T, source *abuse.Numbered, relayConfig Config, cfg ServerConfig) *attacked {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clients.json")
	var tokens []string
	for _, name := range []string{"good", "bad"} {
		token, err := clients.Add(path, clients.Client{Name: name, Rate: -1, Bandwidth: -1})
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
	b := &attacked{Relay: r, conns: &counter{Listener: listener, changed: make(chan struct{}, 1)}}
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

// certificates returns the configuration of a server, and of a client that trusts it.
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
