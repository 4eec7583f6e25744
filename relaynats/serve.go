package relaynats

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
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

// Check returns what is wrong with the configuration, as Serve does.
func (cfg ServerConfig) Check() error {
	if len(cfg.Key) != ed25519.PrivateKeySize {
		return errors.New("relaynats: ServerConfig.Key is not a key of Ed25519")
	}
	return checkSubject(cmp.Or(cfg.Subject, DefaultSubject))
}

const (
	// How many messages may wait to be looked at, and how many requests to be answered. The
	// first are up to 1 MiB long, but never wait for long.
	maxMessages = 4096
	maxRequests = 4096

	// readyInterval is how often it is looked whether the relay has blocks.
	readyInterval = 20 * time.Millisecond

	// startLimit is how long NATS may take to accept the subscriptions, and stopLimit how
	// long the answers may take to leave that are made at the end.
	startLimit = 10 * time.Second
	stopLimit  = 5 * time.Second
)

// Serve answers requests over nc from the relay's stock, from its first blocks on until ctx
// is done. The clients are those in the relay's list that have a token. Their limits are
// those that they have over HTTPS, and the account, the access log and the metrics have their
// requests.
//
// A request that was made more than 30 s before or after the relay's time, or before Serve
// listened, gets no answer. Neither does one that was altered, or that was answered before, by
// this relay or another, as far as docs/fleet.md says. The relay's log says so.
//
// Serve returns an error if NATS does not permit it to listen, or when nc is closed. While nc
// is disconnected it waits.
func Serve(ctx context.Context, nc *nats.Conn, r *relay.Relay, cfg ServerConfig) error {
	if nc == nil || r == nil {
		return errors.New("relaynats: Serve needs a connection and a relay")
	}
	if err := cfg.Check(); err != nil {
		return err
	}
	cfg.Subject = cmp.Or(cfg.Subject, DefaultSubject)
	if !ready(ctx, r) {
		return nil
	}
	s := &service{relay: r, cfg: cfg, memory: newMemory(time.Now()), messages: make(chan *nats.Msg, maxMessages)}
	changed := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(changed)
	// Each message comes to all relays, and to one of the group. Both come through one
	// channel, in this order.
	all, err := nc.ChanSubscribe(cfg.Subject, s.messages)
	if err != nil {
		return fmt.Errorf("relaynats: %w", err)
	}
	defer all.Unsubscribe()
	if s.group, err = nc.ChanQueueSubscribe(cfg.Subject, queue, s.messages); err != nil {
		return fmt.Errorf("relaynats: %w", err)
	}
	defer s.group.Unsubscribe()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		s.run(stop)
	}()
	err = s.wait(ctx, nc, changed)
	// In this order, or NATS would give a request to nobody. If nc is disconnected, it has
	// nothing to give.
	_, _ = all.Drain(), s.group.Drain()
	flush(nc) // then all is here that NATS has sent
	close(stop)
	<-stopped
	flush(nc) // and all answers have left, or are lost, as any may be
	return err
}

// ready waits until the relay has had its first blocks. Before that, another relay of the
// group would be the better one to ask. It returns false if ctx is done.
func ready(ctx context.Context, r *relay.Relay) bool {
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	for !r.Ready() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// wait returns when the relay must end. After each connection it looks whether NATS permits
// it to listen.
func (s *service) wait(ctx context.Context, nc *nats.Conn, changed <-chan nats.Status) error {
	for {
		limited, cancel := context.WithTimeout(ctx, startLimit)
		err := nc.FlushWithContext(limited)
		cancel()
		switch {
		case err == nil && denied(nc, s.cfg.Subject):
			return fmt.Errorf("relaynats: NATS does not permit this user to listen at %s, alone and in the queue group %s", s.cfg.Subject, queue)
		case nc.IsClosed():
			return errors.New("relaynats: the connection to NATS was closed")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// flush waits until NATS has got what was sent, and we what NATS sent before that.
func flush(nc *nats.Conn) {
	if nc.IsConnected() {
		_ = nc.FlushTimeout(stopLimit)
	}
}

// denied reports whether NATS has told that the user has no permission for a subject.
func denied(nc *nats.Conn, subject string) bool {
	err := nc.LastError()
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), strconv.Quote(subject))
}

// A service answers requests.
type service struct {
	relay    *relay.Relay
	cfg      ServerConfig
	memory   *memory
	messages chan *nats.Msg
	group    *nats.Subscription
}

// A job is a message to be answered.
type job struct {
	*nats.Msg
	again bool // it came before
}

// run answers messages. After stop it ends when none is left.
func (s *service) run(stop <-chan struct{}) {
	jobs := make(chan job, maxRequests)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer close(jobs)
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for j := range jobs {
				s.answer(j)
			}
		})
	}
	var heard overheard
	for {
		var m *nats.Msg
		select {
		case m = <-s.messages:
		case <-stop:
			select {
			case m = <-s.messages:
			default:
				return
			}
		}
		if len(m.Data) != requestSize {
			m.Data = nil // it is malformed, and may be long
		}
		digest := sha256.Sum256(m.Data)
		if m.Sub != s.group {
			heard.add(digest)
			continue
		}
		select {
		case jobs <- job{m, heard.count(digest) > 1}:
		default:
			s.refuse(errOverload)
		}
	}
}

// These are the reasons why a request gets no answer. They are for the relay's log.
var (
	errNoReply  = errors.New("the message does not say where to answer")
	errStale    = fmt.Errorf("the request is more than %v old or early: is this clock right, and the client's?", acceptedAge)
	errReplayed = errors.New("the request was answered before, or was made before this relay started, or this client makes too many")
	errOverload = fmt.Errorf("more than %d requests wait", maxRequests)
	errAltered  = errors.New("the request was not made with the client's token, or was altered")
)

// refuse counts a message that gets no answer.
func (s *service) refuse(why error) {
	s.relay.Hand(context.Background(), relay.Request{
		Remote: "nats", Call: s.cfg.Subject,
		Identify: func(*clients.List) (*clients.Member, error) { return nil, why },
	})
}

// answer answers a message, or nothing.
func (s *service) answer(m job) {
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
		}
		stale := !fresh(req.made, now)
		why := errAltered
		client, err := list.IdentifyKey(req.id, func(client *clients.Member, key clients.Key) bool {
			if !req.madeWith(key) {
				return false
			}
			var bad error
			switch public, bad = kem.NewPublicKey(req.public); {
			case bad != nil:
				why = errMalformedRequest
			case stale:
				why = fmt.Errorf("%s: %w", client.Name, errStale)
			case m.again || !s.memory.accept(client.Name, client.Rate, req.digest, req.made, now):
				why = fmt.Errorf("%s: %w", client.Name, errReplayed)
			default:
				return true
			}
			return false
		})
		switch {
		case errors.Is(err, clients.ErrNotVerified):
			return nil, why
		case stale: // and made by nobody
			return nil, errStale
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
