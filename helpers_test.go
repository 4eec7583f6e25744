package qrand

import (
	"bytes"
	"context"
	"crypto/fips140"
	"crypto/rand"
	"encoding/hex"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// newTestSource returns a Source of so many shards, with the real parts except for those
// of stubs. It is closed at the end of the test, and hear gets its events.
func newTestSource(t testing.TB, cfg Config, shards int, stubs ...parts) *Source {
	t.Helper()
	onEvent := cfg.OnEvent
	cfg.OnEvent = func(e Event) {
		hear(e)
		if onEvent != nil {
			onEvent(e)
		}
	}
	s, err := newSource(cfg, shards, testParts(stubs...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		hear(s.Status())
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// testParts returns the real parts, except for those that stubs have.
func testParts(stubs ...parts) parts {
	p := realParts()
	p.spread = false
	for _, stub := range stubs {
		if stub.os != nil {
			p.os = stub.os
		}
		if stub.keystream != nil {
			p.keystream = stub.keystream
		}
		if stub.extract != nil {
			p.extract = stub.extract
		}
		if stub.selfTest != nil {
			p.selfTest = stub.selfTest
		}
		if stub.now != nil {
			p.now = stub.now
		}
		if stub.random != nil {
			p.random = stub.random
		}
	}
	return p
}

// longWaits makes each wait as long as it can be, so that a test knows it in advance.
var longWaits = parts{random: func(d time.Duration) time.Duration { return d }}

func waitSeeded(t testing.TB, s *Source) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.WaitSeeded(ctx); err != nil {
		t.Fatal(err)
	}
}

// mustRead reads n bytes.
func mustRead(t testing.TB, s *Source, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	if m, err := s.Read(p); m != n || err != nil {
		t.Fatalf("Read of %d bytes returned %d, %v", n, m, err)
	}
	return p
}

// newTestBlock makes a block that depends on n only and contains blockMark.
func newTestBlock(n uint64) qrypt.Block {
	p := make([]byte, qrypt.BlockSize)
	seed := [32]byte{'b', byte(n), byte(n >> 8), byte(n >> 16)}
	mathrand.NewChaCha8(seed).Read(p)
	copy(p[200:], blockMark)
	b, err := qrypt.NewBlock(p, qrypt.Origin{Endpoint: "fake"})
	if err != nil {
		panic(err)
	}
	return b
}

// fakeBlocks is a BlockSource without a network. The zero one always answers.
type fakeBlocks struct {
	mu    sync.Mutex
	err   error         // if set, what every request gets
	asked []int         // blocks, by request
	times []time.Time   // of the requests
	given []qrypt.Block // newTestBlock of 1, 2, and so on
}

func (f *fakeBlocks) Blocks(ctx context.Context, n int) (blocks []qrypt.Block, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, n)
	f.times = append(f.times, time.Now())
	if f.err != nil {
		return nil, f.err
	}
	for range n {
		b := newTestBlock(uint64(len(f.given) + 1))
		f.given = append(f.given, b)
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// timesSince lists when requests came.
func (f *fakeBlocks) timesSince(begin time.Time) (since []time.Duration) {
	_, times := f.requests()
	for _, at := range times {
		since = append(since, at.Sub(begin))
	}
	return since
}

func (f *fakeBlocks) setErr(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// requests lists how many blocks were asked for, and when.
func (f *fakeBlocks) requests() (asked []int, times []time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked), slices.Clone(f.times)
}

// tokenBlocks are fakeBlocks that can look for another token.
type tokenBlocks struct {
	fakeBlocks
	look func(ctx context.Context)
}

func (b *tokenBlocks) TokenChanged(ctx context.Context) bool {
	b.look(ctx)
	return false
}

// refusedToken returns a BlockSource whose token is refused, and which has no other one.
// look takes as long as it takes to find that out.
func refusedToken(look func(ctx context.Context)) *tokenBlocks {
	return &tokenBlocks{fakeBlocks{err: &qrypt.Error{Class: qrypt.ErrUnauthorized}}, look}
}

// blockFunc is a BlockSource that is a function.
type blockFunc func(ctx context.Context, n int) ([]qrypt.Block, error)

func (f blockFunc) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) { return f(ctx, n) }

// tape stands for crypto/rand. Its bytes are reproducible, and it keeps them.
type tape struct {
	mu    sync.Mutex
	rand  *mathrand.ChaCha8
	reads [][]byte
}

func (o *tape) Read(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rand.Read(p)
	o.reads = append(o.reads, append([]byte(nil), p...))
	return len(p), nil
}

// next takes the oldest read off the tape.
func (o *tape) next(t *testing.T, n int) []byte {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.reads) == 0 {
		t.Fatalf("crypto/rand was not read for %d bytes", n)
	}
	p := o.reads[0]
	o.reads = o.reads[1:]
	if len(p) != n {
		t.Fatalf("crypto/rand was read for %d bytes, want %d", len(p), n)
	}
	return p
}

// zeros stands for crypto/rand after the worst failure.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func newTape() *tape { return &tape{rand: mathrand.NewChaCha8([32]byte{'o', 's'})} }

// emulatorEnv starts a service over real HTTPS, which ends with the test, and
// returns the environment in which another process, or New, finds it.
func emulatorEnv(t *testing.T, cfg qrypttest.Config) []string {
	t.Helper()
	server := qrypttest.NewServer(cfg)
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, server.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{
		qrypt.EnvToken + "=" + server.Token(), qrypt.EnvTokenFile + "=", qrypt.EnvDialect + "=",
		qrypt.EnvEndpoints + "=" + strings.Join(server.Endpoints(), ","), qrypt.EnvCAFile + "=" + ca,
	}
}

// A world is the real client and the emulated service. Pipes join them instead of sockets,
// so that a synctest bubble knows when all goroutines wait.
type world struct {
	*qrypttest.Emulator
	client    *qrypt.Client
	transport http.RoundTripper // of the client
	token     atomic.Value      // string: what the client's TokenFunc returns
	gone      atomic.Bool       // no connection can be made
	logged    *logCounter
	begin     time.Time
}

// newWorld returns a world of two regions, unless cfg says otherwise.
func newWorld(t *testing.T, cfg qrypttest.Config, dialect qrypt.Dialect) *world {
	t.Helper()
	if cfg.Regions == nil {
		cfg.Regions = []string{"api-eus", "api-weu"}
	}
	if cfg.Tokens == nil {
		cfg.Tokens = []string{testToken}
	}
	cfg.Canary = []byte(blockMark)
	w := &world{Emulator: qrypttest.New(cfg), logged: &logCounter{}, begin: time.Now()}
	w.token.Store(testToken)
	listeners := map[string]*pipeListener{}
	var endpoints []string
	for i, region := range cfg.Regions {
		host := "127.0.0." + string(rune('1'+i))
		endpoints = append(endpoints, "http://"+host)
		l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		listeners[host+":80"] = l
		server := &http.Server{Handler: w.Handler(region), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
		go server.Serve(l)
		t.Cleanup(func() { server.Close() })
	}
	t.Cleanup(w.Emulator.Close)
	httpClient := qrypt.NewHTTPClient()
	transport := httpClient.Transport.(*http.Transport)
	transport.Proxy = nil
	transport.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
		if w.gone.Load() {
			return nil, syscall.ECONNREFUSED
		}
		here, there := net.Pipe()
		select {
		case listeners[addr].conns <- there:
			return here, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	client, err := qrypt.New(qrypt.Config{
		Endpoints:  endpoints,
		Dialect:    dialect,
		Token:      func(context.Context) (string, error) { return w.token.Load().(string), nil },
		HTTPClient: httpClient,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.client, w.transport = client, transport
	return w
}

// source is a Source of one shard on this world.
func (w *world) source(t *testing.T, cfg Config, stubs ...parts) *Source {
	cfg.Blocks = w.client
	cfg.Logger = slog.New(w.logged)
	return newTestSource(t, cfg, 1, stubs...)
}

// times lists when the requests came, since the world began.
func (w *world) times() (times []time.Duration) {
	for _, r := range w.Requests() {
		times = append(times, r.Time.Sub(w.begin))
	}
	return times
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// logCounter counts log lines by level, and passes them on to what hear keeps.
type logCounter struct {
	warns, infos, others, emulated, seeded, moved, back atomic.Int32
}

func (c *logCounter) Enabled(context.Context, slog.Level) bool { return true }
func (c *logCounter) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c *logCounter) WithGroup(string) slog.Handler            { return c }
func (c *logCounter) Handle(ctx context.Context, r slog.Record) error {
	switch {
	case strings.Contains(r.Message, "emulated"): // once in the life of a Source
		c.emulated.Add(1)
	case strings.HasPrefix(r.Message, "qrand: seeded"): // so is this
		c.seeded.Add(1)
	case r.Level == slog.LevelWarn && strings.Contains(r.Message, "blocks come from another endpoint"):
		c.moved.Add(1)
	case r.Level == slog.LevelInfo && strings.Contains(r.Message, "blocks come from the preferred endpoint again"):
		c.back.Add(1)
	case r.Level == slog.LevelWarn:
		c.warns.Add(1)
	case r.Level == slog.LevelInfo:
		c.infos.Add(1)
	default:
		c.others.Add(1)
	}
	return slog.Default().Handler().Handle(ctx, r)
}

// bubble runs f in a synctest bubble, in which time stands still until all
// goroutines wait, and in which a goroutine left behind is a failure.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if fips140.Enabled() {
		// In FIPS 140 mode Go seeds its generator by timing the processor, and panics
		// where nothing takes any time, as in a bubble.
		defer func(saved io.Reader) { rand.Reader = saved }(rand.Reader)
		rand.Reader = newTape()
	}
	synctest.Test(t, f)
}

func testKey(seed byte) (key [32]byte) {
	mathrand.NewChaCha8([32]byte{seed}).Read(key[:])
	return key
}

func allZero(p []byte) bool { return len(bytes.Trim(p, "\x00")) == 0 }

// mixes lists all modes.
var mixes = []Mix{MixXOR, MixRekey, MixRefill}

// readSizes cross the borders of blocks, chunks and pieces.
var readSizes = []int{1, 32, 31, 64, 0, 928, 1, 992, 3008, 4064, 1024, 5000, 4096, pieceSize, pieceSize + 1, 3}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// after turns the waits between requests into the times of the requests, from 0 on.
func after(waits ...time.Duration) []time.Duration {
	times := []time.Duration{0}
	for _, wait := range waits {
		times = append(times, times[len(times)-1]+wait)
	}
	return times
}

// near reports whether two times differ by no more than scheduling and float64 explain.
func near(a, b time.Duration) bool { return (a - b).Abs() < time.Millisecond }

func wantState(t *testing.T, s *Source, state State, reason Reason) {
	t.Helper()
	synctest.Wait()
	st := s.Status()
	hear(st)
	if st.State != state || st.Reason != reason {
		t.Errorf("the state is %v (%v), want %v (%v); last error: %s", st.State, st.Reason, state, reason, st.LastError)
	}
}

func wantLogs(t *testing.T, w *world, warns, infos int32) {
	t.Helper()
	synctest.Wait()
	if w.logged.warns.Load() != warns || w.logged.infos.Load() != infos || w.logged.others.Load() != 0 {
		t.Errorf("logged %d Warn, %d Info, %d other; want %d, %d, none",
			w.logged.warns.Load(), w.logged.infos.Load(), w.logged.others.Load(), warns, infos)
	}
}

// wantRefused wants a Read to fail with an error, return 0 and leave p as it was.
func wantRefused(t *testing.T, s *Source, want error) {
	t.Helper()
	p := bytes.Repeat([]byte{0x5a}, 100)
	n, err := s.Read(p)
	hear(err)
	if n != 0 || err != want || !bytes.Equal(p, bytes.Repeat([]byte{0x5a}, 100)) {
		t.Errorf("Read returned %d, %v (or altered p), want 0, %v", n, err, want)
	}
}

// waitFailed waits until the first request has failed. Then the reseeder has read from
// crypto/rand all that it needs.
func waitFailed(t *testing.T, s *Source) {
	t.Helper()
	for begin := time.Now(); s.Status().Requests == 0; time.Sleep(time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Fatal("no request in a minute")
		}
	}
}

// textLog keeps the lines of a log.
type textLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *textLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *textLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *textLog) WithGroup(string) slog.Handler            { return l }
func (l *textLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	l.lines = append(l.lines, line)
	return nil
}

// has reports whether one line has all of these words.
func (l *textLog) has(words ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		all := true
		for _, word := range words {
			all = all && strings.Contains(line, word)
		}
		if all {
			return true
		}
	}
	return false
}

// limit is how many requests the service allows in any 10 s, says its documentation.
const limit = 30

// requestsTo lists when requests came to a region, since the world began.
func (w *world) requestsTo(region string) (times []time.Duration) {
	for _, r := range w.Requests() {
		if r.Region == region {
			times = append(times, r.Time.Sub(w.begin))
		}
	}
	return times
}
