package relay

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/qrand/internal/abuse"
)

// now is a channel that was closed.
func now() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// TestAttacks: while each attack goes on, a good client at another address is
// served every time, and the relay ends all the attackers' connections by itself.
// That is seen from its side: who reads nothing does not learn of the end.
func TestAttacks(t *testing.T) {
	for _, attack := range abuse.Attacks {
		t.Run(attack.Name, func(t *testing.T) {
			t.Parallel()
			attackers, perHost, asked := 50, 40, 50
			if attack.Busy {
				attackers, perHost = 4, 3
			}
			b := besiege(t, abuse.NewNumbered(), Config{Stock: 64}, ServerConfig{MaxConnsPerHost: perHost, timeouts: hurried})
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

// TestAttacksMemory: what a connection can make the relay hold is bounded, and so
// is, with MaxConns, all of it. The attackers' own memory is in the figure.
func TestAttacksMemory(t *testing.T) {
	for _, attack := range abuse.Attacks {
		t.Run(attack.Name, func(t *testing.T) {
			attackers, most := int64(30), int64(768<<10)
			if attack.Busy {
				attackers, most = 8, 2<<20 // with garbage, for it goes on
			}
			b := besiege(t, abuse.NewNumbered(), Config{Stock: 64}, ServerConfig{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			before := memory()
			siege := attack.Lay(ctx, b.worse, int(attackers))
			<-siege.InPlace
			during := memory()
			for range 9 { // where there is garbage, the least of it
				if !attack.Busy {
					break
				}
				during = min(during, memory())
			}
			each := (during - before) / attackers
			cancel()
			siege.Wait()
			t.Logf("%d KiB for each connection", each>>10)
			if each > most {
				t.Errorf("%d KiB for each connection", each>>10)
			}
		})
	}
}

// memory is what is in use, of heap and stacks.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// TestConnectionLimits: one address has no more connections than it may, all
// together no more than they may, and who is refused takes nobody's place.
func TestConnectionLimits(t *testing.T) {
	const most, perHost = 7, 4
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := limitConns(listener, most, perHost)
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
	var first []net.Conn
	for range perHost {
		first = append(first, dial("127.0.0.1"))
	}
	if slices.Contains(first, nil) || dial("127.0.0.1") != nil {
		t.Fatalf("an address may have %d connections", perHost)
	}
	for range most - perHost {
		if dial("127.0.0.2") == nil {
			t.Fatal("another address is refused")
		}
	}
	if dial("127.0.0.3") != nil {
		t.Fatalf("all may have %d connections", most)
	}
	first[0].Close()
	first[0].Close() // what closes twice leaves once
	if dial("127.0.0.3") == nil || dial("127.0.0.1") != nil || dial("127.0.0.3") != nil {
		t.Error("one connection has ended, and one is let in")
	}
}

// TestHostOf: IPv6 addresses that one host has to itself are one, and an IPv4
// address in IPv6's clothes is the same as without.
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

// TestLargeBodies: of a body that is too large the relay reads little, whoever
// sends it, in whatever way, and gives nothing for it.
func TestLargeBodies(t *testing.T) {
	const size, most = 64 << 20, 8 << 20 // most of it are the buffers of the network
	b := besiege(t, abuse.NewNumbered(), Config{Stock: 64}, ServerConfig{})
	stranger := "qrelay_of_nobody"
	for _, protocol := range []string{"http/1.1", "h2"} {
		for _, token := range []string{b.target.Token, stranger} {
			for _, chunked := range []bool{false, true} {
				sent, status, err := b.worse.SendBody(t.Context(), protocol, token, size, chunked)
				if err != nil {
					t.Fatal(err)
				}
				want := http.StatusUnprocessableEntity
				if token == stranger {
					want = http.StatusUnauthorized
				}
				cut := status == 0 && protocol == "http/1.1" // while it still sends
				if sent > most || status != want && !cut {
					t.Errorf("%s, chunked %v: of %d bytes %d were sent, status %d, want %d or none", protocol, chunked, size, sent, status, want)
				}
			}
		}
	}
	if a := b.Account(); a.HandedOut+a.Lost+a.InFlight != 0 {
		t.Errorf("entropy was handed out: %+v", a)
	}
}

// TestOversizeHeaders: they are refused, and the connection is at its end.
func TestOversizeHeaders(t *testing.T) {
	b := besiege(t, abuse.NewNumbered(), Config{Stock: 64}, ServerConfig{})
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
	client := b.worse.Client("h2")
	defer client.CloseIdleConnections()
	req, err := http.NewRequest("GET", "https://"+b.worse.Addr+quantumPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+b.worse.Token)
	req.Header.Set("X", strings.Repeat("a", 1<<16))
	if resp, err := client.Do(req); err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("HTTP/2: %s, want 431", resp.Status)
		}
	}
	if a := b.Account(); a.HandedOut+a.Lost+a.InFlight != 0 {
		t.Errorf("entropy was handed out: %+v", a)
	}
}
