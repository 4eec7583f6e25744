package relaynats

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"example.com/qrand"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// Config says how to reach relays over NATS.
type Config struct {
	// Relays are the public keys of the relays whose answers are good: see ParsePublicKeys.
	// Required.
	Relays []ed25519.PublicKey

	// Token gives the token that the relays know: qrypt.TokenFromFile, for example. It is
	// called for each request, and not sent. Required.
	Token qrypt.TokenFunc

	// Subject is where the relays listen. Zero: DefaultSubject.
	Subject string

	// Timeout bounds the call of Token, and then the request with its answer. Zero: 5 s.
	Timeout time.Duration
}

const defaultTimeout = 5 * time.Second

// A Client asks relays over NATS. It is a qrand.BlockSource, made by New, and safe for
// concurrent use.
type Client struct {
	nc       *nats.Conn
	cfg      Config
	endpoint string

	mu      sync.Mutex
	refused [16]byte // the ID of the key last refused
}

var _ qrand.BlockSource = (*Client)(nil)

// New returns a Client that uses nc, which should have the Options, and which the caller
// closes. It makes no request. The clocks of clients and relays must agree to some seconds.
func New(nc *nats.Conn, cfg Config) (*Client, error) {
	cfg.Subject = cmp.Or(cfg.Subject, DefaultSubject)
	cfg.Timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	cfg.Relays = slices.Clone(cfg.Relays)
	switch {
	case nc == nil:
		return nil, errors.New("relaynats: New needs a connection: was the error of nats.Connect looked at?")
	case len(cfg.Relays) == 0:
		return nil, errors.New("relaynats: Config.Relays is empty: whose answers are good?")
	case slices.ContainsFunc(cfg.Relays, func(key ed25519.PublicKey) bool { return len(key) != ed25519.PublicKeySize }):
		return nil, errors.New("relaynats: Config.Relays has a key that is not one of Ed25519")
	case cfg.Token == nil:
		return nil, fmt.Errorf("relaynats: %w: set Config.Token", qrypt.ErrNoToken)
	case cfg.Timeout < 0:
		return nil, fmt.Errorf("relaynats: Timeout is negative: zero means %v", defaultTimeout)
	}
	if err := checkSubject(cfg.Subject); err != nil {
		return nil, err
	}
	return &Client{nc: nc, cfg: cfg, endpoint: "nats:" + cfg.Subject}, nil
}

// String names the subject.
func (c *Client) String() string { return "relaynats.Client(" + c.cfg.Subject + ")" }

// GoString is String: the fields of a Client are not for printing.
func (c *Client) GoString() string { return c.String() }

// TokenChanged reports whether there is a token now, and it is not the one last refused. It
// makes no request.
func (c *Client) TokenChanged(ctx context.Context) bool {
	key, err := c.key(ctx)
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return key.ID != c.refused
}

// key returns the key that is derived from the token.
func (c *Client) key(ctx context.Context) (clients.Key, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	token, err := c.cfg.Token(ctx)
	if err == nil && token == "" {
		err = errors.New("the token is empty")
	}
	return clients.KeyOf(token), err
}

func (c *Client) refuse(id [16]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = id
}

// Blocks makes one request for n blocks, 1 to 512, and returns exactly n blocks or an error.
// That is a *qrypt.Error, unless n is out of range or ctx is done. Its Class is
// qrypt.ErrNetwork if NATS is not connected at the end of the timeout, if no relay listens, or
// if NATS permits no request or no answer. It is qrypt.ErrTimeout if no relay answers, as if
// the request was altered or a clock is wrong.
func (c *Client) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) {
	if n < 1 || n > qrypt.MaxBlocks {
		return nil, fmt.Errorf("relaynats: %d blocks asked for: a request carries 1 to %d", n, qrypt.MaxBlocks)
	}
	key, err := c.key(ctx)
	switch {
	case ctx.Err() != nil: // there may be a token all the same
		return nil, fmt.Errorf("relaynats: getting the token: %w", context.Cause(ctx))
	case err != nil:
		c.refuse([16]byte{})                                                    // any token that appears counts as changed
		return nil, &qrypt.Error{Endpoint: c.endpoint, Class: qrypt.ErrNoToken} // err could quote what it got
	}
	limited, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	if err := c.connected(ctx, limited); err != nil {
		return nil, err
	}
	private, err := kem.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("relaynats: %w", err)
	}
	asked := time.Now()
	message := encodeRequest(n, asked, key, private.PublicKey().Bytes())
	reply, err := c.ask(ctx, limited, message)
	if err != nil {
		return nil, err
	}
	received := time.Now()
	req, err := parseRequest(message)
	if err != nil {
		return nil, fmt.Errorf("relaynats: %w", err)
	}
	a, err := parseAnswer(reply, n, req.digest, private, c.cfg.Relays)
	if err != nil {
		return nil, &qrypt.Error{Endpoint: c.endpoint, Class: qrypt.ErrMalformed, Detail: err.Error()}
	}
	defer clear(a.blocks)
	if class := classes[a.status]; class != nil {
		if class == qrypt.ErrUnauthorized || class == qrypt.ErrQuota {
			c.refuse(key.ID)
		}
		return nil, &qrypt.Error{Endpoint: c.endpoint, StatusCode: a.status, RetryAfter: a.retryAfter, Class: class}
	}
	origin := qrypt.Origin{Endpoint: c.endpoint, Received: received, Emulated: a.emulated}
	if a.age > 0 {
		origin.Received = asked.Add(-a.age) // it may have been that old when it was asked for
	}
	var blocks []qrypt.Block
	for p := range slices.Chunk(a.blocks, qrypt.BlockSize) {
		b, err := qrypt.NewBlock(p, origin)
		if err != nil {
			qrypt.Wipe(blocks)
			return nil, fmt.Errorf("relaynats: %w", err)
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// fail returns an error that says what is known.
func (c *Client) fail(class error, detail string) error {
	return &qrypt.Error{Endpoint: c.endpoint, Class: class, Detail: detail}
}

// connected waits for the connection, which is often there again soon after a server died. A
// request that is made without it could be sent when nobody waits for it any more. limited
// is ctx with the timeout.
func (c *Client) connected(ctx, limited context.Context) error {
	changed := c.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer c.nc.RemoveStatusListener(changed)
	for !c.nc.IsConnected() {
		if c.nc.IsClosed() {
			return c.fail(qrypt.ErrNetwork, "the connection to NATS was closed")
		}
		select {
		case <-changed:
		case <-limited.Done():
			if ctx.Err() != nil {
				return fmt.Errorf("relaynats: %s: %w", c.endpoint, context.Cause(ctx))
			}
			return c.fail(qrypt.ErrNetwork, "not connected to NATS")
		}
	}
	return nil
}

// ask sends a request and returns the first answer. Of the errors of NATS it keeps none:
// they may quote what a server says.
func (c *Client) ask(ctx, limited context.Context, message []byte) ([]byte, error) {
	m, err := c.nc.RequestWithContext(limited, c.cfg.Subject, message)
	switch {
	case err == nil:
		return m.Data, nil
	case ctx.Err() != nil: // the caller gave up
		return nil, fmt.Errorf("relaynats: %s: %w", c.endpoint, context.Cause(ctx))
	case errors.Is(err, nats.ErrNoResponders):
		return nil, c.fail(qrypt.ErrNetwork, "no relay listens there, or this account does not import the subject")
	case limited.Err() != nil && denied(c.nc, c.cfg.Subject):
		return nil, c.fail(qrypt.ErrNetwork, "NATS does not permit this user to publish to the subject")
	case limited.Err() != nil && inboxDenied(c.nc):
		return nil, c.fail(qrypt.ErrNetwork, "NATS does not permit this user to read the inbox of the connection: see nats.CustomInboxPrefix")
	case limited.Err() != nil:
		return nil, c.fail(qrypt.ErrTimeout, "no relay answers: are the token and this clock right? The relay's log says more")
	}
	return nil, c.fail(qrypt.ErrNetwork, "the exchange over NATS failed")
}

// inboxDenied reports whether NATS has told that the user may not read the answers.
func inboxDenied(nc *nats.Conn) bool {
	err := nc.LastError()
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `Subscription to "`+cmp.Or(nc.Opts.InboxPrefix, nats.InboxPrefix))
}
