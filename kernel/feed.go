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
	"example.com/qrand/internal/outage"
	"example.com/qrand/qrypt"
)

// ErrClosed is returned after Close.
var ErrClosed = errors.New("kernel: the Feeder is closed")

// An Event is an attempt to feed a block.
type Event struct {
	Time    time.Time
	Result  Result
	Err     error        // why nothing was mixed
	Reason  qrand.Reason // the kind of the service's failure
	Changed bool         // it is the first one, or ended otherwise than the last one did
	Next    time.Time    // when Run makes the next one

	elsewhere bool // that is at once, for another endpoint has not been asked yet
}

// A Feeder feeds the kernel's pool. It is used by one goroutine at a time.
type Feeder struct {
	cfg      Config
	pool     pool // nil after Close
	memory   *health.Memory
	requests *outage.Schedule
	last     string // what was achieved last
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
	return &Feeder{cfg: cfg, pool: pool, memory: health.NewMemory(key, health.Remembered), requests: outage.NewSchedule(1)}
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
	for {
		e := f.attempt(ctx)
		if errors.Is(e.Err, ErrClosed) {
			return e.Err
		}
		if err := f.await(ctx, e.Next); err != nil {
			return err
		}
	}
}

// Once feeds one block now: its error says why nothing was mixed. It tries the
// other endpoints before it gives up.
func (f *Feeder) Once(ctx context.Context) (Result, error) {
	for {
		e := f.attempt(ctx)
		if !e.elsewhere || sleepUntil(ctx, e.Next) != nil {
			return e.Result, e.Err
		}
	}
}

// await waits until an attempt is due, or sooner until there is another token than
// the one that was refused.
func (f *Feeder) await(ctx context.Context, due time.Time) error {
	for {
		tokenAt := f.requests.TokenAt()
		if tokenAt.IsZero() || !tokenAt.Before(due) {
			return sleepUntil(ctx, due)
		}
		if err := sleepUntil(ctx, tokenAt); err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, outage.TokenInterval)
		changed := outage.TokenChanged(limited, f.cfg.Blocks)
		cancel()
		f.requests.TokenChecked(changed, clock.Now())
		if changed {
			due = f.requests.NotBefore()
		}
	}
}

// sleepUntil returns nil at a time, or ctx's error before.
func sleepUntil(ctx context.Context, at time.Time) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(at.Sub(clock.Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// attempt feeds one block, and tells how that went.
func (f *Feeder) attempt(ctx context.Context) Event {
	e := Event{Time: clock.Now()}
	if f.pool == nil {
		e.Err = ErrClosed
		return e
	}
	f.requests.Began(e.Time)
	block, err := f.fetch(ctx)
	if err != nil && ctx.Err() != nil {
		e.Err = context.Cause(ctx) // the caller gave up, nothing has failed
		return e
	}
	achieved := ""
	if err != nil {
		word, elsewhere := f.requests.Failed(err, outage.Endpoints(f.cfg.Blocks), clock.Now())
		e.Err, e.Reason, e.elsewhere = err, qrand.Reason(word), elsewhere
		e.Next = f.requests.NotBefore()
		achieved = word
	} else {
		e.Result, e.Err = f.add(block)
		block.Wipe()
		f.requests.Answered()
		e.Next = clock.Later(f.requests.NotBefore(), e.Time.Add(f.cfg.Interval))
		achieved = e.Result.String()
	}
	e.Changed = achieved != f.last
	f.last = achieved
	if e.Changed {
		f.log(e)
	}
	f.cfg.OnEvent(e)
	return e
}

func (f *Feeder) log(e Event) {
	if e.Err != nil {
		f.cfg.Logger.Warn("kernel: no block for the kernel's pool", "error", e.Err.Error(), "next", e.Next.Sub(e.Time).Round(time.Millisecond))
		return
	}
	f.cfg.Logger.Info("kernel: "+e.Result.String(), "from", e.Result.Origin.Endpoint)
}

// fetch asks for a block that can be used. It asks for no more than one: a stock
// would save requests, of which one a minute is few, and be entropy that waits in
// memory to be stolen.
func (f *Feeder) fetch(ctx context.Context) (qrypt.Block, error) {
	limited, cancel := context.WithTimeout(ctx, outage.HangLimit)
	defer cancel()
	blocks, err := f.cfg.Blocks.Blocks(limited, 1)
	switch {
	case err == nil:
		if err = outage.Inspect(f.cfg.Blocks, f.memory, blocks, 1); err != nil {
			err = fmt.Errorf("kernel: %w", err)
		}
	case limited.Err() != nil:
		err = fmt.Errorf("kernel: %w", outage.ErrHangs)
	}
	if err != nil {
		for _, b := range blocks {
			b.Wipe()
		}
		return qrypt.Block{}, err
	}
	return blocks[0], nil
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
