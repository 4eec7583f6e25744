// Package qrand is a random reader for key-generation code that adds quantum
// entropy, from Qrypt's Entropy-as-a-Service, to crypto/rand.
//
// Most programs should use crypto/rand and nothing else. This package is for
// those who must show where the entropy of their keys came from, or who want a
// second, independent source in it. Start with [New], [Source] and [Config].
//
// A Source is never weaker than crypto/rand: in the default mode each byte it
// returns is a byte of crypto/rand, fresh for this Read, XORed with a byte of a
// ChaCha20 generator that does not depend on it. It never fails for want of the
// service (unless a [Policy] says so), and never hides that either: [Source.Status],
// [Config.OnEvent] and the log say at any moment whether quantum entropy is in it.
//
// On Go 1.26 and later, ecdsa.GenerateKey and others ignore the reader they are
// passed, without an error. The README lists which do, [CustomReaderHonored] tells
// of the running program; package [example.com/qrand/keygen] never does.
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

	"example.com/qrand/internal/clock"
	"example.com/qrand/internal/health"
	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
)

// A Mix says where crypto/rand enters a Read. (Reseeds always mix it in.)
type Mix int

const (
	// MixXOR fills p from crypto/rand, then XORs as many bytes of our stream
	// over it: a one-time pad over crypto/rand, as good as it even if ChaCha20
	// is broken, the memory was stolen or the machine cloned. For keys.
	MixXOR Mix = iota

	// MixRekey XORs 32 fresh bytes of crypto/rand into the key, then expands
	// that. It rests on ChaCha20, as the kernel's generator does, and survives
	// a stolen state and a cloned machine. For bulk.
	MixRekey

	// MixRefill takes bytes from a buffer of 4,064, and each refill of it XORs 32
	// fresh bytes of crypto/rand into the key. A cloned machine, or a copied
	// process, may hand out the rest of the buffer twice: do NOT make keys or
	// nonces with it. For very many tiny reads that are neither.
	MixRefill
)

var mixNames = [...]string{"MixXOR", "MixRekey", "MixRefill"}

func (m Mix) String() string { return name(mixNames[:], int(m), "Mix") }

// MarshalText writes the Mix's name.
func (m Mix) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (m *Mix) UnmarshalText(text []byte) error { return parse(m, mixNames[:], text, "mix") }

// A Policy says what a Read does without quantum entropy.
type Policy int

const (
	// Augment never fails a Read: without the service, bytes come from
	// crypto/rand and a generator seeded by it; after Close, from crypto/rand
	// alone. For a replacement of rand.Reader.
	Augment Policy = iota

	// RequireInitial fails Reads with ErrNotSeeded until a block is in the key.
	// Do not set rand.Reader to such a Source: crypto/rand ends the process when
	// its reader fails.
	RequireInitial

	// RequireFresh also fails Reads with ErrStale when the newest block in the key
	// is older than MaxAge, counted from when the service gave it, as far as that
	// is known. An idle Source uses no blocks, so the first Read after a pause
	// fails, and brings a reseed: call Reseed before a key ceremony. Do not set
	// rand.Reader to such a Source either.
	RequireFresh
)

var policyNames = [...]string{"Augment", "RequireInitial", "RequireFresh"}

func (p Policy) String() string { return name(policyNames[:], int(p), "Policy") }

// MarshalText writes the Policy's name.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (p *Policy) UnmarshalText(text []byte) error { return parse(p, policyNames[:], text, "policy") }

// The errors of a Read, under RequireInitial and RequireFresh only.
var (
	ErrNotSeeded = errors.New("qrand: no block of quantum entropy has come from the service yet: Status says why, WaitSeeded waits for it")
	ErrStale     = errors.New("qrand: the newest block of quantum entropy in the key is older than MaxAge: Status says why, Reseed asks for one")
	ErrClosed    = errors.New("qrand: the Source is closed")
)

// What Reseed may return besides ErrClosed, its context's error, and an error of
// package qrypt.
var (
	ErrHeld      = errors.New("qrand: not reseeded: it is not yet time to ask the service again")
	ErrUnhealthy = health.ErrUnhealthy // the blocks received fail a health test
	ErrRepeated  = health.ErrRepeated  // a block received has been received before
	ErrTooOld    = supply.ErrTooOld    // under RequireFresh: they had come longer than MaxAge before
	ErrEmulated  = supply.ErrEmulated  // under RequireInitial and RequireFresh: they are an emulator's
)

// errNotMade is a zero Source's.
var errNotMade = errors.New("qrand: a Source is made by New")

// A BlockSource supplies blocks; *qrypt.Client is one. Blocks returns up to n
// blocks and at least one, or an error, and returns soon once ctx is done. It
// is called by one goroutine at a time.
//
// A Source asks each endpoint of a *qrypt.Client by itself, in order of
// preference, and each source of [Prefer]. Any other BlockSource is one endpoint.
// If it has the method TokenChanged(context.Context) bool of *qrypt.Client, a new
// token ends the wait for one. The texts of its errors are logged and shown in Status.
type BlockSource interface {
	Blocks(ctx context.Context, n int) ([]qrypt.Block, error)
}

// Prefer returns a BlockSource of several: the first is asked while it answers,
// the next one while it does not, and some minutes after the first one may answer
// again it is tried again. What one says delays no request to another. Sources may
// have tokens and dialects of their own: a device on the own network, then Qrypt.
func Prefer(first BlockSource, others ...BlockSource) BlockSource {
	all := supply.Preferred{first}
	for _, other := range others {
		all = append(all, other)
	}
	return all
}

// Config configures a Source. Its zero value takes the service's token and
// address from the environment (see package qrypt) and is meant for use.
type Config struct {
	// Blocks supplies the entropy. Nil: qrypt.FromEnv().
	Blocks BlockSource

	// Mix says where crypto/rand enters. Zero: MixXOR.
	Mix Mix

	// Policy says what a Read does without quantum entropy. Zero: Augment.
	Policy Policy

	// MaxAge is for RequireFresh: how old the newest block in the key may be at a
	// Read. It must be longer than ReseedInterval. Within a quarter of it, or 30 s,
	// of its end another block is asked for, and one that comes with less than
	// twice that time left is refused. Zero: 10 min.
	MaxAge time.Duration

	// AllowEmulated is for rehearsals: RequireInitial and RequireFresh then take
	// blocks from an emulator too, which are not quantum entropy. False: they are
	// refused. Augment takes them always. Wherever they went in, a Warn is logged
	// and Status says so.
	AllowEmulated bool

	// A reseed uses one block. It comes when ReseedInterval has passed since the
	// last or some ReseedBytes went out (by an eighth more, or the length of the
	// Reads under way), if anything was read at all: an idle Source costs
	// nothing. Where the service gives less, reseeds without a block take the
	// place. Zero: 1 min and 1 MiB.
	ReseedInterval time.Duration
	ReseedBytes    int64

	// BatchBlocks is how many blocks are kept in stock, and asked for at a time, 1
	// to 512. What is missing is asked for at every second reseed, so that a Source
	// in use notices within two reseeds that the service is dead, but not before
	// ReseedInterval has passed since the last answer. Where the service refused
	// us as one too many within the last hour, it is asked for only when a quarter
	// of the stock is left. 1 keeps no stock: for programs that end soon, which
	// would waste it. RequireFresh keeps none either. Zero: 8.
	BatchBlocks int

	// FingerprintKey keys the fingerprints of blocks in Status and Events. Zero: a
	// random one, so that they can be compared within this Source alone.
	FingerprintKey FingerprintKey

	// Logger gets an Info when the first block is in the key, which says what was
	// read before, one Warn when the Source is degraded, for each reason in an
	// outage, one Info when it recovers, and one when blocks come from another
	// endpoint; where the service flaps, fewer. That of the first Source in a
	// process also gets an Info where CustomReaderHonored is false. Nil:
	// slog.Default().
	Logger *slog.Logger

	// OnEvent is told what happens, one event at a time, from the goroutine that
	// reseeds (at the end, from Close), which waits for it, as it does for
	// Logger: both should return soon. Either may call Read and Status; Close,
	// Reseed and WaitSeeded would wait for themselves. Nil: none.
	OnEvent func(Event)

	// random draws the waits between requests from [0, d); set by tests. Nil:
	// math/rand/v2.
	random func(d time.Duration) time.Duration

	// spread lets the first reseed after the first block come sooner, by up to half
	// of ReseedInterval: or processes that start together would ask together from
	// then on.
	spread bool
}

// The defaults that Config documents.
const (
	defaultMaxAge         = 10 * time.Minute
	defaultReseedInterval = time.Minute
	defaultReseedBytes    = 1 << 20
	defaultBatchBlocks    = 8
)

// withDefaults returns cfg with its zero values replaced, or an error that says
// what to change.
func (cfg Config) withDefaults() (Config, error) {
	if cfg.Blocks != nil {
		if err := supply.Check(cfg.Blocks); err != nil {
			return cfg, fmt.Errorf("qrand: Config.Blocks %w", err)
		}
	}
	switch {
	case cfg.Mix < MixXOR || cfg.Mix > MixRefill:
		return cfg, fmt.Errorf("qrand: unknown Mix %d: use MixXOR, MixRekey or MixRefill", int(cfg.Mix))
	case cfg.Policy < Augment || cfg.Policy > RequireFresh:
		return cfg, fmt.Errorf("qrand: unknown Policy %d: use Augment, RequireInitial or RequireFresh", int(cfg.Policy))
	case cfg.MaxAge < 0 || cfg.ReseedInterval < 0 || cfg.ReseedBytes < 0:
		return cfg, errors.New("qrand: MaxAge, ReseedInterval and ReseedBytes must not be negative; zero means the default")
	case cfg.MaxAge != 0 && cfg.Policy != RequireFresh:
		return cfg, fmt.Errorf("qrand: MaxAge is set but Policy is %v, which does not look at it: use RequireFresh", cfg.Policy)
	case cfg.BatchBlocks < 0 || cfg.BatchBlocks > qrypt.MaxBlocks:
		return cfg, fmt.Errorf("qrand: BatchBlocks is %d: a request asks for 1 to %d; zero means %d", cfg.BatchBlocks, qrypt.MaxBlocks, defaultBatchBlocks)
	}
	cfg.MaxAge = orDefault(cfg.MaxAge, defaultMaxAge)
	cfg.ReseedInterval = orDefault(cfg.ReseedInterval, defaultReseedInterval)
	cfg.ReseedBytes = orDefault(cfg.ReseedBytes, defaultReseedBytes)
	cfg.BatchBlocks = orDefault(cfg.BatchBlocks, defaultBatchBlocks)
	cfg.Logger = orDefault(cfg.Logger, slog.Default())
	if cfg.OnEvent == nil {
		cfg.OnEvent = func(Event) {}
	}
	if cfg.Policy == RequireFresh && cfg.MaxAge <= cfg.ReseedInterval {
		return cfg, fmt.Errorf("qrand: MaxAge %v is not longer than ReseedInterval %v: a healthy Source would be stale between reseeds", cfg.MaxAge, cfg.ReseedInterval)
	}
	if cfg.Blocks == nil {
		client, err := qrypt.FromEnv()
		if err != nil {
			return cfg, fmt.Errorf("qrand: Config.Blocks is nil, and the environment does not say where blocks come from: %w", err)
		}
		cfg.Blocks = client
	}
	return cfg, nil
}

func orDefault[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// A Source is an io.Reader of random bytes. It is safe for concurrent use.
type Source struct {
	cfg    Config
	shards []*shard

	hints [1 << hintBits]atomic.Uint32 // by a goroutine's stack: the shard it had last

	newest  atomic.Pointer[time.Time] // when the newest block in the keys had come
	closed  atomic.Bool
	refused atomic.Bool   // a Read was refused as stale since the last reseed
	aging   atomic.Bool   // a Read has found that the newest block will soon be too old
	wake    chan struct{} // tells the reseeder that bytes went out
	seeded  chan struct{} // closed when a block is in the keys
	cancel  context.CancelFunc
	done    chan struct{} // closed when the reseeder has ended
	closing sync.Once

	began time.Time

	mu      sync.Mutex
	status  Status        // without what the shards count
	asks    []ask         // calls of Reseed that the reseeder has not taken in
	lastErr error         // of the last request, if that failed
	verdict chan struct{} // closed, and made anew, when it is found that no endpoint takes the token
	judged  bool          // it was found, and no call of WaitSeeded has been told
}

// New returns a Source seeded from crypto/rand, ready for Read, and begins to
// fetch quantum entropy in the background. It does not wait for the network:
// WaitSeeded does. Call Close when done with it: nothing else, and no finalizer,
// ends its goroutine. A Source that is dropped without Close keeps that, its keys
// and its stock of blocks until the process ends.
//
// The first New in a process holds ChaCha20 and HMAC, as this processor computes
// them, against known answers, and where they differ no Source is made.
func New(cfg Config) (*Source, error) {
	cfg.spread = true
	return newSource(cfg, min(runtime.GOMAXPROCS(0), maxShards))
}

func newSource(cfg Config, shards int) (*Source, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := selfTest(); err != nil {
		return nil, err
	}
	now := clock.Now()
	ctx, cancel := context.WithCancel(context.Background())
	s := &Source{
		cfg:     cfg,
		shards:  make([]*shard, shards),
		wake:    make(chan struct{}, 1),
		seeded:  make(chan struct{}),
		cancel:  cancel,
		done:    make(chan struct{}),
		began:   now,
		verdict: make(chan struct{}),
		status:  Status{Since: now, Mix: cfg.Mix, Policy: cfg.Policy, Failures: map[Reason]int64{}},
	}
	for i := range s.shards {
		sh := &shard{wakeAt: s.wakeQuantum()}
		sh.gen.Store(new(secrets))
		readOS(sh.gen.Load().key[:])
		s.shards[i] = sh
	}
	for i := range s.hints {
		s.hints[i].Store(uint32(i % shards))
	}
	noteCustomReader(cfg.Logger)
	go newReseeder(s, now).run(ctx)
	return s, nil
}

// Read fills p with random bytes. Under the Policy Augment it always returns
// len(p) and nil. Otherwise it may return 0 and ErrNotSeeded, ErrStale or
// ErrClosed, and then leaves p as it was (or clears it, if Close overtakes it).
// Where crypto/rand itself fails, it clears p and panics.
func (s *Source) Read(p []byte) (int, error) {
	if s.shards == nil {
		return 0, errNotMade
	}
	if s.cfg.Policy != Augment {
		if err := s.permit(); err != nil {
			return 0, err
		}
	}
	if s.cfg.Mix == MixRefill && s.readBuffered(p) {
		return len(p), nil
	}
	for rest := p; len(rest) > 0; rest = rest[min(len(rest), pieceSize):] {
		ok, woke := s.readPiece(p, len(p)-len(rest))
		if !ok {
			return 0, ErrClosed
		}
		if woke {
			runtime.Gosched() // on a single processor the reseeder would wait for long
		}
	}
	return len(p), nil
}

// permit applies a Policy that is not Augment.
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
	switch age := clock.Age(clock.Now(), *newest); {
	case age > s.cfg.MaxAge:
		s.refused.Store(true)
		s.signal()
		return ErrStale
	case age > s.cfg.MaxAge-lead(s.cfg.MaxAge) && !s.aging.Swap(true):
		s.signal() // timers do not see that a clock was set
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

// WaitSeeded waits until a block of quantum entropy is in the key, in an outage
// without end: give ctx a deadline. It returns sooner where waiting is of no use
// until a person acts: when every endpoint has refused the token, or no token was
// found in a second look, 15 to 45 s after the first. (A later call waits for the
// next look.) Its error wraps ctx's, if that is why it returns, and the failure of
// the last request.
func (s *Source) WaitSeeded(ctx context.Context) error {
	if s.shards == nil {
		return errNotMade
	}
	s.mu.Lock()
	verdict, hopeless := s.verdict, s.judged
	s.judged = false // who calls again waits for the next look
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
			return fmt.Errorf("qrand: not seeded, and waiting is of no use until somebody acts: %w", s.failure())
		}
		select {
		case <-s.done:
		case <-s.seeded:
		case <-verdict:
			hopeless = true
		case <-ctx.Done():
			if err := s.failure(); err != nil {
				return fmt.Errorf("qrand: not seeded: %w (the last request failed: %w)", context.Cause(ctx), err)
			}
			return fmt.Errorf("qrand: not seeded: %w (no answer from the service yet)", context.Cause(ctx))
		}
	}
}

// failure is how the last request failed; nil if it did not.
func (s *Source) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastErr
}

// Reseed fetches a block from the service now and mixes it in: when it returns
// nil, every byte read from then on depends on a block that was asked for after
// the call. It costs a block at least, and nothing where ctx is done before the
// request begins. Its error says why not: after a request, one of package qrypt or
// of those above, ErrHeld where the service, the quota or the token makes us wait,
// which Reseed does not override. (After a refused token or a quota it looks for
// another token first, for 30 s at most.) Reads go on.
func (s *Source) Reseed(ctx context.Context) error {
	if s.shards == nil {
		return errNotMade
	}
	if ctx.Err() != nil {
		return fmt.Errorf("qrand: not reseeded: %w", context.Cause(ctx))
	}
	a := ask{ctx: ctx, reply: make(chan error, 1)}
	s.mu.Lock()
	s.asks = append(s.asks, a)
	s.mu.Unlock()
	s.signal()
	select {
	case err := <-a.reply:
		return err
	case <-s.done:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("qrand: not reseeded: %w", context.Cause(ctx))
	}
}

// Status returns a snapshot, which the caller may keep.
func (s *Source) Status() Status {
	s.mu.Lock()
	st := s.status
	st.Failures = maps.Clone(st.Failures)
	st.Fingerprints = slices.Clone(st.Fingerprints)
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
	if s.closed.Load() { // after the shards: what a Read got from a closed one is known as such
		st.State, st.Reason = Closed, ""
	}
	st.Time = clock.Now()
	return st
}

// Close ends the background work, waits for it, and wipes the keys and the
// blocks in stock, which otherwise stay until the process ends. Reads go on after
// it under Augment, from crypto/rand alone.
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

// String is the Source's Status in one line.
func (s *Source) String() string { return "qrand.Source(" + s.Status().String() + ")" }

// Format prints String for every verb, so that none prints a key.
func (s *Source) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue is String, for package log/slog.
func (s *Source) LogValue() slog.Value { return slog.StringValue(s.String()) }

var _ io.ReadCloser = (*Source)(nil)
