package qrypttest_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"example.com/qrand/qrypttest"
)

const (
	quantum = "/api/v1/quantum-entropy"
	open    = "/api/v1/entropy"
)

// mustScript parses a script that is known to be right.
func mustScript(t testing.TB, text string) []qrypttest.Fault {
	t.Helper()
	faults, err := qrypttest.ParseScript(text)
	if err != nil {
		t.Fatal(err)
	}
	return faults
}

// newServer starts a server that ends with the test.
func newServer(t *testing.T, cfg qrypttest.Config) *qrypttest.Server {
	t.Helper()
	s := qrypttest.NewServer(cfg)
	t.Cleanup(s.Close)
	return s
}

// reply is what a client saw of an answer. err is that of the request or,
// with a status, that of reading the body.
type reply struct {
	status int
	header http.Header
	body   []byte
	err    error
}

// do makes a request without following redirects, and checks the label.
func do(t testing.TB, c *http.Client, req *http.Request) reply {
	t.Helper()
	once := *c
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := once.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	if got := resp.Header.Get(qrypttest.EmulatedHeader); got != qrypttest.EmulatedValue {
		t.Errorf("%s %s: status %d with label %q", req.Method, req.URL.Path, resp.StatusCode, got)
	}
	if got := resp.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("%s %s: status %d with Cache-Control %q", req.Method, req.URL.Path, resp.StatusCode, got)
	}
	r := reply{status: resp.StatusCode, header: resp.Header}
	r.body, r.err = io.ReadAll(resp.Body)
	return r
}

func request(t testing.TB, method, url, token, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

// get asks for n blocks in the service's own call.
func get(t testing.TB, c *http.Client, base, token string, n int) reply {
	t.Helper()
	return do(t, c, request(t, "GET", fmt.Sprintf("%s%s?size=%d", base, quantum, n), token, ""))
}

// post asks for n blocks in the call of the Open API.
func post(t testing.TB, c *http.Client, base, token string, size, n int) reply {
	t.Helper()
	body := fmt.Sprintf(`{"block_size":%d,"block_count":%d}`, size, n)
	return do(t, c, request(t, "POST", base+open, token, body))
}

// blocks decodes an answer of either call, and fails the test if it is not an
// ordinary one of n blocks.
func (r reply) blocks(t testing.TB, size, n int) [][]byte {
	t.Helper()
	blocks, err := r.decode(size, n)
	if err != nil {
		t.Fatal(err)
	}
	return blocks
}

func (r reply) decode(size, n int) ([][]byte, error) {
	if r.err != nil || r.status != 200 {
		return nil, fmt.Errorf("status %d, error %v, body %.100q", r.status, r.err, r.body)
	}
	if got := r.header.Get("Content-Type"); got != "application/json" {
		return nil, fmt.Errorf("content type %q", got)
	}
	var answer struct {
		Random, Entropy []string
		Size            *int
	}
	d := json.NewDecoder(strings.NewReader(string(r.body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&answer); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("after the JSON: %v", err)
	}
	list := answer.Entropy
	if answer.Random != nil {
		list = answer.Random
		if answer.Size == nil || *answer.Size != len(list) {
			return nil, fmt.Errorf("wrong size for %d blocks", len(list))
		}
	}
	if len(list) != n {
		return nil, fmt.Errorf("%d blocks, want %d", len(list), n)
	}
	blocks := make([][]byte, n)
	for i, text := range list {
		var err error
		if blocks[i], err = base64.StdEncoding.Strict().DecodeString(text); err != nil {
			return nil, err
		}
		if len(blocks[i]) != size {
			return nil, fmt.Errorf("block %d has %d bytes", i, len(blocks[i]))
		}
	}
	return blocks, nil
}
