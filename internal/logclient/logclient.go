// Package logclient sends envelopes to a transparency log that qrandlog serves, and gets their
// proofs. docs/transparency.md describes the requests.
package logclient

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"example.com/qrand/internal/loopback"
	"example.com/qrand/provenance/tlogproof"
	"example.com/qrand/qrypt"
)

// ErrPending is wrapped by errors after which the same call may succeed later: the log or its
// witnesses are away or busy. The envelope may be in the log.
var ErrPending = errors.New("pending")

// ErrUnknown is wrapped by the error of Fetch for an envelope that is not in the log: Submit it.
var ErrUnknown = errors.New("not in the log")

// A RefusedError says that the log does not take the envelope, or not from this client. The
// same call fails again.
type RefusedError struct {
	Status int    // of HTTP
	Reason string // what the log says, at most 200 bytes of it
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the log refuses it with status %d: %q", e.Status, e.Reason)
}

// A Client asks one log. It verifies no signatures: that is up to a tlogproof.Policy.
type Client struct {
	base  *url.URL
	token string
	http  *http.Client
}

// MaxEnvelope is the most bytes of an entry: https://c2sp.org/tlog-tiles has 16 bits for them.
const MaxEnvelope = 65_535

// timeout is of a request. The log itself waits 20 s for its witnesses.
const timeout = time.Minute

// New makes a Client. The address is https, or on this host. The token may be empty for Head
// and Fetch. Roots are the CAs of the log's certificate; nil: those of the system.
func New(address, token string, roots *x509.CertPool) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, errors.New("not the address of a log: write it like https://log.example/keys") // it may have a secret in it
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && loopback.Is(u.Hostname())) {
		return nil, fmt.Errorf("the scheme %.20q would show the token to the network: use https", u.Scheme)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the log's token has characters that no token has")
	}
	client := qrypt.NewHTTPClient() // which sends a request, with its token, once
	client.Timeout = timeout
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	transport := client.Transport.(*http.Transport)
	transport.TLSClientConfig.RootCAs = roots
	transport.ResponseHeaderTimeout = timeout // the log waits for its witnesses
	return &Client{u, token, client}, nil
}

// Head returns the log's newest checkpoint, a signed note that is not verified.
func (c *Client) Head(ctx context.Context) (string, error) {
	data, err := c.do(ctx, http.MethodGet, "checkpoint", nil)
	return string(data), err
}

// Submit adds an envelope to the log and returns its proof. To submit what is in the log
// already changes nothing there. The proof is of this envelope; whose log it is from, and who
// cosigned, is not verified. The error is ErrPending or a RefusedError.
func (c *Client) Submit(ctx context.Context, envelope []byte) (*tlogproof.Proof, error) {
	data, err := c.do(ctx, http.MethodPost, "add", envelope)
	return c.proof(data, envelope, err)
}

// Fetch returns the proof of an envelope that was submitted before. It needs no token. The
// error can be ErrUnknown, too.
func (c *Client) Fetch(ctx context.Context, envelope []byte) (*tlogproof.Proof, error) {
	hash := tlog.RecordHash(envelope)
	data, err := c.do(ctx, http.MethodGet, fmt.Sprintf("proof/%x", hash[:]), nil)
	if refused := (*RefusedError)(nil); errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		err = fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return c.proof(data, envelope, err)
}

func (c *Client) proof(data, envelope []byte, err error) (*tlogproof.Proof, error) {
	if err != nil {
		return nil, err
	}
	p, err := tlogproof.Parse(data)
	if err == nil {
		_, err = p.Includes(envelope)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the log's answer is not the proof of this envelope: %w", ErrPending, err)
	}
	return p, nil
}

func (c *Client) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: the log does not answer: %w", ErrPending, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, tlogproof.MaxSize+1))
	reason := strings.TrimSpace(string(data[:min(len(data), 200)]))
	switch status := resp.StatusCode; {
	case err != nil:
		return nil, fmt.Errorf("%w: the log's answer was cut off: %w", ErrPending, err)
	case status == http.StatusOK && len(data) <= tlogproof.MaxSize:
		return data, nil
	case status == http.StatusOK, status == http.StatusAccepted, status == http.StatusTooManyRequests, status >= 500:
		return nil, fmt.Errorf("%w: the log answers %d: %q", ErrPending, status, reason)
	default: // a redirect, too: no log gives one
		return nil, &RefusedError{status, reason}
	}
}
