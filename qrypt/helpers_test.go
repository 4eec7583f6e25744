package qrypt

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/qrand/qrypttest"
)

var bothDialects = []Dialect{DialectQuantumEntropy, DialectOpenAPI}

// canary is in every ordinary block of the emulators here: what a leak of
// entropy would show.
var canary = []byte("\x9c\xe5\x01\xb7\x7f\xd2\x44\xfe\x88\x13\xab\x6e\xf0\x2d\x95\xc3" +
	"\x0a\xda\x57\xe9\x31\x8c\xbe\x62\x04\xf7\x99\x4b\xcd\x70\x1e\xa6")

// newService starts an emulator that ends with the test.
func newService(t testing.TB, regions ...string) *qrypttest.Server {
	t.Helper()
	s := qrypttest.NewServer(qrypttest.Config{Regions: regions, Canary: canary})
	t.Cleanup(s.Close)
	return s
}

// newClient returns a Client of s, changed by edits.
func newClient(t testing.TB, s *qrypttest.Server, edits ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{
		Endpoints:  s.Endpoints(),
		Token:      StaticToken(s.Token()),
		HTTPClient: trusting(t, s.CAPEM()),
	}
	for _, edit := range edits {
		edit(&cfg)
	}
	return mustNew(t, cfg)
}

func mustNew(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// trusting is the default HTTP client with the CA of pem.
func trusting(t testing.TB, pem []byte) *http.Client {
	t.Helper()
	c := NewHTTPClient()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate in the PEM")
	}
	c.Transport.(*http.Transport).TLSClientConfig.RootCAs = pool
	return c
}

// mustBlocks makes a request that has to succeed.
func mustBlocks(t testing.TB, c *Client, n int) []Block {
	t.Helper()
	blocks, err := c.Blocks(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	if len(blocks) != n {
		t.Fatalf("%d blocks, want %d", len(blocks), n)
	}
	return blocks
}

// mustFail makes a request that has to fail with an *Error of a class. secrets
// are what its error must not show.
func mustFail(t testing.TB, c *Client, n int, class error, secrets ...[]byte) *Error {
	t.Helper()
	blocks, err := c.Blocks(t.Context(), n)
	if blocks != nil {
		t.Errorf("%d blocks and the error %v", len(blocks), err)
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %T %v, want an *Error", err, err)
	}
	if !errors.Is(err, class) {
		t.Errorf("error %v, want %v", err, class)
	}
	if !strings.HasPrefix(err.Error(), "qrypt: ") {
		t.Errorf("error without the package's name: %v", err)
	}
	checkSilent(t, err, secrets...)
	return e
}

// roundTrip is a network in memory.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func (f roundTrip) client() *http.Client { return &http.Client{Transport: f} }

// withStatus replaces the status of a network's answers.
func withStatus(network http.RoundTripper, status *int) roundTrip {
	return func(req *http.Request) (*http.Response, error) {
		res, err := network.RoundTrip(req)
		if err == nil {
			res.StatusCode = *status
		}
		return res, err
	}
}

// reply is an answer for a roundTrip.
func reply(status int, body []byte) *http.Response {
	return &http.Response{
		StatusCode: status,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(bytes.NewReader(body)),
	}
}

// noise returns n blocks that depend on seed alone.
func noise(seed byte, n int) [][]byte {
	source := mathrand.NewChaCha8([32]byte{seed})
	blocks := make([][]byte, n)
	for i := range blocks {
		blocks[i] = make([]byte, BlockSize)
		source.Read(blocks[i])
	}
	return blocks
}

// answerWith is the answer of d with these blocks.
func answerWith(d Dialect, blocks ...[]byte) []byte {
	list := make([]string, len(blocks))
	for i, b := range blocks {
		list[i] = base64.StdEncoding.EncodeToString(b)
	}
	fields := map[string]any{"random": list, "size": len(list)}
	if d == DialectOpenAPI {
		fields = map[string]any{"entropy": list}
	}
	body, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return body
}

// oneBlock has an answer of each dialect.
var oneBlock = map[Dialect][]byte{
	DialectQuantumEntropy: answerWith(DialectQuantumEntropy, noise(1, 1)...),
	DialectOpenAPI:        answerWith(DialectOpenAPI, noise(1, 1)...),
}

// soon is a client timeout for requests that never end by themselves.
const soon = 200 * time.Millisecond

func withTimeout(d time.Duration) func(*Config) { return func(c *Config) { c.Timeout = d } }
func withDialect(d Dialect) func(*Config)       { return func(c *Config) { c.Dialect = d } }
func withHTTP(h *http.Client) func(*Config)     { return func(c *Config) { c.HTTPClient = h } }
func withEndpoints(e ...string) func(*Config)   { return func(c *Config) { c.Endpoints = e } }
func withToken(f TokenFunc) func(*Config)       { return func(c *Config) { c.Token = f } }

// clientOf returns a Client of an httptest server, TLS or not.
func clientOf(t testing.TB, s *httptest.Server, edits ...func(*Config)) *Client {
	t.Helper()
	h := NewHTTPClient()
	if s.TLS != nil {
		h.Transport.(*http.Transport).TLSClientConfig.RootCAs = trustIn(s.Certificate())
	}
	cfg := Config{Endpoints: []string{s.URL}, Token: StaticToken("a-token-of-" + t.Name()), HTTPClient: h}
	for _, edit := range edits {
		edit(&cfg)
	}
	return mustNew(t, cfg)
}

func trustIn(cert *x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

// tokens is a TokenFunc that returns what *now is at the time.
func tokens(now *string) TokenFunc {
	return func(context.Context) (string, error) { return *now, nil }
}

// tunnel is what a proxy does with CONNECT.
func tunnel(t testing.TB, w http.ResponseWriter, req *http.Request) {
	server, err := net.Dial("tcp", req.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer server.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer client.Close()
	io.WriteString(client, "HTTP/1.1 200 Connection Established\r\n\r\n")
	var up sync.WaitGroup
	up.Go(func() {
		io.Copy(server, buffered)
		server.(*net.TCPConn).CloseWrite()
	})
	io.Copy(client, server)
	client.Close()
	up.Wait()
}

// countingClient answers every request, in either dialect, with a block.
func countingClient(requests *int) *http.Client {
	var mu sync.Mutex
	return roundTrip(func(req *http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		*requests++
		d := DialectQuantumEntropy
		if req.Method == http.MethodPost {
			d = DialectOpenAPI
		}
		return reply(http.StatusOK, oneBlock[d]), nil
	}).client()
}
