package relay

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// listFile writes a list of clients to a new folder.
func listFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clients.json")
	put(t, path, text)
	return path
}

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func openList(t testing.TB, path string) *clients.List {
	t.Helper()
	list, err := clients.Open(path, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { list.Close() })
	return list
}

// addClient adds a client to a list and returns its token.
func addClient(t testing.TB, path string, c clients.Client) string {
	t.Helper()
	token, err := clients.Add(path, c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

const serviceURL = "https://service.example"

// fakeService is a BlockSource of noise.
type fakeService struct {
	t        testing.TB
	noise    noise
	emulated bool

	mu       sync.Mutex
	err      error
	calls    []time.Time
	asked    []int
	given    []qrypt.Block
	copies   [][]byte
	limit    int           // blocks it has; negative: no end
	repeat   bool          // its answers begin with its first block
	stuck    bool          // its blocks repeat a byte
	age      time.Duration // of its blocks, when they come
	hang     time.Duration // before it answers
	newToken bool
	check    time.Duration // how long it takes to check the token
	checking bool
	beside   int  // requests made meanwhile
	flaps    bool // every other request fails
	stubborn bool // it does not end with its context
}

func newFakeService(t testing.TB) *fakeService {
	return &fakeService{t: t, noise: newNoise(9), limit: -1}
}

func (f *fakeService) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, time.Now())
	f.asked = append(f.asked, n)
	if f.checking {
		f.beside++
	}
	if hang, stubborn := f.hang, f.stubborn; hang > 0 {
		f.mu.Unlock() // a test may look at f meanwhile
		var done <-chan struct{}
		if !stubborn {
			done = ctx.Done()
		}
		select {
		case <-time.After(hang):
		case <-done:
		}
		f.mu.Lock()
		if !stubborn && ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	if f.limit >= 0 && n > f.limit || f.flaps && len(f.calls)%2 == 0 {
		return nil, &qrypt.Error{Endpoint: serviceURL, StatusCode: 503, Class: qrypt.ErrNoSupply}
	}
	f.limit -= n
	var blocks []qrypt.Block
	for i := range n {
		if i == 0 && f.repeat && len(f.copies) > 0 {
			b, _ := qrypt.NewBlock(f.copies[0], qrypt.Origin{Endpoint: serviceURL})
			blocks = append(blocks, b)
			continue
		}
		b := f.noise.block(f.t, qrypt.Origin{Endpoint: serviceURL, Emulated: f.emulated, Received: time.Now().Add(-f.age)})
		if f.stuck {
			copy(b.Bytes()[100:110], make([]byte, 10))
		}
		blocks = append(blocks, b)
		f.copies = append(f.copies, bytes.Clone(b.Bytes()))
	}
	f.given = append(f.given, blocks...)
	return blocks, nil
}

// blocks are those that it gave.
func (f *fakeService) blocks() []qrypt.Block {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.given)
}

func (f *fakeService) TokenChanged(context.Context) bool {
	f.set(func() { f.checking = true })
	time.Sleep(f.check)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.checking = false
	return f.newToken
}

func (f *fakeService) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeService) all() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.Join(f.copies, nil)
}

// clientOf is a client of f, an endpoint in memory.
func clientOf(f *fakeService, url string) *qrypt.Client {
	client, err := qrypt.New(qrypt.Config{
		Endpoints:  []string{url},
		Token:      qrypt.StaticToken("token-of-the-account-0123456789"),
		HTTPClient: &http.Client{Transport: roundTrip(f.serve)},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return client
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func (f *fakeService) serve(req *http.Request) (*http.Response, error) {
	n, err := strconv.Atoi(req.URL.Query().Get("size"))
	if err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	blocks, err := f.Blocks(req.Context(), n)
	var failure *qrypt.Error
	switch {
	case errors.As(err, &failure):
		w.WriteHeader(failure.StatusCode)
		return w.Result(), nil
	case err != nil:
		return nil, err
	}
	texts := make([]string, len(blocks))
	for i, b := range blocks {
		texts[i] = base64.StdEncoding.EncodeToString(b.Bytes())
	}
	w.Header().Set("Age", strconv.Itoa(int(f.age.Seconds())))
	err = json.NewEncoder(w).Encode(map[string]any{"random": texts, "size": n})
	return w.Result(), err
}

// A testRelay is a relay with clients, and what it logs.
type testRelay struct {
	*Relay
	t       testing.TB
	service *fakeService
	list    string // of clients
	token   string // of a client without limits
	log     *bytes.Buffer
}

// newTestRelay makes a relay in a bubble, with its stock filled.
func newTestRelay(t testing.TB, cfg Config) *testRelay {
	t.Helper()
	o := &testRelay{t: t, service: newFakeService(t), log: new(bytes.Buffer)}
	o.list = listFile(t, `{"clients":[]}`)
	o.token = addClient(t, o.list, clients.Client{Name: "app", Rate: -1, Bandwidth: -1})
	cfg.Clients = openList(t, o.list)
	if cfg.Blocks == nil {
		cfg.Blocks = o.service
	}
	logger := slog.New(slog.NewTextHandler(o.log, nil))
	cfg.Logger, cfg.AccessLog = logger, logger
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	o.Relay = r
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if strings.Contains(o.log.String(), o.token) {
			t.Error("a token is in the log")
		}
	})
	time.Sleep(time.Minute)
	synctest.Wait()
	return o
}

// client adds a client and returns its token.
func (o *testRelay) client(c clients.Client) string {
	o.t.Helper()
	token := addClient(o.t, o.list, c)
	time.Sleep(5 * time.Second)
	synctest.Wait()
	return token
}

// ask makes a request, with a body if there is one.
func (o *testRelay) ask(token, method, target string, body ...string) *httptest.ResponseRecorder {
	o.t.Helper()
	req := httptest.NewRequest(method, target, strings.NewReader(strings.Join(body, "")))
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	o.ServeHTTP(w, req)
	synctest.Wait()
	return w
}

func (o *testRelay) quantum(token string, n int) *httptest.ResponseRecorder {
	return o.ask(token, "GET", quantumPath+"?size="+strconv.Itoa(n))
}

func (o *testRelay) keys(token string, size, count int) *httptest.ResponseRecorder {
	return o.ask(token, "POST", openPath, `{"block_size":`+strconv.Itoa(size)+`,"block_count":`+strconv.Itoa(count)+`}`)
}

// pieces decodes an answer, whatever its dialect, as strictly as can be.
func pieces(t testing.TB, w *httptest.ResponseRecorder) (all [][]byte) {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var answer struct {
		Random, Entropy []string
		Size            *int
	}
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&answer); err != nil || d.More() {
		t.Fatalf("the body is not one object: %v", err)
	}
	if (answer.Size == nil) != (answer.Random == nil) || answer.Size != nil && *answer.Size != len(answer.Random) {
		t.Fatal("size is not that of random")
	}
	for _, text := range append(answer.Random, answer.Entropy...) {
		p, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// noise gives bytes that differ from block to block, and are the same in each run.
type noise struct{ *mathrand.ChaCha8 }

func newNoise(seed byte) noise { return noise{mathrand.NewChaCha8([32]byte{seed})} }

func (n noise) block(t testing.TB, origin qrypt.Origin) qrypt.Block {
	t.Helper()
	p := make([]byte, qrypt.BlockSize)
	n.Read(p)
	b, err := qrypt.NewBlock(p, origin)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// arrived is a request from an address, as a server that listens on to sees it.
func arrived(method, target, from, to string) *http.Request {
	local := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(to))
	req := httptest.NewRequestWithContext(context.WithValue(context.Background(), http.LocalAddrContextKey, local), method, target, nil)
	req.RemoteAddr = from
	return req
}
