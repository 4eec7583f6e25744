// Package kernel feeds blocks of quantum entropy to the Linux kernel's random
// pool, and so to whatever ignores the reader it is passed: Go's own TLS and
// ecdsa.GenerateKey, OpenSSL, every other program of the host.
//
// A program that makes keys itself does not need this package: it should read
// from a qrand.Source. Start with [Feed]; [New] and [Config] say more.
//
// Mixing cannot weaken the pool. The kernel hashes what it is given together with
// what it has, with BLAKE2s since Linux 5.18, and goes on as before if the block
// was known or chosen: whoever knows the block still lacks the rest. So mixing
// needs no privilege. To credit is another matter, see [Config].
//
// What was mixed reaches readers when the kernel next makes a key from the pool,
// which it does by itself every minute since Linux 5.19, or at once where this
// process has CAP_SYS_ADMIN. A [Result] says which it was.
package kernel

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/clock"
	"example.com/qrand/internal/health"
	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
)

// ErrClosed is returned after Close.
var ErrClosed = errors.New("kernel: the Feeder is closed")

// An Event is an attempt to feed a block.
type Event struct {
	Time    time.Time // when it ended
	Result  Result
	Err     error        // why nothing was mixed
	Reason  qrand.Reason // the kind of the service's failure
	Changed bool         // it is the first one, or ended otherwise than the last one did
	Next    time.Time    // when Run makes the next one
}

// A Feeder feeds the kernel's pool. It is used by one goroutine at a time.
type Feeder struct {
	cfg    Config
	pool   pool // nil after Close
	supply *supply.Supply
	due    time.Time // of the next block
	last   string    // how the last attempt ended
	fed    string    // what the last block achieved, as logged
	once   *Event    // of Once: where to note how it ended
	stop   context.CancelCauseFunc
}

// Feed feeds a block from blocks to the kernel's pool now and each minute, until
// ctx is done, through all failures of the service. It returns ctx's error, or
// what keeps it from beginning. For more say in it: New.
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
	if _, err := io.ReadFull(osReader, key); err != nil {
		pool.close()
		return nil, fmt.Errorf("kernel: crypto/rand failed: %w", err)
	}
	return newFeeder(cfg, pool, key), nil
}

// osReader is crypto/rand's, captured here because a program may set rand.Reader
// to a reader of its own.
var osReader = rand.Reader

func newFeeder(cfg Config, pool pool, key []byte) *Feeder {
	return &Feeder{cfg: cfg, pool: pool, supply: supply.New(supply.Config{
		Source:         cfg.Blocks,
		Memory:         health.NewMemory(key, health.Remembered),
		MaxBlocks:      1, // a stock would save requests, of which one a minute is few, and be entropy that waits in memory to be stolen
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
	f.due, f.once = clock.Now(), nil
	return f.run(ctx)
}

// Once feeds one block now: its error says why nothing was mixed. It tries the
// other endpoints before it gives up.
func (f *Feeder) Once(ctx context.Context) (Result, error) {
	f.due, f.once = clock.Now(), new(Event)
	if !f.supply.SkipWaits(f.due) {
		return Result{}, f.held()
	}
	if err := f.run(ctx); err != nil && f.once.Err == nil && f.once.Result.Mixed == 0 {
		return Result{}, err
	}
	return f.once.Result, f.once.Err
}

// held is why no request is made for Once.
func (f *Feeder) held() error {
	return fmt.Errorf("kernel: it is not yet time to ask the service again: %w", f.supply.Err())
}

// errDone ends a run by Once.
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

// A user is a Feeder as its supply sees it.
type user Feeder

// Want wants a block when one is due.
func (f *user) Want(now time.Time) (n int, again time.Time) {
	if now.Before(f.due) {
		return 0, f.due
	}
	return 1, time.Time{}
}

// Waiting has nothing to note.
func (f *user) Waiting(time.Time) {}

// Handle feeds the block that came, or tells that none did.
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
		f.due = now.Add(f.cfg.Interval) // none is made up for after an outage
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
	default: // a token was looked at
		if f.once != nil && o.Held { // and is the one refused
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

// named gives an error that has none the name of this package.
func named(err error) error {
	var failure *qrypt.Error
	if errors.As(err, &failure) {
		return err
	}
	return fmt.Errorf("kernel: %w", err)
}

// warn says that no block was mixed; again: in a second outage after the first.
func (f *user) warn(e Event, again bool) {
	text := "kernel: no block for the kernel's pool"
	if again {
		text += "; it follows another within 10 min, so its end is told after 10 min without a failure"
	}
	args := []any{"error", e.Err.Error()}
	if !e.Next.IsZero() {
		args = append(args, "next", e.Next.Sub(e.Time).Round(time.Millisecond))
	}
	f.cfg.Logger.Warn(text, args...)
}

// add puts a block into the pool, with the credit and the reseed that it may have.
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
	if r.Credited == 0 { // crediting mixes, too
		if err := f.pool.mix(p); err != nil {
			return Result{}, fmt.Errorf("kernel: the block could not be mixed: %w", err)
		}
	}
	r.Mixed = len(p)
	r.NotReseeded = f.pool.reseed()
	r.Reseeded = r.NotReseeded == nil
	return r, nil
}
