package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"example.com/qrand"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// stepLimit is for entering a storm or leaving it: refused by both endpoints as one
// too many, a Source may wait 24 s for its turn. A variable for tests.
var stepLimit = 40 * time.Second

const (
	pollEvery = 20 * time.Millisecond  // where no event may come
	readFor   = 300 * time.Millisecond // in a storm, at least
)

// A theatre is the demo's stage: the emulated service in two regions, and a
// Source that a crowd reads from.
type theatre struct {
	service *qrypttest.Server
	src     *qrand.Source
	crowd   *crowd
	token   atomic.Pointer[string] // what the client sends now
	changed chan struct{}          // the Source's state may be another

	rows     []row
	problems []string
	marked   mark // where the last row ended
}

var regions = []string{"api-eus", "api-weu"}

func newTheatre(logger *slog.Logger) (*theatre, error) {
	service, err := qrypttest.Listen(qrypttest.Config{Regions: regions})
	if err != nil {
		return nil, err
	}
	t := &theatre{service: service, changed: make(chan struct{}, 1)}
	first := service.Token()
	t.token.Store(&first)

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(service.CAPEM())
	transport := qrypt.NewHTTPClient()
	transport.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
	transport.Transport.(*http.Transport).Proxy = nil // the emulator is in this process
	client, err := qrypt.New(qrypt.Config{
		Endpoints:  service.Endpoints(),
		Token:      func(context.Context) (string, error) { return *t.token.Load(), nil },
		HTTPClient: transport,
		Timeout:    5 * time.Second,
	})
	if err != nil {
		service.Close()
		return nil, err
	}
	t.src, err = qrand.New(qrand.Config{
		Blocks:         client,
		ReseedInterval: 200 * time.Millisecond,
		ReseedBytes:    1 << 50, // the crowd reads fast: let the clock alone decide
		BatchBlocks:    4,
		Logger:         logger,
		OnEvent: func(qrand.Event) {
			select {
			case t.changed <- struct{}{}:
			default:
			}
		},
	})
	if err != nil {
		service.Close()
		return nil, err
	}
	t.marked.at = time.Now()
	t.crowd = newCrowd(t.src, 2)
	return t, nil
}

// close ends everything that runs. It may be called twice.
func (t *theatre) close() {
	t.crowd.stop()
	t.src.Close()
	t.service.Close()
}

// newToken makes the client send another token, which it returns: the service
// does not know it yet.
func (t *theatre) newToken() string {
	token := rand.Text() + rand.Text()
	t.token.Store(&token)
	return token
}

// opening waits for the first block, and a read.
func (t *theatre) opening(ctx context.Context) {
	t.until(ctx, "start", func(st qrand.Status) bool { return st.State == qrand.Seeded })
	t.moreReads(ctx, "start", 0)
	t.note("start", "start", qrand.Seeded, "")
}

// play runs a storm and the recovery from it, and says what is going on. It
// returns how long it took the Source to notice, and to recover; -1 if it did not.
func (t *theatre) play(ctx context.Context, s storm, say func(string)) (noticed, recovered time.Duration) {
	say("the service begins to fail")
	began := time.Now()
	if err := s.begin(t); err != nil {
		t.problem(s.name, "cannot begin: %v", err)
		return -1, -1
	}
	t.until(ctx, s.name, func(st qrand.Status) bool {
		return st.State == qrand.Degraded && st.Reason == s.reason
	})
	noticed = entered(t.src.Status(), qrand.Degraded, began)
	say("degraded, and reads go on")
	t.moreReads(ctx, s.name, readFor)
	t.note(s.name, "storm", qrand.Degraded, s.reason)

	say("the service is well again; the Source waits until it may ask" + s.patience)
	began = time.Now()
	if err := s.end(t); err != nil {
		t.problem(s.name, "cannot end: %v", err)
	}
	t.until(ctx, s.name, func(st qrand.Status) bool { return st.State == qrand.Seeded })
	recovered = entered(t.src.Status(), qrand.Seeded, began)
	t.moreReads(ctx, s.name, 0)
	t.note(s.name, "recovery", qrand.Seeded, "")
	return noticed, recovered
}

// entered is how long after began the Source entered the state; -1 if it did not.
func entered(st qrand.Status, state qrand.State, began time.Time) time.Duration {
	if st.State != state || st.Since.Before(began) {
		return -1
	}
	return st.Since.Sub(began)
}

// until makes the Source ask the service, again and again as far as it may,
// until its Status is as wished. What it is not is the next row's business.
func (t *theatre) until(ctx context.Context, name string, wished func(qrand.Status) bool) {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	for !wished(t.src.Status()) && ctx.Err() == nil {
		// Its error is a part of the show: Status tells it, too.
		_ = t.src.Reseed(ctx)
		t.pause(ctx, func() bool { return wished(t.src.Status()) })
	}
}

// pause waits for a change of the Source, for a tenth of a second at most: a
// Source that has been told to wait answers Reseed at once.
func (t *theatre) pause(ctx context.Context, enough func() bool) {
	ctx, cancel := context.WithTimeout(ctx, 5*pollEvery)
	defer cancel()
	for !enough() && ctx.Err() == nil {
		select {
		case <-t.changed:
		case <-time.After(pollEvery):
		case <-ctx.Done():
		}
	}
}

// moreReads waits until the crowd has read some more, and for so long.
func (t *theatre) moreReads(ctx context.Context, name string, least time.Duration) {
	before := t.crowd.reads.Load()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	for time.Since(begin) < least || t.crowd.reads.Load() == before {
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			if context.Cause(ctx) == context.DeadlineExceeded {
				t.problem(name, "no read came through")
			}
			return
		}
	}
}

func (t *theatre) problem(name, format string, args ...any) {
	t.problems = append(t.problems, name+": "+fmt.Sprintf(format, args...))
}

// A storm is a way for the service to fail, for ever until it ends.
type storm struct {
	name   string // at most 13 characters: the table is to fit 80 columns
	reason qrand.Reason
	begin  func(*theatre) error
	end    func(*theatre) error

	patience string // why the recovery takes long, where it does
}

// storms are in the order that costs least: a rate limit slows the requests after
// it, so it comes last.
var storms = []storm{
	{"503 no supply", qrand.NoSupply, scripted(qrypttest.Fault{Kind: qrypttest.Status, Status: 503}), calm, ""},
	{"HTML garbage", qrand.Malformed, scripted(qrypttest.Fault{Kind: qrypttest.HTML}), calm, ""},
	{"service gone", qrand.Unreachable, leave, comeBack, ""},
	{"403 quota", qrand.QuotaReached, useUp, changeAccount, ""},
	{"401 revoked", qrand.Unauthorized, revoke, rotate, ""},
	{"429 too many", qrand.RateLimited, scripted(qrypttest.Fault{Kind: qrypttest.Status, Status: 429, RetryAfter: time.Second}), calm,
		", up to 24 s, for others may share the limit"},
}

func scripted(f qrypttest.Fault) func(*theatre) error {
	f.Times = -1
	return func(t *theatre) error {
		t.service.Script(f)
		return nil
	}
}

func calm(t *theatre) error {
	t.service.ClearScript()
	return nil
}

func leave(t *theatre) error {
	for _, region := range regions {
		t.service.Stop(region)
	}
	return nil
}

func comeBack(t *theatre) error {
	var all error
	for _, region := range regions {
		all = errors.Join(all, t.service.Start(region))
	}
	return all
}

// useUp refuses whoever has the first of the tokens, as a service does whose
// allotment for that account is used up.
func useUp(t *theatre) error {
	t.service.SetFault(func(r qrypttest.Request) *qrypttest.Fault {
		if r.Token != 0 {
			return nil
		}
		return &qrypttest.Fault{Kind: qrypttest.Status, Status: 403}
	})
	return nil
}

// changeAccount gives the client the token of another account, while that of
// the first is refused as before.
func changeAccount(t *theatre) error {
	old := *t.token.Load()
	t.service.SetTokens(old, t.newToken())
	return nil
}

// revoke makes the service forget the client's token.
func revoke(t *theatre) error {
	t.service.SetFault(nil)
	t.service.SetTokens()
	return nil
}

// rotate gives client and service a new token.
func rotate(t *theatre) error {
	t.service.SetTokens(t.newToken())
	return nil
}

// readSizes are what the crowd reads. All are long enough that a good reader
// fills none with zeros in anybody's lifetime.
var readSizes = []int{32, 16, 48, 1024, 33, 4096, 64, 70_001}

// breath is what a reader takes now and then, so that the emulator gets its
// share of a small machine.
const breath = 200 * time.Microsecond

// A crowd is goroutines that read all the while, and check what they get.
type crowd struct {
	reads, failed atomic.Int64
	first         atomic.Pointer[string] // what went wrong first
	stopping      atomic.Bool
	readers       sync.WaitGroup
}

func newCrowd(r io.Reader, size int) *crowd {
	c := new(crowd)
	for i := range size {
		c.readers.Go(func() { c.run(r, i) })
	}
	return c
}

// stop ends the goroutines and waits for them.
func (c *crowd) stop() {
	c.stopping.Store(true)
	c.readers.Wait()
}

func (c *crowd) run(r io.Reader, start int) {
	var buf, zeros [70_001]byte
	for i := start; !c.stopping.Load(); i++ {
		p := buf[:readSizes[i%len(readSizes)]]
		clear(p)
		n, err := r.Read(p)
		var wrong string
		switch {
		case err != nil:
			wrong = err.Error()
		case n != len(p):
			wrong = fmt.Sprintf("%d bytes of %d", n, len(p))
		case bytes.Equal(p, zeros[:len(p)]):
			wrong = fmt.Sprintf("%d zeros", n)
		}
		if i%len(readSizes) == 0 {
			time.Sleep(breath)
		}
		c.reads.Add(1)
		if wrong != "" {
			c.failed.Add(1)
			c.first.CompareAndSwap(nil, &wrong)
		}
	}
	clear(buf[:])
}
