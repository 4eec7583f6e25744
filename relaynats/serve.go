package relaynats

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/hpke"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"example.com/qrand/relay"
	"example.com/qrand/relay/clients"
)

// ServerConfig says how to serve a relay over NATS.
type ServerConfig struct {
	// Key signs the answers. Clients have its public half in their Config. Each relay may
	// have a key of its own. Required.
	Key ed25519.PrivateKey

	// Subject is where to listen. Zero: DefaultSubject.
	Subject string
}

const (
	// Of requests that wait, for each processor. NATS may send more, or longer ones: they
	// are dropped.
	maxPending      = 512
	maxPendingBytes = 1 << 20

	// startLimit is how long NATS may take to accept the subscriptions, and stopLimit how
	// long the requests may take that have come before the end.
	startLimit = 10 * time.Second
	stopLimit  = 10 * time.Second
)

// Serve answers requests over nc from the relay's stock, until ctx is done. The clients are
// those in the relay's list that have a token. Their rates and quotas are those that they
// have over HTTPS, and the account, the access log and the metrics have their requests.
//
// A request that was made more than 30 s before or after the relay's time, or before Serve
// began, gets no answer. Neither does one that was altered, or that was answered before. The
// relay's log says so.
//
// Serve returns an error if NATS does not permit it to listen, or when nc is closed. While nc
// is disconnected it waits.
func Serve(ctx context.Context, nc *nats.Conn, r *relay.Relay, cfg ServerConfig) error {
	cfg.Subject = cmp.Or(cfg.Subject, DefaultSubject)
	switch {
	case nc == nil || r == nil:
		return errors.New("relaynats: Serve needs a connection and a relay")
	case len(cfg.Key) != ed25519.PrivateKeySize:
		return errors.New("relaynats: ServerConfig.Key is not a key of Ed25519")
	}
	if err := checkSubject(cfg.Subject); err != nil {
		return err
	}
	s := &service{relay: r, cfg: cfg, memory: newMemory(time.Now())}
	closed := nc.StatusChanged(nats.CLOSED)
	defer nc.RemoveStatusListener(closed)
	var subs []*nats.Subscription
	ended := make(chan struct{}, runtime.GOMAXPROCS(0))
	for range cap(ended) { // each subscription has a goroutine
		sub, err := nc.QueueSubscribe(cfg.Subject, queue, s.answer)
		if err != nil {
			return fmt.Errorf("relaynats: %w", err)
		}
		defer sub.Unsubscribe() // for an early return; after Drain it does nothing
		sub.SetClosedHandler(func(string) { ended <- struct{}{} })
		if err := sub.SetPendingLimits(maxPending, maxPendingBytes); err != nil {
			return fmt.Errorf("relaynats: %w", err)
		}
		subs = append(subs, sub)
	}
	if err := nc.FlushTimeout(startLimit); err == nil && denied(nc, cfg.Subject) {
		return fmt.Errorf("relaynats: NATS does not permit this user to listen at %s in the queue group %s", cfg.Subject, queue)
	}
	select {
	case <-closed:
		return errors.New("relaynats: the connection to NATS was closed")
	case <-ctx.Done():
	}
	// The requests that have come are answered.
	limit := time.After(stopLimit)
	for _, sub := range subs {
		if err := sub.Drain(); err != nil {
			continue // nc is disconnected, and there is nobody to answer
		}
		select {
		case <-ended:
		case <-limit:
			return fmt.Errorf("relaynats: requests were dropped that did not end within %v", stopLimit)
		}
	}
	if nc.IsConnected() {
		_ = nc.FlushTimeout(stopLimit) // or the answers are lost, as any may be
	}
	return nil
}

// denied reports whether NATS has told that the user has no permission for a subject.
func denied(nc *nats.Conn, subject string) bool {
	err := nc.LastError()
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), strconv.Quote(subject))
}

// A service answers requests. It is safe for concurrent use.
type service struct {
	relay  *relay.Relay
	cfg    ServerConfig
	memory *memory
}

// These are the reasons why a request gets no answer. They are for the relay's log.
var (
	errNoReply  = errors.New("the message does not say where to answer")
	errStale    = fmt.Errorf("the request is more than %v old or early: is this clock right, and the client's?", acceptedAge)
	errReplayed = errors.New("the request was answered before, or was made before this relay started, or this client makes too many")
	errAltered  = errors.New("the request was not made with the client's token, or was altered")
)

// answer answers a message, or nothing.
func (s *service) answer(m *nats.Msg) {
	var public hpke.PublicKey
	heard := false // the client is told why it gets nothing
	req, err := parseRequest(m.Data)
	identify := func(list *clients.List) (*clients.Member, error) {
		now := time.Now()
		switch {
		case err != nil:
			return nil, err
		case m.Reply == "":
			return nil, errNoReply
		case !fresh(req.made, now):
			return nil, errStale
		}
		why := errAltered
		client, err := list.IdentifyKey(req.id, func(client *clients.Member, key clients.Key) bool {
			if !req.madeWith(key) {
				return false
			}
			var bad error
			if public, bad = kem.NewPublicKey(req.public); bad != nil {
				why = errMalformedRequest
				return false
			}
			why = errReplayed
			return s.memory.accept(client.Name, client.Rate, req.digest, req.made, now)
		})
		if errors.Is(err, clients.ErrNotVerified) {
			return nil, why
		}
		heard = true
		return client, err
	}
	status, retryAfter := s.relay.Hand(context.Background(), relay.Request{
		Remote: "nats", Call: s.cfg.Subject, Blocks: req.blocks, Identify: identify,
		Send: func(blocks []byte, age time.Duration, emulated bool) bool {
			p, err := encodeBlocks(&req, public, blocks, age, emulated, s.cfg.Key)
			return err == nil && m.Respond(p) == nil
		},
	})
	if heard && status != http.StatusOK {
		// If it is lost, the client notices.
		_ = m.Respond(encodeRefusal(&req, status, retryAfter, s.cfg.Key))
	}
}
