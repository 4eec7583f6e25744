// Package qrand is a random reader for key-generation code that adds quantum
// entropy, from Qrypt's Entropy-as-a-Service, to crypto/rand.
//
// Most programs should use crypto/rand and nothing else. This package is for
// those who must show where the entropy of their keys came from, or who want a
// second, independent source in it. Start with [New], [Source] and [Config].
//
// A Source is never weaker than crypto/rand. In the default mode each byte that it
// returns is a byte of crypto/rand, fresh for this Read, XORed with a byte of a
// ChaCha20 generator that knows nothing of it. The two lines that do this are in
// readPiece, below Read.
//
// A Read does not fail when the service does, unless a [Policy] says so. And a Source
// does not hide it: [Source.Status], [Config.OnEvent] and the log say at any moment
// whether quantum entropy is in it, and if not, why.
//
// On Go 1.26 and later, ecdsa.GenerateKey and others ignore the reader that they are
// passed, without an error. The README lists them, and [CustomReaderHonored] reports
// how it is in the running program. Package [example.com/qrand/keygen] makes keys from
// the reader itself, such as keygen.ECDSA(elliptic.P256(), src).
package qrand

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/qrand/internal/chacha20"
	"example.com/qrand/internal/clock"
	"example.com/qrand/internal/health"
	"example.com/qrand/internal/osrand"
	"example.com/qrand/internal/supply"
)

// A Source is an io.Reader of random bytes. It is safe for concurrent use.
type Source struct {
	parts
	cfg    Config
	shards []*shard

	hints [1 << hintBits]atomic.Uint32 // which shard a goroutine used last, by its stack

	newest  atomic.Pointer[time.Time] // when the newest block in the keys came from the service
	closed  atomic.Bool
	refused atomic.Bool   // a Read was refused as stale since the last reseed
	aging   atomic.Bool   // a Read found that the newest block will soon be too old
	wake    chan struct{} // wakes the reseeder
	seeded  chan struct{} // closed when a block is in the keys
	cancel  context.CancelFunc
	done    chan struct{} // closed when the reseeder has ended
	closing sync.Once

	began        time.Time
	refusedReads atomic.Int64

	mu       sync.Mutex
	status   Status        // without what the shards count
	asks     []*ask        // calls of Reseed that the reseeder has not seen yet
	replied  chan struct{} // closed, and made anew, whenever the reseeder replies to a call of Reseed
	lastErr  error         // of the last request; nil if it succeeded
	hopeless chan struct{} // closed, and made anew, whenever no endpoint takes the token
	untold   bool          // that is so, and no call of WaitSeeded has returned it yet
}

// New returns a Source seeded from crypto/rand, ready for Read, and begins to
// fetch quantum entropy in the background. It does not wait for the network:
// WaitSeeded does. Call Close when done with it: nothing else, and no finalizer,
// ends its goroutine. A Source that is dropped without Close keeps its goroutine, its
// keys and its stock of blocks until the process ends.
//
// The first New in a process compares what this processor computes for ChaCha20 and
// HMAC with known answers. If they differ, New returns an error.
func New(cfg Config) (*Source, error) {
	return newSource(cfg, min(runtime.GOMAXPROCS(0), maxShards), realParts())
}

// Read fills p with random bytes. Under the Policy Augment it always returns
// len(p) and nil. Otherwise it may return 0 and ErrNotSeeded, ErrStale or
// ErrClosed, and then leaves p as it was (or clears it, if Close overtakes it).
// If crypto/rand itself fails, Read clears p and panics.
func (s *Source) Read(p []byte) (int, error) {
	if s.shards == nil {
		return 0, errNotMade
	}
	if s.cfg.Policy != Augment {
		if err := s.permit(); err != nil {
			s.refusedReads.Add(1)
			return 0, err
		}
	}
	if s.cfg.Mix == MixRefill && s.readBuffered(p) {
		return len(p), nil
	}
	for rest := p; len(rest) > 0; rest = rest[min(len(rest), pieceSize):] {
		ok, woke := s.readPiece(p, len(p)-len(rest))
		if !ok {
			s.refusedReads.Add(1)
			return 0, ErrClosed
		}
		if woke {
			runtime.Gosched() // on a single processor the reseeder would wait for long
		}
	}
	return len(p), nil
}

// pieceSize is the most that a Read takes under one lock. A longer Read is served
// as several pieces, so that a reseed reaches the later ones.
const pieceSize = 64 << 10

// readPiece fills the piece of whole that begins at at, from one shard. In MixXOR the
// lines marked (1) and (2) are the promise of this package. The generator knows nothing
// of the bytes of (1). So whatever it XORs over them in (2), be it zeros or chosen by an
// attacker, nobody can guess the result more easily than crypto/rand's bytes.
//
// It is not ok if the shard is closed and the Policy demands more than crypto/rand. Then,
// and also if crypto/rand panics, readPiece clears whole and leaves the shard as it was.
// It reports whether it woke the reseeder.
func (s *Source) readPiece(whole []byte, at int) (ok, woke bool) {
	var sh *shard
	defer func() {
		if sh != nil {
			sh.mu.Unlock()
		}
		if !ok {
			clear(whole)
		}
	}()
	p := whole[at:]
	p = p[:min(len(p), pieceSize)]
	if s.cfg.Mix == MixXOR {
		readOS(s.os, p) // (1) crypto/rand fills p. It takes most of a Read's time, so this is before the lock.
	}
	sh = s.lock()
	g := sh.gen.Load()
	switch {
	case sh.closed && s.cfg.Policy != Augment:
		return false, false
	case sh.closed:
		if s.cfg.Mix != MixXOR {
			readOS(s.os, p)
		}
	case s.cfg.Mix == MixXOR:
		g.xor(p) // (2) the generator XORs its bytes over it
	case s.cfg.Mix == MixRekey:
		g.rekeyFromOS(s.os)
		g.expand(p)
	default:
		for rest := p; len(rest) > 0; {
			if g.empty() {
				g.rekeyFromOS(s.os)
				g.fill(chunkSize)
			}
			rest = rest[g.copyBuffered(rest):]
		}
	}
	if at == 0 {
		sh.reads++
	}
	sh.bytes += int64(len(p))
	if sh.bytes >= sh.wakeAt {
		sh.wakeAt = sh.bytes + s.wakeQuantum()
		s.signal()
		return true, true
	}
	return true, false
}

// maxEmptyReads is how often in a row os may return neither a byte nor an error, as an
// io.Reader is allowed to.
const maxEmptyReads = 100

// readOS fills p from os, which is crypto/rand. If that fails there is nothing to fall
// back on, and readOS panics. (crypto/rand itself ends the process.) The caller must
// clear p then.
func readOS(os io.Reader, p []byte) {
	empty := 0
	for len(p) > 0 {
		n, err := os.Read(p)
		switch {
		case n == len(p):
			return
		case n < 0 || n > len(p):
			err = fmt.Errorf("it returned %d for a Read of %d bytes", n, len(p))
		case n > 0:
			empty = 0
		case err == nil:
			if empty++; empty == maxEmptyReads {
				err = io.ErrNoProgress
			}
		}
		if err != nil {
			panic("qrand: crypto/rand failed: " + err.Error())
		}
		p = p[n:]
	}
}

// parts are what a Source is made of besides its Config. New has the real ones. A test
// puts another in the place of one, to show what rests on it.
type parts struct {
	os        io.Reader // crypto/rand
	keystream func(dst []byte, key *[keySize]byte, counter uint32)
	extract   func(os *[keySize]byte, shard byte, block []byte) [keySize]byte
	selfTest  func() error
	now       func() time.Time

	// random draws the waits between requests from [0, d). Nil: math/rand/v2.
	random func(d time.Duration) time.Duration

	// spread lets the first reseed after the first block come sooner, by up to half of
	// ReseedInterval. Without it, processes that start together would always ask together.
	spread bool
}

func realParts() parts {
	return parts{
		os:        osrand.Reader(),
		keystream: chacha20.Blocks,
		extract:   hmacExtract,
		selfTest:  selfTest,
		now:       time.Now,
		spread:    true,
	}
}

func newSource(cfg Config, shards int, parts parts) (*Source, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := parts.selfTest(); err != nil {
		return nil, err
	}
	now := parts.now()
	ctx, cancel := context.WithCancel(context.Background())
	s := &Source{
		parts:    parts,
		cfg:      cfg,
		shards:   make([]*shard, shards),
		wake:     make(chan struct{}, 1),
		seeded:   make(chan struct{}),
		cancel:   cancel,
		done:     make(chan struct{}),
		began:    now,
		hopeless: make(chan struct{}),
		replied:  make(chan struct{}),
		status:   Status{Since: now, Mix: cfg.Mix, Policy: cfg.Policy, Failures: map[Reason]int64{}},
	}
	if cfg.Policy == RequireFresh {
		s.status.MaxAgeSeconds = cfg.MaxAge.Seconds()
	}
	for i := range s.shards {
		sh := &shard{wakeAt: s.wakeQuantum()}
		sh.gen.Store(&secrets{generator: generator{keystream: s.keystream}})
		readOS(s.os, sh.gen.Load().key[:])
		s.shards[i] = sh
	}
	for i := range s.hints {
		s.hints[i].Store(uint32(i % shards))
	}
	noteCustomReader(cfg.Logger)
	go newReseeder(s, now).run(ctx)
	return s, nil
}

// The errors of a Read. Under Augment there are none.
var (
	ErrNotSeeded = errors.New("qrand: no block of quantum entropy has come from the service yet: Status says why, WaitSeeded waits for it")
	ErrStale     = errors.New("qrand: the newest block of quantum entropy in the key is older than MaxAge: Status says why, Reseed asks for one")
	ErrClosed    = errors.New("qrand: the Source is closed")
)

var errNotMade = errors.New("qrand: this Source is a zero value: make one with New")

// permit returns why a Policy other than Augment refuses a Read now, or nil.
func (s *Source) permit() error {
	if s.closed.Load() {
		return ErrClosed
	}
	newest := s.newest.Load()
	if newest == nil {
		return ErrNotSeeded
	}
	if s.cfg.Policy != RequireFresh {
		return nil
	}
	switch age := clock.Age(s.now(), *newest); {
	case age > s.cfg.MaxAge:
		s.refused.Store(true)
		s.signal()
		return ErrStale
	case age > s.cfg.MaxAge-lead(s.cfg.MaxAge) && !s.aging.Swap(true):
		s.signal() // a timer would not notice that the clock was set
	}
	return nil
}

// signal wakes the reseeder. It never waits.
func (s *Source) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// WaitSeeded waits until a block of quantum entropy is in the key. In an outage that may
// take any time: give ctx a deadline. WaitSeeded returns early if only a person can help:
// if every endpoint has refused the token, or if there was still no token in a second
// look, 15 to 45 s after the first, or if the Policy refuses the blocks of every endpoint
// as emulated. (The next call waits for the next look.) Its error wraps the failure of the
// last request, and ctx's error if that is why it returns.
func (s *Source) WaitSeeded(ctx context.Context) error {
	if s.shards == nil {
		return errNotMade
	}
	s.mu.Lock()
	next, hopeless := s.hopeless, s.untold
	s.untold = false // the next call waits for the next look
	s.mu.Unlock()
	for {
		select {
		case <-s.done:
			return ErrClosed
		case <-s.seeded:
			if s.closed.Load() {
				return ErrClosed
			}
			return nil
		default:
		}
		if hopeless {
			return fmt.Errorf("qrand: not seeded, and waiting does not help until somebody acts: %w", s.failure())
		}
		select {
		case <-s.done:
		case <-s.seeded:
		case <-next:
			hopeless = true
		case <-ctx.Done():
			if err := s.failure(); err != nil {
				return fmt.Errorf("qrand: not seeded: %w (the last request failed: %w)", context.Cause(ctx), err)
			}
			return fmt.Errorf("qrand: not seeded: %w (no answer from the service yet)", context.Cause(ctx))
		}
	}
}

// failure returns how the last failed request failed; nil if none did.
func (s *Source) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastErr
}

// The errors of Reseed, besides ErrClosed, the context's error and the errors of package
// qrypt.
var (
	ErrHeld      = errors.New("qrand: not reseeded: it is not yet time to ask the service again")
	ErrUnhealthy = health.ErrUnhealthy // the blocks fail a health test
	ErrRepeated  = health.ErrRepeated  // one of the blocks was received before
	ErrTooOld    = supply.ErrTooOld    // under RequireFresh: the blocks are nearly as old as MaxAge, or older
	ErrEmulated  = supply.ErrEmulated  // under RequireInitial and RequireFresh: the blocks come from an emulator
)

// Reseed fetches a block from the service now and mixes it in. When it returns nil,
// every byte read from then on depends on a block that was asked for after the call.
// It costs at least one block, and nothing if ctx is done before the request begins.
//
// It returns ErrHeld, without a request, while the service, the quota or the token makes
// us wait: Reseed does not override that. (After a refused token or a quota it first
// looks for another token, for 30 s at most.) Reads go on meanwhile.
func (s *Source) Reseed(ctx context.Context) error {
	if s.shards == nil {
		return errNotMade
	}
	if ctx.Err() != nil {
		return fmt.Errorf("qrand: not reseeded: %w", context.Cause(ctx))
	}
	a := &ask{ctx: ctx}
	s.mu.Lock()
	s.asks = append(s.asks, a)
	s.mu.Unlock()
	s.signal()
	for {
		s.mu.Lock()
		done, err, next := a.done, a.err, s.replied
		s.mu.Unlock()
		if done {
			return err
		}
		select {
		case <-next:
		case <-s.done:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("qrand: not reseeded: %w", context.Cause(ctx))
		}
	}
}

// Status returns a snapshot. It belongs to the caller.
func (s *Source) Status() Status {
	if s.shards == nil {
		return Status{Time: time.Now()}
	}
	s.mu.Lock()
	st := s.status
	st.Failures = maps.Clone(st.Failures)
	st.Fingerprints, st.Receipts = slices.Clone(st.Fingerprints), slices.Clone(st.Receipts)
	s.mu.Unlock()
	for _, sh := range s.shards {
		sh.mu.Lock()
		st.Reads += sh.reads
		st.Bytes += sh.bytes
		if sh.seeded {
			st.ReadsBeforeBlock += sh.readsUntil
			st.BytesBeforeBlock += sh.bytesUntil
		} else {
			st.ReadsBeforeBlock += sh.reads
			st.BytesBeforeBlock += sh.bytes
		}
		sh.mu.Unlock()
	}
	st.RefusedReads = s.refusedReads.Load()
	st.Time = s.now()
	if newest := s.newest.Load(); s.cfg.Policy == RequireFresh && newest != nil {
		st.Stale = clock.Age(st.Time, *newest) > s.cfg.MaxAge
	}
	if s.closed.Load() { // after the shards, so that a Status that counts a Read after Close says Closed
		st.State, st.Reason, st.Stale = Closed, "", false
	}
	return st
}

// Close ends the background work, waits for its end, and wipes the keys and the
// blocks in stock. Under Augment, Reads go on after it with crypto/rand alone.
func (s *Source) Close() error {
	if s.shards == nil {
		return errNotMade
	}
	s.closing.Do(func() {
		s.closed.Store(true)
		s.cancel()
		for _, sh := range s.shards {
			sh.mu.Lock()
			sh.gen.Load().wipe()
			sh.closed = true
			sh.mu.Unlock()
		}
		<-s.done // a BlockSource may take its time
		s.transition(Closed, "")
	})
	return nil
}

// String returns the Status in one line.
func (s *Source) String() string { return "qrand.Source(" + s.Status().String() + ")" }

// Format prints String for every verb, so that none prints a key.
func (s *Source) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue returns String, for package log/slog.
func (s *Source) LogValue() slog.Value { return slog.StringValue(s.String()) }

var _ io.ReadCloser = (*Source)(nil)
