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

// MaxCreditBits is the largest credit of a block: all its bits.
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

	// CreditBits is how many bits of entropy we tell the kernel that a block has, up
	// to MaxCreditBits. It needs CAP_SYS_ADMIN; where that is missing, the block is
	// mixed without a credit.
	//
	// A credit promises the kernel that nobody knows the block. For a remote source
	// that means to trust it, and everything between it and here. Since Linux 5.19 the
	// kernel counts credits only until its generator is initialized. TLS in Go waits
	// for that by itself, so the credit of a remote block comes too late to matter.
	// Older kernels reseed by the count. Zero: no credit, which is right unless you
	// know better.
	CreditBits int

	// AllowEmulated is for rehearsals. Where a credit is asked for, blocks of an
	// emulator, which are not quantum entropy, are refused; with AllowEmulated they are
	// mixed, but never credited. Where no credit is asked for, they are always mixed.
	// False: they are refused.
	AllowEmulated bool

	// Interval is the time from one block to the next, at least a second. Zero: a
	// minute, because the kernel reseeds once a minute by itself.
	Interval time.Duration

	// Logger gets a line when the result changes: an Info when blocks are mixed, a Warn
	// when none come. Of outages that follow each other within minutes it gets few
	// lines. Nil: slog.Default().
	Logger *slog.Logger

	// OnEvent is called after each attempt, by the goroutine that makes it. Nil: none.
	OnEvent func(Event)
}

// withDefaults returns cfg with its zero values replaced, except Blocks.
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
