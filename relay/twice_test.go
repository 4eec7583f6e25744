package relay

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/qrand/internal/abuse"
	"example.com/qrand/internal/built"
)

// requestsOfAll is how many requests TestNoByteTwice makes: 4000, or 1000 with -short.
// QRAND_RELAY_REQUESTS sets another number; QRAND_RELAY_SEED repeats what the clients
// of a run chose.
func requestsOfAll(t *testing.T) (n int, seed uint64) {
	t.Helper()
	n, seed = 4000, uint64(time.Now().UnixNano())
	if testing.Short() || built.Race {
		n = 1000
	}
	if text := os.Getenv("QRAND_RELAY_REQUESTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("QRAND_RELAY_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	return n, seed
}

// TestNoByteTwice: 50 clients ask in both dialects, for pieces of all sizes, over both
// versions of HTTP, and cut their connections at any time. Each byte that one of them
// receives came from the service, and nobody else received it. The account says where
// each byte of the service went.
func TestNoByteTwice(t *testing.T) {
	const clients, stock = 50, 2048
	requests, seed := requestsOfAll(t)
	t.Logf("QRAND_RELAY_REQUESTS=%d QRAND_RELAY_SEED=%d", requests, seed)
	source := abuse.NewNumbered()
	ledger := abuse.NewLedger(source)
	b := serveAttacked(t, source, Config{Stock: stock}, ServerConfig{})
	var left, received, empty, killed atomic.Int64
	left.Store(int64(requests))
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			c := newKiller(b.target, rand.New(rand.NewPCG(seed, uint64(i))))
			defer c.close()
			for left.Add(-1) >= 0 {
				before := c.killed.Swap(false) // what was cut may be found out only now
				status, entropy, err := c.ask(t.Context())
				switch {
				case c.killed.Load():
					killed.Add(1)
				case before && err != nil:
				case err != nil:
					t.Errorf("a request whose connection nobody cut: %v", err)
				case status == http.StatusServiceUnavailable: // it asks again
					empty.Add(1)
					left.Add(1)
				case status != http.StatusOK:
					t.Errorf("status %d", status)
				}
				if entropy != nil {
					received.Add(1)
					ledger.Add(entropy)
				}
			}
		})
	}
	all.Wait()

	// The rest is drained, so that the refiller asks once more, and is refused: then
	// it has received all that the source gave.
	refused := source.End()
	last := b.target.Client()
	defer last.CloseIdleConnections()
	for _, size := range []int{0, 16} {
		for range 2 * stock {
			status, entropy, err := b.target.Ask(t.Context(), last, 1, size)
			if err != nil {
				t.Fatal(err)
			}
			if status != http.StatusOK {
				break
			}
			ledger.Add(entropy)
		}
	}
	<-refused
	if err := b.end(); err != nil {
		t.Error(err)
	}
	got, err := ledger.Check()
	if err != nil {
		t.Error(err)
	}
	a := b.Account()
	t.Logf("%d answers, %d connections cut, %d times nothing in stock; %d bytes received and told apart; %+v", received.Load(), killed.Load(), empty.Load(), got, a)
	if a.Received != source.Given() {
		t.Errorf("the account has %d bytes received, and %d were given", a.Received, source.Given())
	}
	if a.Received != a.HandedOut+a.Lost+a.Expired || a.InFlight != 0 || a.Stock != 0 {
		t.Errorf("the account does not balance: %+v", a)
	}
	if got > a.HandedOut {
		t.Errorf("clients received %d bytes, and %d were handed out", got, a.HandedOut)
	}
	if a.HandedOut+a.Lost-got > a.Received/2 {
		t.Errorf("of %d bytes only %d arrived", a.Received, got)
	}
	if killed.Load() == 0 || received.Load() < int64(requests)/3 {
		t.Errorf("%d connections were cut, %d answers arrived: that tests little", killed.Load(), received.Load())
	}
}

// A killer is a client that cuts its connection now and then: before the request
// is sent, before the answer is read, within the answer, or after it.
type killer struct {
	target abuse.Target
	rand   *rand.Rand
	client *http.Client

	mu     sync.Mutex
	conn   net.Conn
	killed atomic.Bool // in this request, or just before
}

func newKiller(target abuse.Target, rand *rand.Rand) *killer {
	k := &killer{target: target, rand: rand}
	k.client = target.Client()
	transport := k.client.Transport.(*http.Transport)
	dial := transport.DialTLSContext
	transport.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil {
			k.mu.Lock()
			k.conn = conn
			k.mu.Unlock()
		}
		return conn, err
	}
	return k
}

func (k *killer) close() { k.client.CloseIdleConnections() }

// kill cuts the connection, as a process that dies does.
func (k *killer) kill() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c, ok := k.conn.(interface{ NetConn() net.Conn }); ok {
		k.killed.Store(true)
		c.NetConn().(*net.TCPConn).SetLinger(0)
		c.NetConn().Close()
	}
	k.conn = nil
}

// ask makes one request. Most of them are not cut.
func (k *killer) ask(ctx context.Context) (int, []byte, error) {
	pieces, size := 1, 0
	switch k.rand.IntN(4) {
	case 0: // a few blocks of the service's
		pieces = 1 + k.rand.IntN(8)
	case 1: // a key
		size = 32
	case 2: // anything, so that cuts are everywhere
		size = 16 + k.rand.IntN(2000)
	case 3: // many small pieces
		pieces, size = 16+k.rand.IntN(100), 1+k.rand.IntN(30)
	}
	switch k.rand.IntN(8) {
	case 0: // at some moment
		timer := time.AfterFunc(time.Duration(k.rand.IntN(3000))*time.Microsecond, k.kill)
		defer timer.Stop()
	case 1: // after the answer
		defer k.kill()
	case 2: // or only this request is given up
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(k.rand.IntN(3000))*time.Microsecond)
		defer cancel()
		status, entropy, err := k.target.Ask(ctx, k.client, pieces, size)
		if err != nil {
			k.killed.Store(true)
		}
		return status, entropy, err
	}
	return k.target.Ask(ctx, k.client, pieces, size)
}
