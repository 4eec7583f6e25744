package qrand

import (
	"cmp"
	"context"
	"crypto/fips140"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
)

// A Mix says how crypto/rand enters a Read. (Each reseed mixes it into the keys, too.)
//
// Under GODEBUG=fips140=only New accepts only MixXOR (docs/operations.md).
type Mix int

const (
	// MixXOR fills p from crypto/rand, then XORs as many bytes of our stream over it.
	// The result is as good as crypto/rand even if ChaCha20 is broken, the memory was
	// stolen or the machine was cloned. For keys.
	MixXOR Mix = iota

	// MixRekey XORs 32 fresh bytes of crypto/rand into the key, then expands the key.
	// It rests on ChaCha20, as the kernel's generator does. A stolen state or a cloned
	// machine does not foretell its output. For bulk.
	MixRekey

	// MixRefill takes bytes from a buffer of 4,064. Each refill XORs 32 fresh bytes of
	// crypto/rand into the key. A cloned machine or a copied process may hand out the
	// rest of the buffer twice: do NOT make keys or nonces with it. For very many tiny
	// reads of other things.
	MixRefill
)

var mixNames = [...]string{"MixXOR", "MixRekey", "MixRefill"}

func (m Mix) String() string { return name(mixNames[:], int(m), "Mix") }

// MarshalText returns the name.
func (m Mix) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads a name.
func (m *Mix) UnmarshalText(text []byte) error { return parse(m, mixNames[:], text, "mix") }

// A Policy says what a Read does without quantum entropy.
type Policy int

const (
	// Augment never fails a Read. Without the service, bytes come from crypto/rand and a
	// generator seeded by it, after Close from crypto/rand alone. For a Source that
	// replaces rand.Reader.
	Augment Policy = iota

	// RequireInitial fails Reads with ErrNotSeeded until a block is in the key.
	// Do not set rand.Reader to such a Source: crypto/rand ends the process when
	// its reader fails.
	RequireInitial

	// RequireFresh also fails Reads with ErrStale when the newest block in the key is
	// older than MaxAge. Its age counts from when the service gave it, as far as that is
	// known. An idle Source uses no blocks, so the first Read after a pause fails and
	// causes a reseed: call Reseed before a key ceremony. Do not set rand.Reader to such
	// a Source either.
	RequireFresh
)

var policyNames = [...]string{"Augment", "RequireInitial", "RequireFresh"}

func (p Policy) String() string { return name(policyNames[:], int(p), "Policy") }

// MarshalText returns the name.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads a name.
func (p *Policy) UnmarshalText(text []byte) error { return parse(p, policyNames[:], text, "policy") }

// name returns names[i], or kind with the number where there is no such name.
func name(names []string, i int, kind string) string {
	if i < 0 || i >= len(names) {
		return fmt.Sprintf("%s(%d)", kind, i)
	}
	return names[i]
}

// parse sets v to the index of the name in text.
func parse[T ~int](v *T, names []string, text []byte, kind string) error {
	for i, known := range names {
		if string(text) == known {
			*v = T(i)
			return nil
		}
	}
	return fmt.Errorf("qrand: unknown %s %q: use one of %s", kind, text, strings.Join(names, ", "))
}

// A BlockSource supplies blocks; *qrypt.Client is one. Blocks returns 1 to n blocks, or
// an error. It returns soon after ctx is done. One goroutine at a time calls it. The
// texts of its errors are logged and shown in Status.
//
// A Source asks each endpoint of a *qrypt.Client by itself, in order of preference, and
// so each source of [Prefer]. Any other BlockSource is one endpoint. If it has the
// method TokenChanged(context.Context) bool of *qrypt.Client, the Source calls it now and
// then after a refused token or a quota, and asks again at once when it returns true.
type BlockSource interface {
	Blocks(ctx context.Context, n int) ([]qrypt.Block, error)
}

// Prefer returns a BlockSource of several. The first is asked as long as it answers, the
// next one while it does not. Some minutes later the first one is tried again. What one
// source answers delays no request to another. Each may have its own token and dialect:
// for example, first a device in your network, then Qrypt.
func Prefer(first BlockSource, others ...BlockSource) BlockSource {
	all := supply.Preferred{first}
	for _, other := range others {
		all = append(all, other)
	}
	return all
}

// Config configures a Source. Its zero value is ready for use: it takes the token and
// the address of the service from the environment (see package qrypt).
type Config struct {
	// Blocks supplies the quantum entropy. Nil: qrypt.FromEnv().
	Blocks BlockSource

	// Mix says how crypto/rand enters a Read. Zero: MixXOR.
	Mix Mix

	// Policy says what a Read does without quantum entropy. Zero: Augment.
	Policy Policy

	// MaxAge is how old the newest block in the key may be at a Read, under RequireFresh.
	// It must be longer than ReseedInterval. When a quarter of it is left, or 30 s,
	// another block is asked for. A block that comes with less than twice that time left
	// is refused. Zero: 10 min.
	MaxAge time.Duration

	// AllowEmulated is for rehearsals: RequireInitial and RequireFresh then accept blocks
	// from an emulator, which are not quantum entropy. False: they refuse them. Augment
	// always accepts them. If one goes in, a Warn is logged and Status says so.
	AllowEmulated bool

	// A reseed uses one block. It comes when ReseedInterval has passed since the last
	// one, or when ReseedBytes were read (up to an eighth more, or the length of the Reads
	// under way). If nothing was read since the last one, none comes: an idle Source
	// costs nothing. If there is no block, the reseed takes crypto/rand alone. Zero: 1 min
	// and 1 MiB.
	ReseedInterval time.Duration
	ReseedBytes    int64

	// BatchBlocks is how many blocks are kept in stock, and asked for at a time, 1 to
	// 512. The stock is filled up at every second reseed, but not before ReseedInterval
	// has passed since the last answer. So a Source in use notices within two reseeds
	// that the service is dead. If the service refused a request for its rate limit (429)
	// within the last hour, the stock is filled up only when a quarter of it is left.
	// 1 keeps no stock, for programs that end soon and would waste it. RequireFresh keeps
	// none either. Zero: 8.
	BatchBlocks int

	// FingerprintKey keys the fingerprints of blocks in Status and Events. Zero: a random
	// one, so that fingerprints can be compared only within this Source.
	FingerprintKey FingerprintKey

	// Receipts asks for signed receipts that say which blocks came to whom, from where and
	// when. A relay gives them if it has a key for that (docs/fleet.md). It is sent the
	// FingerprintKey, which must have 32 bytes, so that it can name the blocks as Status does.
	// Only endpoints are asked that have the method BlocksWithReceipt of *qrypt.Client. Blocks
	// without a receipt are good, too: Status.Receipts says which have one. False: none.
	Receipts bool

	// Logger gets an Info when the first block is in the key, which says what was read
	// before it. It gets one Warn for each reason in an outage, one Info at the recovery,
	// and a line when blocks come from another endpoint. While the service flaps there
	// are fewer lines. The first Source in a process also logs an Info if
	// CustomReaderHonored is false. Nil: slog.Default().
	Logger *slog.Logger

	// OnEvent is called for each event, one at a time, by the goroutine that reseeds (and
	// at the end by Close). That goroutine waits for OnEvent and for Logger, so both
	// should return soon. Both may call Read and Status. They must not call Close, Reseed
	// or WaitSeeded, which would wait for themselves. Nil: none.
	OnEvent func(Event)
}

// The defaults that the fields of Config document.
const (
	defaultMaxAge         = 10 * time.Minute
	defaultReseedInterval = time.Minute
	defaultReseedBytes    = 1 << 20
	defaultBatchBlocks    = 8
)

// withDefaults returns cfg with its zero values replaced, or an error that says what to
// change.
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
	case cfg.Mix != MixXOR && fips140.Enforced():
		return cfg, fmt.Errorf("qrand: %v is not allowed in FIPS 140-only mode (GODEBUG=fips140=only), because its output rests on ChaCha20: use MixXOR", cfg.Mix)
	case cfg.MaxAge < 0 || cfg.ReseedInterval < 0 || cfg.ReseedBytes < 0:
		return cfg, errors.New("qrand: MaxAge, ReseedInterval and ReseedBytes must not be negative; zero means the default")
	case cfg.MaxAge != 0 && cfg.Policy != RequireFresh:
		return cfg, fmt.Errorf("qrand: MaxAge is set but Policy is %v, which ignores it: use RequireFresh, or leave MaxAge zero", cfg.Policy)
	case cfg.BatchBlocks < 0 || cfg.BatchBlocks > qrypt.MaxBlocks:
		return cfg, fmt.Errorf("qrand: BatchBlocks is %d: a request asks for 1 to %d; zero means %d", cfg.BatchBlocks, qrypt.MaxBlocks, defaultBatchBlocks)
	}
	if key := cfg.FingerprintKey.key; cfg.Receipts && key != nil && len(key()) != qrypt.ReceiptKeySize {
		return cfg, fmt.Errorf("qrand: FingerprintKey has %d bytes: with Receipts it has %d", len(key()), qrypt.ReceiptKeySize)
	}
	cfg.MaxAge = cmp.Or(cfg.MaxAge, defaultMaxAge)
	cfg.ReseedInterval = cmp.Or(cfg.ReseedInterval, defaultReseedInterval)
	cfg.ReseedBytes = cmp.Or(cfg.ReseedBytes, defaultReseedBytes)
	cfg.BatchBlocks = cmp.Or(cfg.BatchBlocks, defaultBatchBlocks)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if cfg.OnEvent == nil {
		cfg.OnEvent = func(Event) {}
	}
	if cfg.Policy == RequireFresh && cfg.MaxAge <= cfg.ReseedInterval {
		return cfg, fmt.Errorf("qrand: MaxAge %v is not longer than ReseedInterval %v: a healthy Source would be stale between reseeds", cfg.MaxAge, cfg.ReseedInterval)
	}
	if cfg.Blocks == nil {
		service, err := qrypt.ConfigFromEnv()
		var client *qrypt.Client
		if err == nil {
			service.Logger = cfg.Logger
			client, err = qrypt.New(service)
		}
		if err != nil {
			return cfg, fmt.Errorf("qrand: the environment does not say where blocks come from, and Config.Blocks is nil: %w", err)
		}
		cfg.Blocks = client
	}
	return cfg, nil
}
