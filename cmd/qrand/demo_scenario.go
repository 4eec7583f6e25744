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

// stepLimit bounds the wait for the begin or the end of an outage. After a 429
// of both endpoints a Source may wait 24 s for its turn. Tests change it.
var stepLimit = 40 * time.Second

const (
	pollEvery = 20 * time.Millisecond  // where there may be no event
	readFor   = 300 * time.Millisecond // in each outage, at least
)

// A scenario is what the demo runs: the emulated service in two regions, and a
// Source that goroutines read from.
type scenario struct {
	service *qrypttest.Server
	src     *qrand.Source
	readers *readers
	token   atomic.Pointer[string] // what the client sends now
	changed chan struct{}          // the Source's state may have changed

	rows     []row
	problems []string
	last     counters // when the last row ended
}

var regions = []string{"api-eus", "api-weu"}

func newScenario(logger *slog.Logger) (*scenario, error) {
	service, err := qrypttest.Listen(qrypttest.Config{Regions: regions})
	if err != nil {
		return nil, err
	}
	s := &scenario{service: service, changed: make(chan struct{}, 1)}
	first := service.Token()
	s.token.Store(&first)

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(service.CAPEM())
	httpClient := qrypt.NewHTTPClient()
	transport := httpClient.Transport.(*http.Transport)
	transport.TLSClientConfig.RootCAs = roots
	transport.Proxy = nil // the emulator is in this process
	client, err := qrypt.New(qrypt.Config{
		Endpoints:  service.Endpoints(),
		Token:      func(context.Context) (string, error) { return *s.token.Load(), nil },
		HTTPClient: httpClient,
		Timeout:    5 * time.Second,
	})
	if err == nil {
		s.src, err = qrand.New(qrand.Config{
			Blocks:         client,
			ReseedInterval: 200 * time.Millisecond,
			ReseedBytes:    1 << 50, // the readers are fast: only the clock decides
			BatchBlocks:    4,
			Logger:         logger,
			OnEvent: func(qrand.Event) {
				select {
				case s.changed <- struct{}{}:
				default:
				}
			},
		})
	}
	if err != nil {
		service.Close()
		return nil, err
	}
	s.last.at = time.Now()
	s.readers = startReaders(s.src, 2)
	return s, nil
}

// close ends everything that runs. It may be called twice.
func (s *scenario) close() {
	s.readers.stop()
	s.src.Close()
	s.service.Close()
}

// start waits for the first block, and a read.
func (s *scenario) start(ctx context.Context) {
	s.waitStatus(ctx, func(st qrand.Status) bool { return st.State == qrand.Seeded })
	s.waitReads(ctx, "start", 0)
	s.addRow("start", "start", qrand.Seeded, "")
}

// run runs an outage and the recovery from it, and reports what is going on. It
// returns how long the Source took to notice, and to recover; -1 if it did not.
func (s *scenario) run(ctx context.Context, o outage, report func(string)) (noticed, recovered time.Duration) {
	report("the service begins to fail")
	began := time.Now()
	if err := o.begin(s); err != nil {
		s.addProblem(o.name, "cannot begin: %v", err)
		return -1, -1
	}
	s.waitStatus(ctx, func(st qrand.Status) bool { return st.State == qrand.Degraded && st.Reason == o.reason })
	noticed = timeTo(qrand.Degraded, s.src.Status(), began)
	report("degraded, and reads go on")
	s.waitReads(ctx, o.name, readFor)
	s.addRow(o.name, "storm", qrand.Degraded, o.reason)

	report("the service is well again; the Source waits until it may ask" + o.patience)
	began = time.Now()
	if err := o.end(s); err != nil {
		s.addProblem(o.name, "cannot end: %v", err)
	}
	s.waitStatus(ctx, func(st qrand.Status) bool { return st.State == qrand.Seeded })
	recovered = timeTo(qrand.Seeded, s.src.Status(), began)
	s.waitReads(ctx, o.name, 0)
	s.addRow(o.name, "recovery", qrand.Seeded, "")
	return noticed, recovered
}

// timeTo is how long after began the Source entered the state; -1 if it did not.
func timeTo(state qrand.State, st qrand.Status, began time.Time) time.Duration {
	if st.State != state || st.Since.Before(began) {
		return -1
	}
	return st.Since.Sub(began)
}

// waitStatus makes the Source ask the service, as often as it may, until its
// Status is as wished or the time is up: addRow finds what is wrong then.
func (s *scenario) waitStatus(ctx context.Context, wished func(qrand.Status) bool) {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	for !wished(s.src.Status()) && ctx.Err() == nil {
		_ = s.src.Reseed(ctx) // Status has its error, too
		// A Source that has been told to wait answers Reseed at once.
		for next := time.Now().Add(5 * pollEvery); time.Now().Before(next) && !wished(s.src.Status()) && ctx.Err() == nil; {
			select {
			case <-s.changed:
			case <-time.After(pollEvery):
			case <-ctx.Done():
			}
		}
	}
}

// waitReads waits until there was another read, and for at least so long.
func (s *scenario) waitReads(ctx context.Context, name string, least time.Duration) {
	before, began := s.readers.reads.Load(), time.Now()
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	for time.Since(began) < least || s.readers.reads.Load() == before {
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			if context.Cause(ctx) == context.DeadlineExceeded {
				s.addProblem(name, "no read came through")
			}
			return
		}
	}
}

func (s *scenario) addProblem(name, format string, args ...any) {
	s.problems = append(s.problems, name+": "+fmt.Sprintf(format, args...))
}

// A row is a part of the demo, and what the Source's Status was at its end.
type row struct {
	Phase   string       `json:"phase"`
	Part    string       `json:"part"` // start, storm or recovery
	State   qrand.State  `json:"state"`
	Reason  qrand.Reason `json:"reason"`
	Reads   int64        `json:"reads"`
	Failed  int64        `json:"failed_reads"`
	Blocks  int64        `json:"blocks_used"`
	Seconds float64      `json:"seconds"`

	expected bool // state and reason are those of the outage table
}

type counters struct {
	at                    time.Time
	reads, failed, blocks int64
}

// addRow ends a row, and finds what is wrong with it.
func (s *scenario) addRow(phase, part string, state qrand.State, reason qrand.Reason) {
	st := s.src.Status()
	now := counters{time.Now(), s.readers.reads.Load(), s.readers.failed.Load(), st.Blocks}
	r := row{
		Phase: phase, Part: part, State: st.State, Reason: st.Reason,
		Reads:    now.reads - s.last.reads,
		Failed:   now.failed - s.last.failed,
		Blocks:   now.blocks - s.last.blocks,
		Seconds:  float64(now.at.Sub(s.last.at).Milliseconds()) / 1000,
		expected: st.State == state && st.Reason == reason,
	}
	s.rows, s.last = append(s.rows, r), now
	if !r.expected {
		s.addProblem(phase, "the state is %s, not %s", stateText(st.State, st.Reason), stateText(state, reason))
	}
	if r.Failed > 0 {
		s.addProblem(phase, "%s failed, the first with: %s", count(r.Failed, "read"), *s.readers.firstFailure.Load())
	}
}

func stateText(state qrand.State, reason qrand.Reason) string {
	if reason == "" {
		return state.String()
	}
	return fmt.Sprintf("%v, %s", state, reason)
}

// An outage is a way in which the service fails until the outage is ended.
type outage struct {
	name   string // at most 13 characters, so that the table fits 80 columns
	reason qrand.Reason
	begin  func(*scenario) error
	end    func(*scenario) error

	patience string // why the recovery takes long, where it does
}

// outages are in the order that takes the least time. A rate limit slows the
// requests after it, so it comes last.
var outages = []outage{
	{"503 no supply", qrand.NoSupply, failWith(qrypttest.Fault{Kind: qrypttest.Status, Status: 503}), stopFailing, ""},
	{"HTML garbage", qrand.Malformed, failWith(qrypttest.Fault{Kind: qrypttest.HTML}), stopFailing, ""},
	{"service gone", qrand.Unreachable, stopService, startService, ""},
	{"403 quota", qrand.QuotaReached, useUpQuota, changeAccount, ""},
	{"401 revoked", qrand.Unauthorized, revokeToken, replaceToken, ""},
	{"429 too many", qrand.RateLimited, failWith(qrypttest.Fault{Kind: qrypttest.Status, Status: 429, RetryAfter: time.Second}), stopFailing,
		", up to 24 s, for others may share the limit"},
}

func failWith(f qrypttest.Fault) func(*scenario) error {
	f.Times = -1
	return func(s *scenario) error {
		s.service.Script(f)
		return nil
	}
}

func stopFailing(s *scenario) error {
	s.service.ClearScript()
	return nil
}

func stopService(s *scenario) error {
	for _, region := range regions {
		s.service.Stop(region)
	}
	return nil
}

func startService(s *scenario) error {
	var all error
	for _, region := range regions {
		all = errors.Join(all, s.service.Start(region))
	}
	return all
}

// useUpQuota refuses requests with the first token, as a service does when the
// allotment of that account is used up.
func useUpQuota(s *scenario) error {
	s.service.SetFault(func(r qrypttest.Request) *qrypttest.Fault {
		if r.Token != 0 {
			return nil
		}
		return &qrypttest.Fault{Kind: qrypttest.Status, Status: 403}
	})
	return nil
}

// changeAccount gives the client the token of another account. The first
// account's is refused as before.
func changeAccount(s *scenario) error {
	old := *s.token.Load()
	s.service.SetTokens(old, s.newToken())
	return nil
}

// revokeToken makes the service forget the client's token.
func revokeToken(s *scenario) error {
	s.service.SetFault(nil)
	s.service.SetTokens()
	return nil
}

// replaceToken gives client and service a new token.
func replaceToken(s *scenario) error {
	s.service.SetTokens(s.newToken())
	return nil
}

// newToken makes the client send another token, which it returns. The service
// does not know it yet.
func (s *scenario) newToken() string {
	token := rand.Text() + rand.Text()
	s.token.Store(&token)
	return token
}

// readSizes are what the readers read. All are so long that a good source will
// never fill one with zeros.
var readSizes = []int{32, 16, 48, 1024, 33, 4096, 64, 70_001}

// readerPause is for now and then, so that the emulator gets its share of a
// small machine.
const readerPause = 200 * time.Microsecond

// readers are goroutines that read all the time, and check what they get.
type readers struct {
	reads, failed atomic.Int64
	firstFailure  atomic.Pointer[string]
	stopping      atomic.Bool
	running       sync.WaitGroup
}

func startReaders(src io.Reader, n int) *readers {
	r := new(readers)
	for i := range n {
		r.running.Go(func() { r.run(src, i) })
	}
	return r
}

// stop ends the goroutines and waits for them.
func (r *readers) stop() {
	r.stopping.Store(true)
	r.running.Wait()
}

func (r *readers) run(src io.Reader, first int) {
	var buf, zeros [70_001]byte
	for i := first; !r.stopping.Load(); i++ {
		p := buf[:readSizes[i%len(readSizes)]]
		clear(p)
		n, err := src.Read(p)
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
			time.Sleep(readerPause)
		}
		r.reads.Add(1)
		if wrong != "" {
			r.failed.Add(1)
			r.firstFailure.CompareAndSwap(nil, &wrong)
		}
	}
	clear(buf[:])
}
