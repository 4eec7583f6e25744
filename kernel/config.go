package kernel

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
)

// MaxCreditBits is what a block could be credited with at most: all its bits.
const MaxCreditBits = 8 * qrypt.BlockSize

const (
	defaultInterval = time.Minute // CRNG_RESEED_INTERVAL of Linux 5.19 and later
	minInterval     = time.Second
)

// Config configures a Feeder. Its zero value takes the service's token and
// address from the environment (see package qrypt) and is meant for use.
type Config struct {
	// Blocks supplies the entropy. Nil: qrypt.FromEnv().
	Blocks qrand.BlockSource

	// CreditBits is how many bits of entropy the kernel is told that a block
	// has, up to MaxCreditBits. It needs CAP_SYS_ADMIN; where that is missing the
	// block is mixed without.
	//
	// A credit is a promise to the kernel that nobody knows the block, which of
	// a remote source means to trust it, and all that the block passed through.
	// Since Linux 5.19 the kernel counts only until its generator is initialized,
	// and TLS in Go waits for that itself, so that with blocks from afar a credit
	// comes too late to matter; older kernels reseed by the count. Zero: none,
	// which is right unless you know better.
	CreditBits int

	// AllowEmulated is for rehearsals: where a credit is asked for, blocks from an
	// emulator, which are not quantum entropy, are refused. With it they are mixed,
	// and never credited. False: they are refused. Without a credit they are always
	// mixed.
	AllowEmulated bool

	// Interval is the time from one block to the next, at least a second. Zero: a
	// minute, for the kernel makes no use of more unless it is made to reseed.
	Interval time.Duration

	// Logger gets a line when what is achieved changes: an Info when blocks are
	// mixed, a Warn when none come; of outages that follow on each other within
	// minutes, few. Nil: slog.Default().
	Logger *slog.Logger

	// OnEvent is told of each attempt, in the goroutine that makes it. Nil: none.
	OnEvent func(Event)
}

// withDefaults returns cfg with its zero values replaced, but for Blocks.
func (cfg Config) withDefaults() (Config, error) {
	if cfg.Blocks != nil {
		if err := supply.Check(cfg.Blocks); err != nil {
			return cfg, fmt.Errorf("kernel: Config.Blocks %w", err)
		}
	}
	switch {
	case cfg.CreditBits < 0 || cfg.CreditBits > MaxCreditBits:
		return cfg, fmt.Errorf("kernel: CreditBits is %d: a block has 0 to %d", cfg.CreditBits, MaxCreditBits)
	case cfg.Interval != 0 && cfg.Interval < minInterval:
		return cfg, fmt.Errorf("kernel: Interval is %v: it is at least %v; zero means %v", cfg.Interval, minInterval, defaultInterval)
	}
	cfg.Interval = cmp.Or(cfg.Interval, defaultInterval)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if cfg.OnEvent == nil {
		cfg.OnEvent = func(Event) {}
	}
	return cfg, nil
}
