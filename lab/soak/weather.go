package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

var regions = []string{"api-eus", "api-weu"}

// A weather is the service, and what happens to it.
type weather struct {
	cfg     config
	rep     *report
	service *qrypttest.Server
	token   atomic.Pointer[string] // what the clients send
	close   func()

	rotations, refusedTokens, outages atomic.Int64

	mu      sync.Mutex
	rand    *mathrand.Rand
	script  []qrypttest.Fault // the faults to come; the first follows the last
	next    int
	faults  int64 // met
	spoiled int64 // blocks of answers that are in good form and not in Issued
}

func newWeather(cfg config, rep *report) (*weather, error) {
	// More of a record would take hours to be full, and would look like a leak.
	service, err := qrypttest.Listen(qrypttest.Config{Regions: regions, Record: 100})
	if err != nil {
		return nil, err
	}
	w := &weather{
		cfg: cfg, rep: rep, service: service, close: sync.OnceFunc(service.Close),
		rand: mathrand.New(mathrand.NewPCG(cfg.seed, 1)),
		// A 400 or a 404 from both regions holds a Source for an hour, as it
		// should: there would be little else to see.
		script: slices.DeleteFunc(qrypttest.RandomScript(cfg.seed, 10_000), func(f qrypttest.Fault) bool {
			return f.Status == http.StatusBadRequest || f.Status == http.StatusNotFound
		}),
	}
	if cfg.kinds != nil {
		w.script = nil
		for _, kind := range cfg.kinds {
			w.script = append(w.script, qrypttest.Fault{Kind: kind})
		}
	}
	first := service.Token()
	w.token.Store(&first)
	service.SetFault(w.fault)
	return w, nil
}

// fault decides what a request meets.
func (w *weather) fault(r qrypttest.Request) *qrypttest.Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Token < 0 || w.rand.Float64() >= w.cfg.faults {
		return nil // refused on the token's account, or ordinary
	}
	f := w.script[w.next%len(w.script)]
	w.next++
	w.faults++
	switch f.Kind {
	case qrypttest.Repeat, qrypttest.Stuck, qrypttest.Biased:
		w.spoiled += int64(r.Blocks)
	}
	return &f
}

func (w *weather) met() (faults, spoiled int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.faults, w.spoiled
}

// client returns a client of the service in a dialect.
func (w *weather) client(d qrypt.Dialect, token qrypt.TokenFunc) (*qrypt.Client, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.service.CAPEM())
	h := qrypt.NewHTTPClient()
	transport := h.Transport.(*http.Transport)
	transport.TLSClientConfig.RootCAs = roots
	transport.Proxy = nil // the emulator is in this process
	return qrypt.New(qrypt.Config{
		Endpoints:  w.service.Endpoints(),
		Dialect:    d,
		Token:      token,
		HTTPClient: h,
		Timeout:    3 * time.Second, // what a Hang or a Drip costs
	})
}

func (w *weather) now(context.Context) (string, error) { return *w.token.Load(), nil }

// rotateTokens gives the account a new token time and again: now as one should,
// the clients' first and then the service's, now the service's first, so that
// the clients are refused for a while. Each time the old one must be refused.
func (w *weather) rotateTokens(ctx context.Context) {
	for pause(ctx, w.cfg.rotate) {
		old, fresh := w.service.Token(), rand.Text()+rand.Text()
		if w.rotations.Add(1)%2 == 1 {
			w.service.SetTokens(fresh, old)
			w.token.Store(&fresh)
			pause(ctx, w.cfg.rotate/10)
			w.service.SetTokens(fresh)
		} else {
			w.service.SetTokens(fresh)
			pause(ctx, w.cfg.rotate/10)
			w.token.Store(&fresh)
		}
		w.checkRefused(ctx, old)
	}
}

func (w *weather) checkRefused(ctx context.Context, old string) {
	client, err := w.client(qrypt.DialectQuantumEntropy, qrypt.StaticToken(old))
	if err != nil {
		w.rep.fail("a client: %v", err)
		return
	}
	for _, each := range slices.Repeat(client.Each(), 2) {
		blocks, err := each.Blocks(ctx, 1)
		switch {
		case err == nil:
			blocks[0].Wipe()
			w.rep.fail("a token was accepted after it had been replaced")
			return
		case errors.Is(err, qrypt.ErrUnauthorized):
			w.refusedTokens.Add(1)
			return
		case errors.Is(err, qrypt.ErrNetwork), errors.Is(err, qrypt.ErrTLS), errors.Is(err, qrypt.ErrTimeout):
			// An outage, or the certificate after it.
		case ctx.Err() != nil:
			return
		default:
			w.rep.fail("an old token was answered with: %v", err)
			return
		}
	}
}

// takeRegionsDown stops one region or the other, and every third time both, and
// has the next handshake after it meet an expired certificate.
func (w *weather) takeRegionsDown(ctx context.Context) {
	for i := 0; pause(ctx, w.cfg.outage*3/4); i++ {
		down := regions[i%2 : i%2+1]
		if i%3 == 2 {
			down = regions
		}
		for _, region := range down {
			w.service.Stop(region)
		}
		w.outages.Add(1)
		pause(ctx, w.cfg.outage/4)
		for _, region := range down {
			w.bringUp(ctx, region)
		}
		w.service.Script(qrypttest.Fault{Kind: qrypttest.ExpiredCertificate})
	}
}

// portLimit is how long a region may wait for its port. A variable for tests.
var portLimit = 30 * time.Second

// bringUp starts a region again. While it was down, its port was anybody's: if
// another process has it now, the outage lasts until it is free.
func (w *weather) bringUp(ctx context.Context, region string) {
	deadline := time.Now().Add(portLimit)
	for first := true; ; first = false {
		err := w.service.Start(region)
		switch {
		case err == nil:
			return
		case !errors.Is(err, syscall.EADDRINUSE):
			w.rep.fail("region %s does not come back: %v", region, err)
			return
		case time.Now().After(deadline):
			w.rep.fail("region %s does not come back: another process has kept its port for %v; that is not the Sources' fault, so begin again: %v", region, portLimit, err)
			return
		case first:
			w.rep.note("another process has the port that region %s had; it stays down until that is free: %v", region, err)
		}
		if !pause(ctx, portLimit/100) {
			return
		}
	}
}
