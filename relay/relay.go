// Package relay shares one account at Qrypt's entropy service among many programs.
// A [Relay] is an http.Handler that speaks the service's own API in both dialects: a
// program that was written for the service works with the relay when its host, CA
// and token are changed.
//
// A relay hands out the service's blocks and nothing else, each byte to one client.
// When it has none left it answers 503, as the service does. It never stretches,
// mixes or replays them. It refuses a block that the service gives again while that
// is among the last 4,096 blocks, or twice the stock, if that is more.
//
// A program that takes all its entropy from a relay trusts whoever runs the relay, as
// well as the service. A qrand.Source adds that entropy to its own, so neither can
// make it worse (docs/fleet.md). A copy of a relay's memory, such as a snapshot of its
// machine, contains the stock: a relay that is started from it hands the same blocks
// out again.
//
// Most people run it as qrand relay. To embed it, begin with [clients.Open], [New]
// and [Serve].
package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/hang"
	"example.com/qrand/internal/osrand"
	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
	"example.com/qrand/relay/internal/page"
)

// Config configures a Relay.
type Config struct {
	// Blocks supplies the entropy. Nil: qrypt.FromEnv().
	Blocks qrand.BlockSource

	// Clients may ask for entropy. Nil is an error.
	Clients *clients.List

	// Stock is how many blocks are kept ready, in memory, 2 to 4194304 (4 GiB). A new
	// relay asks the service for all of them. Zero: 4096 (4 MiB).
	Stock int

	// BatchBlocks is how many blocks a request to the service asks for, 1 to 512 and
	// at most half of Stock. A request is made when there is room for that many. Zero:
	// 512, or half of Stock.
	BatchBlocks int

	// MaxAge is how long a block may wait for a client. Older ones are wiped, and the
	// service is asked for others. Zero: no limit. In any case the Age header of each
	// answer says how old its entropy is.
	MaxAge time.Duration

	// Logger gets one Warn for each reason in an outage, when no endpoint gives blocks,
	// one Info when one does again, and changes of the list of clients. Outages that
	// follow each other within minutes get few lines. Nil: slog.Default().
	Logger *slog.Logger

	// AccessLog gets an Info for each request for entropy or an operator's page. Of those
	// that are refused it gets only a few in a second for each client, and for all who are
	// not known. Nil: none.
	AccessLog *slog.Logger

	// OperatorTokenAlways asks for an operator's token or certificate from this host,
	// too. Set it if a proxy on this host forwards requests from elsewhere without
	// saying so, as nginx does with nothing but proxy_pass. False: a request from this
	// host by its own name needs none.
	OperatorTokenAlways bool

	// Receipts says how to sign which blocks went to which client, for clients that ask for
	// it (qrypt.ReceiptKeyHeader). Nil: nothing is signed, and the header is ignored.
	Receipts *Receipts

	// Certificate is the one that the relay is served with. /metrics has its expiry, and
	// the page warns before it. Nil: not known.
	Certificate *Certificate
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
	if cfg.Receipts != nil {
		var err error
		if cfg.Receipts, err = cfg.Receipts.withDefaults(); err != nil {
			return cfg, err
		}
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
	refusals  refusalLog
	usage     *usageSaver
	conns     atomic.Pointer[connLimiter] // of Serve
	draining  atomic.Bool
	retry     atomic.Bool // somebody called Retry
	receipts  atomic.Int64
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
	key := make([]byte, 32) // of the fingerprints by which a block that comes again is recognized
	if _, err := io.ReadFull(osrand.Reader(), key); err != nil {
		return nil, fmt.Errorf("relay: crypto/rand failed: %w", err)
	}
	now := time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	r := &Relay{
		cfg:      cfg,
		stock:    &stock{maxAge: cfg.MaxAge},
		upstream: &upstream{now: Upstream{Since: now}},
		began:    now,
		wake:     make(chan struct{}, 1),
		cancel:   cancel,
	}
	r.metrics = newMetrics(r)
	r.events.Add(now, "the relay starts")
	refiller := newRefiller(r, key)
	r.endpoints = refiller.supply.Endpoints()
	r.done.Go(func() {
		refiller.supply.Run(ctx, refiller, r.wake)
		refiller.supply.Close()
	})
	r.done.Go(func() { r.keepHistory(ctx) })
	r.usage = &usageSaver{write: cfg.Clients.Save}
	r.done.Go(func() { r.watchClients(ctx) })
	r.done.Go(func() { r.keepUsage(ctx) })
	return r, nil
}

// ServeHTTP answers the calls of the two APIs (GET /api/v1/quantum-entropy; POST
// /api/v1/entropy, GET /api/v1/capabilities and /api/v1/healthtest), the probes (/healthz,
// /readyz), and to operators /metrics and the status page (/, and for programs
// /status.json and /clients.csv). A path must be exactly that: none is cleaned, and
// nothing is redirected.
func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch path := req.URL.Path; {
	case req.URL.RawPath != "":
		w.Header().Set("Connection", "close")
		refuse(http.StatusNotFound, "there is nothing at this path").send(w)
	case path == quantumPath, path == openPath:
		r.serveEntropy(w, req)
	case path == capabilitiesPath, path == healthPath:
		r.serveDevice(w, req)
	default:
		r.serveOperator(w, req)
	}
}

// Ready reports whether the relay can answer clients: it once had a block, and is not about
// to end. It stays ready while the stock is empty. Clients then get 503 with a Retry-After,
// which is better for them than a connection that a load balancer refuses.
func (r *Relay) Ready() bool { return r.Account().Received > 0 && !r.draining.Load() }

// Account says where every byte went.
func (r *Relay) Account() Account { return r.stock.balance() }

// Upstream is how the service is doing.
func (r *Relay) Upstream() Upstream { return r.upstream.status() }

// Close ends requests to the service, wipes the stock, saves what clients have used and
// closes their list. Requests still under way get 503; end the server first. If the disk
// or Config.Blocks hangs, Close returns after 5 s or 10 s with an error. If it is the disk,
// Close leaves the list open.
func (r *Relay) Close() error {
	r.draining.Store(true)
	r.cancel()
	r.stock.close()
	limit := closeLimit
	if err := r.usage.save(limit); errors.Is(err, errDiskHangs) {
		limit = 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	var hangs error
	if !hang.Call(ctx, closeLimit, r.done.Wait, func() {}) {
		hangs = errors.New("relay: a request to the service does not end: does the disk with its token hang?")
	}
	err := r.usage.save(limit) // what was used until then: a BlockSource may have kept us waiting
	if errors.Is(err, errDiskHangs) {
		return errors.Join(err, hangs)
	}
	return errors.Join(err, hangs, r.cfg.Clients.Close())
}

// Retry asks the service again at once, whatever it has answered: after a person has put
// the token or the account right. It is asked for what is missing in the stock.
func (r *Relay) Retry() {
	r.retry.Store(true)
	r.wakeRefiller()
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
		now := time.Now()
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
