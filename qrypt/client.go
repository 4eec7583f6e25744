// Package qrypt is a client of Qrypt's Entropy-as-a-Service: an HTTPS API that
// hands out blocks of 1,024 bytes drawn from quantum random number generators.
//
// Most programs do not need it: package [example.com/qrand] keeps a random
// reader seeded from the service, through outages too, and that is what keys
// should be made from. Use this package to spend the blocks in some other way,
// and begin with [New], [FromEnv] and [Client.Blocks].
//
// A Client holds no policy. One call is one request to one endpoint, and is never
// repeated. A failure is an [*Error] of one of the classes ErrRateLimited, ErrQuota and
// so on. By waiting, a Client does keep the one rule that the service has for its
// clients: 30 requests in any 10 seconds for a token.
package qrypt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Client fetches blocks. It is made by New, and safe for concurrent use. A nil
// or zero Client has no endpoint, and each request of it fails.
type Client struct {
	endpoints []string
	dialect   Dialect
	auth      Auth
	token     TokenFunc
	http      http.Client
	timeout   time.Duration

	mu      sync.Mutex
	refused tokenID // the token last refused, as invalid or for its quota
}

// New returns a Client, or an error that says what to change in cfg. It makes
// no request.
func New(cfg Config) (*Client, error) {
	if cfg.Endpoints == nil {
		cfg.Endpoints = []string{EndpointEUS, EndpointWEU}
	}
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("qrypt: no endpoint: leave Endpoints nil for Qrypt's own")
	}
	if cfg.Dialect != DialectQuantumEntropy && cfg.Dialect != DialectOpenAPI {
		return nil, fmt.Errorf("qrypt: unknown dialect %d: use DialectQuantumEntropy or DialectOpenAPI", int(cfg.Dialect))
	}
	if cfg.Token == nil && cfg.Dialect != DialectOpenAPI {
		return nil, fmt.Errorf("qrypt: %w: set Config.Token, to TokenFromEnv, TokenFromFile or a function of your own", ErrNoToken)
	}
	if cfg.Auth != AuthBearer && cfg.Auth != AuthAPIKey {
		return nil, fmt.Errorf("qrypt: unknown Auth %d: use AuthBearer or AuthAPIKey", int(cfg.Auth))
	}
	if cfg.Timeout < 0 {
		return nil, errors.New("qrypt: Timeout is negative: zero means 30 s")
	}
	c := &Client{dialect: cfg.Dialect, token: cfg.Token, auth: cfg.Auth, timeout: cfg.Timeout}
	for i, raw := range cfg.Endpoints {
		endpoint, err := parseEndpoint(raw)
		if err != nil {
			return nil, fmt.Errorf("qrypt: endpoint %d of %d: %w", i+1, len(cfg.Endpoints), err)
		}
		c.endpoints = append(c.endpoints, endpoint)
	}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = NewHTTPClient()
	}
	// A nil pointer or function in the interface would panic when it is used.
	v := reflect.ValueOf(cfg.HTTPClient.Transport)
	if (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil() {
		return nil, fmt.Errorf("qrypt: HTTPClient has a Transport that is a nil %T: leave it nil, or set it", cfg.HTTPClient.Transport)
	}
	c.http = single(*cfg.HTTPClient)
	if cfg.CAFile != "" {
		if err := c.trust(cfg.CAFile, cfg.Logger); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// String names the client's endpoints and dialect.
func (c *Client) String() string {
	if c == nil {
		return "qrypt.Client(nil)"
	}
	return fmt.Sprintf("qrypt.Client(%s, %v)", c.dialect, c.endpoints)
}

// GoString is String: the fields of a Client are not for printing.
func (c *Client) GoString() string { return c.String() }

// Endpoints returns the base URLs, the preferred one first.
func (c *Client) Endpoints() []string {
	if c == nil {
		return nil
	}
	return slices.Clone(c.endpoints)
}

// Each returns one Client for each endpoint, in order, for a caller who chooses which to
// ask. Each remembers by itself which token was refused: a token that one endpoint
// refuses may be good at another. They share everything else.
func (c *Client) Each() []*Client {
	if c == nil {
		return nil
	}
	each := make([]*Client, len(c.endpoints))
	for i, endpoint := range c.endpoints {
		each[i] = &Client{endpoints: []string{endpoint}, dialect: c.dialect, token: c.token, auth: c.auth, http: c.http, timeout: c.timeout}
	}
	return each
}

// TokenChanged reports whether there is a token now, and it is not the one last refused.
// After ErrUnauthorized, ErrQuota or ErrNoToken that means that it is worth asking
// again. It makes no request.
func (c *Client) TokenChanged(ctx context.Context) bool {
	if c == nil {
		return false
	}
	token, err := c.getToken(ctx)
	if err != nil || token == "" {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return identify(token) != c.refused
}

// Blocks makes one request for n blocks, 1 to 512. It returns exactly n blocks or an
// error. That is an *Error, unless n is out of range, ctx is done or c was not made by
// New. The caller owns the blocks, and wipes them after use.
//
// It always asks the first endpoint; package qrand, or a caller of [Client.Each], asks
// the others. While the token has used its 30 requests in 10 s, it waits. Calls that
// wait are served in the order of their arrival.
func (c *Client) Blocks(ctx context.Context, n int) ([]Block, error) {
	return c.blocks(ctx, n, nil)
}

// BlocksWithReceipt is like Blocks, and asks for a receipt: what the operator of a relay
// signs about the blocks of an answer, for the Origin of each. key has 32 bytes, and keys the
// fingerprints that name the blocks in the receipt. A relay that signs none, and another
// service, give the same blocks without one. Qrypt's own endpoints sign none, and are not
// sent the key. Package provenance reads receipts.
func (c *Client) BlocksWithReceipt(ctx context.Context, n int, key []byte) ([]Block, error) {
	if len(key) != ReceiptKeySize {
		return nil, fmt.Errorf("qrypt: the key for a receipt has %d bytes, not %d", len(key), ReceiptKeySize)
	}
	return c.blocks(ctx, n, key)
}

func (c *Client) blocks(ctx context.Context, n int, receiptKey []byte) ([]Block, error) {
	if c == nil {
		return nil, errors.New("qrypt: a nil Client: was the error of New looked at?")
	}
	if len(c.endpoints) == 0 {
		return nil, errors.New("qrypt: a zero Client: a Client is made by New")
	}
	if ctx == nil {
		return nil, errors.New("qrypt: a nil Context: use context.Background()")
	}
	if n < 1 || n > MaxBlocks {
		return nil, fmt.Errorf("qrypt: %d blocks asked for: a request carries 1 to %d", n, MaxBlocks)
	}
	var blocks []Block
	err := c.request(ctx, func(ctx context.Context, endpoint, token string) (err error) {
		blocks, err = c.fetch(ctx, endpoint, token, n, receiptKey)
		return err
	})
	return blocks, err
}

// request gets the token and a place among the requests of its window, and calls do.
func (c *Client) request(ctx context.Context, do func(ctx context.Context, endpoint, token string) error) error {
	endpoint := c.endpoints[0]
	token, err := c.getToken(ctx)
	if err != nil && ctx.Err() != nil { // the caller gave up: there may be a token all the same
		return fmt.Errorf("qrypt: getting the token: %w", context.Cause(ctx))
	}
	if err != nil {
		c.refuse(tokenID{}) // so that any token that appears counts as changed
		return &Error{Endpoint: endpoint, Class: ErrNoToken, cause: err}
	}
	id := identify(token)
	if token == "" { // each device that needs none has a limit of its own
		id = identify(endpoint)
	}
	if err := limiter.acquire(ctx, id); err != nil {
		return fmt.Errorf("qrypt: waiting for a place among %d requests in %v: %w", limitRequests, limitWindow, err)
	}
	defer limiter.release(id)
	err = do(ctx, endpoint, token)
	// Not errors.As: the cause of ctx may be another request's *Error.
	if e, ok := err.(*Error); ok && (e.Class == ErrUnauthorized || e.Class == ErrQuota) {
		c.refuse(id)
	}
	return err
}

// refuse remembers a token that is not worth sending again.
func (c *Client) refuse(id tokenID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = id
}

// fetch makes the request for blocks, and asks for a receipt if there is a key.
func (c *Client) fetch(ctx context.Context, endpoint, token string, n int, receiptKey []byte) ([]Block, error) {
	most := maxAnswer(n)
	if u, err := url.Parse(endpoint); err != nil || strings.HasSuffix(strings.ToLower("."+u.Hostname()), ".qrypt.com") {
		receiptKey = nil
	}
	if receiptKey != nil {
		most += maxReceipt
	}
	body := make([]byte, most+1)
	defer clear(body)
	size, origin, err := c.exchange(ctx, endpoint, token, body, func(ctx context.Context) (*http.Request, error) {
		req, err := newRequest(ctx, c.dialect, endpoint, n)
		if err == nil && receiptKey != nil {
			req.Header.Set(ReceiptKeyHeader, base64.StdEncoding.EncodeToString(receiptKey))
		}
		return req, err
	})
	if err != nil {
		return nil, err
	}
	blocks, err := parseAnswer(body[:size], c.dialect, n, origin)
	if err != nil {
		return nil, malformed(endpoint, err.Error())
	}
	return blocks, nil
}

// exchange makes a request, and reads the body of a success into body, which must be longer
// than that may be.
func (c *Client) exchange(ctx context.Context, endpoint, token string, body []byte, newRequest func(context.Context) (*http.Request, error)) (size int, origin Origin, err error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	unanswered := new(atomic.Bool)
	req, err := newRequest(context.WithValue(limited, unansweredKey{}, unanswered))
	if err != nil {
		return 0, origin, &Error{Endpoint: endpoint, Class: ErrNetwork, Detail: "the request could not be made"}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "identity") // also keeps a caller's transport from unzipping bombs
	req.Header.Set("Cache-Control", "no-store")
	req.Header.Set("User-Agent", "qrand")
	switch {
	case token == "":
	case c.auth == AuthAPIKey:
		req.Header.Set("X-API-KEY", token)
	default:
		req.Header.Set("Authorization", "Bearer "+token)
	}
	asked := time.Now()
	res, err := c.http.Do(req)
	if err != nil {
		if unanswered.Load() {
			err = fmt.Errorf("%w: %w", errUnanswered, err)
		}
		return 0, origin, transportError(ctx, endpoint, err)
	}
	defer res.Body.Close()
	received := time.Now()
	if res.StatusCode != http.StatusOK {
		return 0, origin, statusError(endpoint, res, received)
	}
	origin = Origin{Endpoint: endpoint, Received: received, Emulated: len(res.Header.Values(EmulatedHeader)) > 0}
	if res.TLS != nil && len(res.TLS.PeerCertificates) > 0 {
		leaf := res.TLS.PeerCertificates[0]
		origin.CertificateSHA256, origin.PublicKeySHA256 = sha256.Sum256(leaf.Raw), sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	}
	if kept := age(res.Header); kept > 0 {
		origin.Received = asked.Add(-kept) // it may have been that old then: RFC 9111 section 4.2.3
	}
	if detail := checkHeader(res.Header); detail != "" {
		return 0, origin, malformed(endpoint, detail)
	}
	size, err = readAll(res.Body, body)
	switch {
	case errors.Is(err, errOversized):
		return 0, origin, malformed(endpoint, err.Error())
	case errors.Is(err, io.ErrUnexpectedEOF):
		return 0, origin, malformed(endpoint, "the answer was cut short")
	case err != nil:
		return 0, origin, transportError(ctx, endpoint, err)
	}
	return size, origin, nil
}

func malformed(endpoint, detail string) error {
	return &Error{Endpoint: endpoint, StatusCode: http.StatusOK, Class: ErrMalformed, Detail: detail}
}

// newRequest returns the request for n blocks in a dialect.
func newRequest(ctx context.Context, d Dialect, endpoint string, n int) (*http.Request, error) {
	if d == DialectQuantumEntropy {
		return http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/api/v1/quantum-entropy?size="+strconv.Itoa(n), nil)
	}
	body, err := json.Marshal(struct {
		Size  int `json:"block_size"`
		Count int `json:"block_count"`
	}{BlockSize, n})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/api/v1/entropy", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

// getToken returns the token, or "" if there is no TokenFunc.
func (c *Client) getToken(ctx context.Context) (string, error) {
	if c.token == nil || ctx == nil {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	token, err := c.token(ctx)
	if err != nil {
		return "", err
	}
	return token, checkToken(token)
}
