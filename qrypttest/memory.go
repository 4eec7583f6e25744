package qrypttest

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
)

// A network is TCP, or connections in memory.
type network struct {
	plain  bool // without TLS
	listen func(network, address string) (net.Listener, error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

var errNobody = errors.New("qrypttest: connection refused: nothing listens at this address")

// newMemory returns a network of net.Pipe. A goroutine that waits on one is durably blocked,
// as testing/synctest has it. On a socket it would not be, and time would stand still.
// There is no TLS: when both sides close a pipe at a time, each writes close_notify and none
// reads. http.Server.Close does that under a lock, for which others wait, which is not durable.
func newMemory() network {
	var mu sync.Mutex
	listeners := map[string]*memoryListener{}
	return network{
		plain: true,
		listen: func(_, address string) (net.Listener, error) {
			mu.Lock()
			defer mu.Unlock()
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			if port == "0" {
				port = strconv.Itoa(1 + len(listeners)) // none is ever deleted
			}
			l := &memoryListener{address: memoryAddr(net.JoinHostPort(host, port)), conns: make(chan net.Conn), closed: make(chan struct{})}
			listeners[l.address.String()] = l
			return l, nil
		},
		dial: func(ctx context.Context, _, address string) (net.Conn, error) {
			mu.Lock()
			l := listeners[address]
			mu.Unlock()
			if l == nil {
				return nil, errNobody
			}
			here, there := net.Pipe()
			select {
			case l.conns <- there:
				return here, nil
			case <-l.closed:
				return nil, errNobody
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
	}
}

type memoryListener struct {
	address memoryAddr
	conns   chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memoryListener) Addr() net.Addr { return l.address }

// A memoryAddr looks like an address of TCP, and is none.
type memoryAddr string

func (memoryAddr) Network() string  { return "memory" }
func (a memoryAddr) String() string { return string(a) }
