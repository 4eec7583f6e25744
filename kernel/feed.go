// Package kernel feeds blocks of quantum entropy to the random pool of the Linux kernel.
// From there they reach code that ignores the reader it is passed, such as Go's own TLS
// and ecdsa.GenerateKey, and every other program of the host, such as OpenSSL.
//
// A program that makes keys itself does not need this package: it should read from a
// qrand.Source. Start with [Feed]; [New] and [Config] say more.
//
// Mixing cannot weaken the pool. The kernel hashes the block together with what the pool
// has, with BLAKE2s since Linux 5.18. Somebody who knows or chose the block still does
// not know the rest of the pool. So mixing needs no privilege. A credit is different: see
// [Config].
//
// A block reaches readers when the kernel next makes a key from the pool. The kernel does
// so every minute since Linux 5.19, or at once where this process has CAP_SYS_ADMIN. A
// [Result] says which it was.
package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/clock"
	"example.com/qrand/internal/health"
	"example.com/qrand/internal/osrand"
	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
)

// ErrClosed is returned after Close.
var ErrClosed = errors.New("kernel: the Feeder is closed")

// An Event is an attempt to feed a block.
type Event struct {
	Time    time.Time // when the attempt ended
	Result  Result
	Err     error        // why nothing was mixed
	Reason  qrand.Reason // the kind of the service's failure
	Changed bool         // it is the first attempt, or did not end as the last one did
	Next    time.Time    // when Run makes the next attempt
}

// A Feeder feeds the kernel's pool. It is used by one goroutine at a time.
type Feeder struct {
	cfg    Config
	pool   pool // nil after Close
	supply *supply.Supply
	due    time.Time // of the next block
	last   string    // how the last attempt ended
	fed    string    // what the last block achieved, as logged
	once   *Event    // where Once finds how its attempt ended; nil under Run
	stop   context.CancelCauseFunc
}

// A pool is that of the kernel, or of a test. Where an error of this package fits, its
// methods return that.
type pool interface {
	mix(p []byte) error              // without a privilege
	credit(p []byte, bits int) error // also mixes p; all of it, or it fails
	reseed() error
	close() error
}

// Feed feeds a block from blocks to the kernel's pool now and each minute, until ctx is
// done, through all failures of the service. It returns the error of ctx, or that of New,
// which has more options.
func Feed(ctx context.Context, blocks qrand.BlockSource) error {
	f, err := New(Config{Blocks: blocks})
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Run(ctx)
}

// New opens the kernel's pool and makes no request. On other systems than Linux
// its error wraps errors.ErrUnsupported. Call Close when done.
func New(cfg Config) (*Feeder, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	pool, err := openPool()
	if err != nil {
		return nil, err
	}
	if cfg.Blocks == nil {
		client, err := qrypt.FromEnv()
		if err != nil {
			pool.close()
			return nil, err
		}
		cfg.Blocks = client
	}
	key := make([]byte, 32) // of the fingerprints by which a block is known again
	if _, err := io.ReadFull(osrand.Reader(), key); err != nil {
		pool.close()
		return nil, fmt.Errorf("kernel: crypto/rand failed: %w", err)
	}
	return newFeeder(cfg, pool, key), nil
}

func newFeeder(cfg Config, pool pool, key []byte) *Feeder {
	return &Feeder{cfg: cfg, pool: pool, supply: supply.New(supply.Config{
		Source:         cfg.Blocks,
		Memory:         health.NewMemory(key, health.Remembered),
		MaxBlocks:      1, // one request a minute is few, and a stock in memory could be stolen
		RefuseEmulated: cfg.CreditBits > 0 && !cfg.AllowEmulated,
	})}
}

// Close closes the pool.
func (f *Feeder) Close() error {
	if f.pool == nil {
		return nil
	}
	err := f.pool.close()
	f.pool = nil
	return err
}

// Run feeds a block now and at each Interval until ctx is done, and returns ctx's
// error. While the service fails it asks when a qrand.Source would.
func (f *Feeder) Run(ctx context.Context) error {
	f.due, f.once = time.Now(), nil
	return f.run(ctx)
}

// Once feeds one block now: its error says why nothing was mixed. It tries the
// other endpoints before it gives up.
func (f *Feeder) Once(ctx context.Context) (Result, error) {
	f.due, f.once = time.Now(), new(Event)
	if !f.supply.SkipWaits(f.due) {
		return Result{}, f.held()
	}
	if err := f.run(ctx); err != nil && f.once.Err == nil && f.once.Result.Mixed == 0 {
		return Result{}, err
	}
	return f.once.Result, f.once.Err
}

// held returns why Once makes no request.
func (f *Feeder) held() error {
	return fmt.Errorf("kernel: it is not yet time to ask the service again: %w", f.supply.Err())
}

// errDone ends the run of Once.
var errDone = errors.New("kernel: done")

func (f *Feeder) run(ctx context.Context) error {
	if f.pool == nil {
		return ErrClosed
	}
	ctx, f.stop = context.WithCancelCause(ctx)
	defer f.stop(nil)
	f.supply.Run(ctx, (*user)(f), nil)
	f.supply.Close()
	if err := context.Cause(ctx); err != errDone {
		return err
	}
	return nil
}

// A user is a Feeder as a supply.User.
type user Feeder

// Want wants a block when one is due.
func (f *user) Want(now time.Time) (n int, again time.Time) {
	if now.Before(f.due) {
		return 0, f.due
	}
	return 1, time.Time{}
}

// Waiting does nothing: a Feeder does not show when the next request is due.
func (f *user) Waiting(time.Time) {}

// Handle feeds the block that came, or reports why none came.
func (f *user) Handle(o supply.Outcome, now time.Time) {
	e := Event{Time: now}
	ended := ""
	switch {
	case o.Err != nil:
		e.Err, e.Reason, e.Next = named(o.Err), qrand.Reason(o.Reason), o.Next
		ended = o.Reason
		if o.Warn {
			f.warn(e, o.Again)
		}
	case len(o.Blocks) > 0:
		e.Result, e.Err = (*Feeder)(f).add(o.Blocks[0])
		o.Blocks[0].Wipe()
		f.due = now.Add(f.cfg.Interval) // after an outage too: the missed blocks are not fetched
		e.Next = clock.Later(o.Next, f.due)
		ended = e.Result.String()
		switch {
		case ended != f.fed && e.Err != nil:
			f.warn(e, false)
		case ended != f.fed || o.Recovered || o.Moved:
			f.cfg.Logger.Info("kernel: "+ended, "from", e.Result.Origin.Endpoint)
		}
		f.fed = ended
	case o.Recovered:
		f.cfg.Logger.Info("kernel: "+f.fed, "recovered", true)
		return
	default: // the token was compared with the refused one
		if f.once != nil && o.Held { // and is the same
			f.once.Err = (*Feeder)(f).held()
			f.stop(errDone)
		}
		return
	}
	e.Changed = ended != f.last
	f.last = ended
	if f.once != nil && (o.Err == nil || o.Held) {
		*f.once = e
		f.stop(errDone)
	}
	f.cfg.OnEvent(e)
}

// named puts the name of this package before an error without a name.
func named(err error) error {
	var failure *qrypt.Error
	if errors.As(err, &failure) {
		return err
	}
	return fmt.Errorf("kernel: %w", err)
}

// warn logs that no block was mixed. again: the outage follows another within minutes.
func (f *user) warn(e Event, again bool) {
	text := "kernel: no block for the kernel's pool"
	if again {
		text += "; it follows another within 10 min, so its end is logged after 10 min without a failure"
	}
	args := []any{"error", e.Err.Error()}
	if !e.Next.IsZero() {
		args = append(args, "next", e.Next.Sub(e.Time).Round(time.Millisecond))
	}
	f.cfg.Logger.Warn(text, args...)
}

// add puts a block into the pool, and tries the credit and the reseed.
func (f *Feeder) add(b qrypt.Block) (Result, error) {
	p, bits := b.Bytes(), f.cfg.CreditBits
	r := Result{Origin: b.Origin()}
	switch {
	case bits == 0:
	case r.Origin.Emulated:
		r.NotCredited = ErrEmulated
	default:
		if r.NotCredited = f.pool.credit(p, bits); r.NotCredited == nil {
			r.Credited = bits
		}
	}
	if r.Credited == 0 { // a credit also mixes
		if err := f.pool.mix(p); err != nil {
			return Result{}, fmt.Errorf("kernel: the block could not be mixed: %w", err)
		}
	}
	r.Mixed = len(p)
	r.NotReseeded = f.pool.reseed()
	r.Reseeded = r.NotReseeded == nil
	return r, nil
}
