// Package relay shares one account of Qrypt's entropy service among many
// programs. A [Relay] is an http.Handler that speaks the service's own API in
// both dialects, so that whatever was written for the service works with the
// relay by changing the host, the CA and the token.
//
// It hands out blocks of the service and nothing else, each byte to one client:
// when it has none left it answers 503, as the service does. What it never does
// is stretch, mix or replay them. A block that comes from the service again is
// refused while it is among the last 4,096, or twice the stock, if that is more.
//
// A program that takes all its entropy from a relay trusts whoever runs that as
// well as the service; a qrand.Source, which adds it to its own, is never worse
// off for either (docs/fleet.md). A copy of the relay's memory, such as a
// snapshot of its machine, has the stock: what is started from it hands the same
// blocks out again.
//
// Most will run it as qrand relay. To embed it, begin with [clients.Open],
// [New] and [Serve].
package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/clock"
	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
	"example.com/qrand/relay/internal/page"
)

// Config configures a Relay.
type Config struct {
	// Blocks supplies the entropy. Nil: qrypt.FromEnv().
	Blocks qrand.BlockSource

	// Clients are those who may ask. Nil is an error.
	Clients *clients.List

	// Stock is how many blocks are kept ready, in memory, 2 to 4194304 (4 GiB).
	// They are taken from the account at once. Zero: 4096 (4 MiB).
	Stock int

	// BatchBlocks is how many blocks a request to the service asks for, 1 to 512
	// and at most half of Stock; a request is made when there is room for as many.
	// Zero: 512, or half of Stock.
	BatchBlocks int

	// MaxAge is how long a block may wait for a client. Older ones are wiped, and
	// others taken from the account. Zero: no limit; each answer says in its Age
	// header how old its entropy is.
	MaxAge time.Duration

	// Logger gets one Warn when no endpoint gives blocks, for each reason in an
	// outage, one Info when one does again, and what concerns the list of clients.
	// Of outages that follow on each other within minutes it gets few lines.
	// Nil: slog.Default().
	Logger *slog.Logger

	// AccessLog gets an Info for each request for entropy or an operator's page; of
	// those whose client is not known, no more than a few in a second. Nil: none.
	AccessLog *slog.Logger

	// OperatorTokenAlways asks for an operator's token or certificate from this host
	// too. Set it where a proxy on this host sends on what comes from elsewhere
	// without saying so, as nginx does with no more than proxy_pass. False: requests
	// from this host by its own name need none.
	OperatorTokenAlways bool
}

const (
	defaultStock = 4096
	maxStock     = 1 << 22
)

func (cfg Config) withDefaults() (Config, error) {
	if cfg.Blocks != nil {
		if err := supply.Check(cfg.Blocks); err != nil {
			return cfg, fmt.Errorf("relay: Config.Blocks %w", err)
		}
	}
	switch {
	case cfg.Clients == nil:
		return cfg, errors.New("relay: Config.Clients is nil: who may ask? Open a list with clients.Open")
	case cfg.Stock != 0 && (cfg.Stock < 2 || cfg.Stock > maxStock):
		return cfg, fmt.Errorf("relay: Stock is %d: from 2 to %d blocks can be kept; zero means %d", cfg.Stock, maxStock, defaultStock)
	case cfg.BatchBlocks < 0 || cfg.BatchBlocks > qrypt.MaxBlocks:
		return cfg, fmt.Errorf("relay: BatchBlocks is %d: a request asks for 1 to %d", cfg.BatchBlocks, qrypt.MaxBlocks)
	case cfg.MaxAge < 0:
		return cfg, errors.New("relay: MaxAge is negative; zero means no limit")
	}
	if cfg.Stock == 0 {
		cfg.Stock = defaultStock
	}
	if cfg.BatchBlocks == 0 {
		cfg.BatchBlocks = min(qrypt.MaxBlocks, cfg.Stock/2)
	}
	if cfg.BatchBlocks > cfg.Stock/2 {
		return cfg, fmt.Errorf("relay: BatchBlocks is %d, more than half of a Stock of %d: the relay would run dry before it asks for more", cfg.BatchBlocks, cfg.Stock)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Blocks == nil {
		client, err := qrypt.FromEnv()
		if err != nil {
			return cfg, err
		}
		cfg.Blocks = client
	}
	return cfg, nil
}

// osReader is crypto/rand's. It is captured here because a program may set
// rand.Reader to a reader that is seeded through a relay.
var osReader = rand.Reader

// A Relay is an http.Handler. It is safe for concurrent use.
type Relay struct {
	cfg       Config
	stock     *stock
	upstream  *upstream
	endpoints []string // of upstream
	events    page.Events
	history   page.History
	counts    counts
	metrics   *metrics
	unknown   unknownClients // in the access log
	began     time.Time
	wake      chan struct{}
	cancel    context.CancelFunc
	done      sync.WaitGroup
}

// New returns a Relay that has begun to fill its stock; end it with Close.
func New(cfg Config) (*Relay, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32) // of the fingerprints by which a block is known again
	if _, err := io.ReadFull(osReader, key); err != nil {
		return nil, fmt.Errorf("relay: crypto/rand failed: %w", err)
	}
	now := clock.Now()
	ctx, cancel := context.WithCancel(context.Background())
	r := &Relay{
		cfg:      cfg,
		stock:    &stock{maxAge: cfg.MaxAge},
		upstream: newUpstream(now),
		began:    now,
		wake:     make(chan struct{}, 1),
		cancel:   cancel,
	}
	r.metrics = newMetrics(r)
	r.events.Add(now, "the relay starts")
	refiller := newRefiller(r, key)
	r.endpoints = refiller.supply.Endpoints()
	r.done.Go(func() { refiller.run(ctx) })
	r.done.Go(func() { r.keepHistory(ctx) })
	r.done.Go(func() { r.keepClients(ctx) })
	return r, nil
}

// ServeHTTP answers the API's calls (POST /api/v1/entropy, and GET
// /api/v1/quantum-entropy), the probes (/healthz, /readyz), and to operators
// /metrics and the status page (/). Paths are taken as they are: none is
// cleaned, and nothing is redirected.
func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if len(req.TransferEncoding) > 0 {
		// RFC 9112 section 6.3: what comes after a request with a Content-Length
		// too may be no request. The server does not say whether this one had both.
		w.Header().Set("Connection", "close")
	}
	switch path := req.URL.Path; {
	case req.URL.RawPath != "":
		refuse(http.StatusNotFound, "there is nothing at this path").send(w)
	case path == quantumPath, path == openPath:
		r.serveEntropy(w, req)
	default:
		r.serveOperator(w, req)
	}
}

// Ready reports whether there is a whole block to hand out.
func (r *Relay) Ready() bool { return r.stock.ready(clock.Now()) }

// Account says where every byte went.
func (r *Relay) Account() Account { return r.stock.balance() }

// Upstream is how the service is doing.
func (r *Relay) Upstream() Upstream { return r.upstream.status() }

// Close ends requests to the service, wipes the stock, saves what clients have
// used and closes their list. Requests still under way get 503; end the server first.
func (r *Relay) Close() error {
	r.cancel()
	r.stock.close()
	r.cfg.Clients.Save() // also below: this one comes before what a BlockSource may keep waiting
	r.done.Wait()
	return errors.Join(r.cfg.Clients.Save(), r.cfg.Clients.Close())
}

func (r *Relay) wakeRefiller() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// keepHistory takes the samples that the page is made of.
func (r *Relay) keepHistory(ctx context.Context) {
	tick := time.NewTicker(page.SampleInterval)
	defer tick.Stop()
	for {
		now := clock.Now()
		if news := r.history.Add(r.sample(now)); news != "" {
			r.events.Add(now, news)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// saveInterval is how much of what clients used may be forgotten where the
// process is killed.
const saveInterval = 10 * time.Second

// keepClients takes over changes of the list, and saves what clients have used.
func (r *Relay) keepClients(ctx context.Context) {
	var watch sync.WaitGroup
	defer watch.Wait()
	watch.Go(func() { r.cfg.Clients.Watch(ctx, r.clientsChanged) })
	tick := time.NewTicker(saveInterval)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := r.cfg.Clients.Save()
		if err != nil && !failed {
			r.cfg.Logger.Error("relay: what clients use cannot be saved: a restart would forget it", "error", err.Error())
			r.events.Add(clock.Now(), "what clients use cannot be saved")
		}
		failed = err != nil
	}
}

func (r *Relay) clientsChanged(err error) {
	if err != nil {
		r.cfg.Logger.Error("relay: the list of clients as it is now is not used, the old one holds", "error", err.Error())
		r.events.Add(clock.Now(), "the list of clients has an error; the old one holds")
		return
	}
	r.cfg.Logger.Info("relay: the list of clients has changed")
	r.events.Add(clock.Now(), "the list of clients has changed")
}
