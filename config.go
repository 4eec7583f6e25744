package qrand

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

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
		client, err := qrypt.FromEnv()
		if err != nil {
			return cfg, fmt.Errorf("qrand: Config.Blocks is nil, and the environment does not say where blocks come from: %w", err)
		}
		cfg.Blocks = client
	}
	return cfg, nil
}
