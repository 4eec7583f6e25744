package relay

import (
	"net"
	"net/netip"
	"sync"
)

// A limiter is a net.Listener that closes what is one connection too many, of
// all or of one address, instead of letting it wait: who holds many connections
// must not keep others from theirs.
type limiter struct {
	net.Listener
	most, mostPerHost int

	mu      sync.Mutex
	all     int
	perHost map[netip.Addr]int
}

func limit(l net.Listener, most, mostPerHost int) *limiter {
	return &limiter{Listener: l, most: most, mostPerHost: mostPerHost, perHost: map[netip.Addr]int{}}
}

func (l *limiter) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host := hostOf(conn.RemoteAddr())
		if l.enter(host) {
			return &limited{Conn: conn, leave: sync.OnceFunc(func() { l.leave(host) })}, nil
		}
		conn.Close()
	}
}

// hostOf is the address whose connections are counted together: of IPv6 the /64
// that one host has to itself.
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

func (l *limiter) enter(host netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= l.most || l.perHost[host] >= l.mostPerHost {
		return false
	}
	l.all++
	l.perHost[host]++
	return true
}

func (l *limiter) leave(host netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.perHost[host]--; l.perHost[host] == 0 {
		delete(l.perHost, host)
	}
}

type limited struct {
	net.Conn
	leave func()
}

func (c *limited) Close() error {
	c.leave()
	return c.Conn.Close()
}
