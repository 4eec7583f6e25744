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

// A scenario is the emulated service, and what goes wrong with it: faults of answers, new
// tokens, outages of regions.
type scenario struct {
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

func newScenario(cfg config, rep *report) (*scenario, error) {
	// A longer record would fill for hours, and look like a leak.
	service, err := qrypttest.Listen(qrypttest.Config{Regions: regions, Record: 100})
	if err != nil {
		return nil, err
	}
	sc := &scenario{
		cfg: cfg, rep: rep, service: service, close: sync.OnceFunc(service.Close),
		rand: mathrand.New(mathrand.NewPCG(cfg.seed, 1)),
		// After a 400 or a 404 from both regions a Source waits for an hour, as it
		// should: little else would be seen.
		script: slices.DeleteFunc(qrypttest.RandomScript(cfg.seed, 10_000), func(f qrypttest.Fault) bool {
			return f.Status == http.StatusBadRequest || f.Status == http.StatusNotFound
		}),
	}
	if cfg.kinds != nil {
		sc.script = nil
		for _, kind := range cfg.kinds {
			sc.script = append(sc.script, qrypttest.Fault{Kind: kind})
		}
	}
	first := service.Token()
	sc.token.Store(&first)
	service.SetFault(sc.nextFault)
	return sc, nil
}

// nextFault decides what goes wrong with a request.
func (sc *scenario) nextFault(r qrypttest.Request) *qrypttest.Fault {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if r.Token < 0 || sc.rand.Float64() >= sc.cfg.faults {
		return nil // refused because of its token, or an ordinary answer
	}
	f := sc.script[sc.next%len(sc.script)]
	sc.next++
	sc.faults++
	switch f.Kind {
	case qrypttest.Repeat, qrypttest.Stuck, qrypttest.Biased:
		sc.spoiled += int64(r.Blocks)
	}
	return &f
}

func (sc *scenario) counts() (faults, spoiled int64) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	return sc.faults, sc.spoiled
}

// client returns a client of the service in a dialect.
func (sc *scenario) client(d qrypt.Dialect, token qrypt.TokenFunc) (*qrypt.Client, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(sc.service.CAPEM())
	h := qrypt.NewHTTPClient()
	transport := h.Transport.(*http.Transport)
	transport.TLSClientConfig.RootCAs = roots
	transport.Proxy = nil // the emulator is in this process
	return qrypt.New(qrypt.Config{
		Endpoints:  sc.service.Endpoints(),
		Dialect:    d,
		Token:      token,
		HTTPClient: h,
		Timeout:    3 * time.Second, // what a Hang or a Drip costs
	})
}

func (sc *scenario) currentToken(context.Context) (string, error) { return *sc.token.Load(), nil }

// rotateTokens gives the account new tokens. One is given as it should be, to the clients
// before the service refuses the old one. The next is given to the service first, so that
// the clients are refused for a while. Each time the old token must be refused.
func (sc *scenario) rotateTokens(ctx context.Context) {
	for pause(ctx, sc.cfg.rotate) {
		old, fresh := sc.service.Token(), rand.Text()+rand.Text()
		if sc.rotations.Add(1)%2 == 1 {
			sc.service.SetTokens(fresh, old)
			sc.token.Store(&fresh)
			pause(ctx, sc.cfg.rotate/10)
			sc.service.SetTokens(fresh)
		} else {
			sc.service.SetTokens(fresh)
			pause(ctx, sc.cfg.rotate/10)
			sc.token.Store(&fresh)
		}
		sc.checkRefused(ctx, old)
	}
}

func (sc *scenario) checkRefused(ctx context.Context, old string) {
	client, err := sc.client(qrypt.DialectQuantumEntropy, qrypt.StaticToken(old))
	if err != nil {
		sc.rep.fail("a client: %v", err)
		return
	}
	for _, each := range slices.Repeat(client.Each(), 2) {
		blocks, err := each.Blocks(ctx, 1)
		switch {
		case err == nil:
			blocks[0].Wipe()
			sc.rep.fail("a token was accepted after it had been replaced")
			return
		case errors.Is(err, qrypt.ErrUnauthorized):
			sc.refusedTokens.Add(1)
			return
		case errors.Is(err, qrypt.ErrNetwork), errors.Is(err, qrypt.ErrTLS), errors.Is(err, qrypt.ErrTimeout):
			// An outage, or the certificate after it.
		case ctx.Err() != nil:
			return
		default:
			sc.rep.fail("an old token was answered with: %v", err)
			return
		}
	}
}

// stopRegions stops one region or the other, and every third time both. After each outage
// the next handshake meets an expired certificate.
func (sc *scenario) stopRegions(ctx context.Context) {
	for i := 0; pause(ctx, sc.cfg.outage*3/4); i++ {
		down := regions[i%2 : i%2+1]
		if i%3 == 2 {
			down = regions
		}
		for _, region := range down {
			sc.service.Stop(region)
		}
		sc.outages.Add(1)
		pause(ctx, sc.cfg.outage/4)
		for _, region := range down {
			sc.startRegion(ctx, region)
		}
		sc.service.Script(qrypttest.Fault{Kind: qrypttest.ExpiredCertificate})
	}
}

// portLimit is how long a region may wait for its port. A variable for tests.
var portLimit = 30 * time.Second

// startRegion starts a region again. While it was down, another process may
// have taken its port: then the outage lasts until the port is free.
func (sc *scenario) startRegion(ctx context.Context, region string) {
	deadline := time.Now().Add(portLimit)
	for first := true; ; first = false {
		err := sc.service.Start(region)
		switch {
		case err == nil:
			return
		case !errors.Is(err, syscall.EADDRINUSE):
			sc.rep.fail("region %s does not come back: %v", region, err)
			return
		case time.Now().After(deadline):
			sc.rep.fail("region %s does not come back: another process has kept its port for %v; that is not the Sources' fault, so begin again: %v", region, portLimit, err)
			return
		case first:
			sc.rep.note("another process has the port that region %s had; it stays down until that is free: %v", region, err)
		}
		if !pause(ctx, portLimit/100) {
			return
		}
	}
}
