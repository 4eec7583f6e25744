package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"example.com/qrand"
	"example.com/qrand/kernel"
	"example.com/qrand/qrypt"
)

// feedOptions are the flags of qrand feed.
type feedOptions struct {
	once       bool
	interval   waitFlag
	creditBits int
	rehearsal  bool
}

// shortestInterval is kernel.Config's.
const shortestInterval = waitFlag(time.Second)

func newFeedCommand(c *console) *cobra.Command {
	o := feedOptions{interval: waitFlag(time.Minute)}
	cmd := &cobra.Command{
		Use:   "feed [flags]",
		Short: "Feed the Linux kernel's random pool",
		Long: `Mixes a block of 1,024 bytes into the Linux kernel's random pool every minute,
until Ctrl-C: for what ignores custom readers, such as Go's own TLS, OpenSSL
and every other program of this host. It says what was achieved whenever that
changes: mixed, credited, reseeded or why not.

To mix needs no privilege, and cannot make the pool worse, whoever knows the
block. With CAP_SYS_ADMIN the kernel is told to reseed from the pool at once;
without, it does so by itself, every minute since Linux 5.19.

--credit-bits tells the kernel that a block has so much entropy. It needs
CAP_SYS_ADMIN, and is a promise that nobody else knows the block: you trust
the service, and all that is between it and here, to keep it. Since Linux 5.19
a credit matters only until the kernel's generator is initialized, and TLS
waits for that before the first block can come, so leave it at 0 unless you
know better. EMULATED entropy is never credited: where a credit is asked for, an
emulator's blocks are refused, or with --rehearsal mixed without.

With --once the exit status is 1 if nothing was mixed. deploy/systemd has a
unit that runs this with no privilege at all.`,
		Example: `  qrand feed --once
  qrand feed
  qrand feed --interval 5m`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.creditBits < 0 || o.creditBits > kernel.MaxCreditBits {
				return misused(cmd, "--credit-bits %d: a block has 0 to %d", o.creditBits, kernel.MaxCreditBits)
			}
			if o.interval < shortestInterval {
				return misused(cmd, "--interval %v: it is at least %v", &o.interval, time.Second)
			}
			if o.once && cmd.Flags().Changed("interval") {
				return misused(cmd, "--once and --interval: which?")
			}
			if o.rehearsal && o.creditBits == 0 {
				return misused(cmd, "--rehearsal is about --credit-bits: without a credit blocks of an emulator are mixed anyway")
			}
			return runFeed(cmd.Context(), c, o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.once, "once", false, "feed one block, say what was achieved, and end")
	f.Var(&o.interval, "interval", "time from one block to the next")
	f.IntVar(&o.creditBits, "credit-bits", 0, "`BITS` of entropy to credit a block with, up to 8192 (default 0)")
	addRehearsal(cmd, &o.rehearsal)
	return cmd
}

func runFeed(ctx context.Context, c *console, o feedOptions) error {
	t := feedTally{c: c, once: o.once, began: time.Now()}
	feeder, err := kernel.New(kernel.Config{
		CreditBits:    o.creditBits,
		AllowEmulated: o.rehearsal,
		Interval:      time.Duration(o.interval),
		Logger:        slog.New(slog.DiscardHandler), // what it would log is said here
		OnEvent:       t.event,
	})
	if errors.Is(err, qrypt.ErrNoToken) {
		return fmt.Errorf("%w; without an account, try qrand emulate", err)
	} else if err != nil {
		return err
	}
	defer feeder.Close()
	tellRehearsal(c, o.rehearsal)
	if o.once {
		_, err := feeder.Once(ctx)
		if errors.Is(err, qrand.ErrEmulated) {
			err = errors.New("nothing mixed: " + noCredit)
		}
		return errors.Join(err, t.err)
	}
	err = feeder.Run(ctx)
	if ctx.Err() == nil {
		return err
	}
	return errors.Join(t.err, t.sumUp())
}

// noCredit is why a feed with a credit refuses emulated blocks.
const noCredit = "--credit-bits asks for quantum entropy: " + emulatorRefused

// A feedTally tells what changes, and counts.
type feedTally struct {
	c                *console
	once             bool // then execute says why it failed
	began            time.Time
	blocks, reseeded int64
	emulated, failed int64
	credited         int64 // bits
	err              error // of the output
}

func (t *feedTally) event(e kernel.Event) {
	if e.Err != nil {
		t.failed++
		if e.Changed && !t.once {
			why := plain(e.Err.Error())
			if errors.Is(e.Err, qrand.ErrEmulated) {
				why = noCredit
			}
			t.c.note("nothing mixed: %s; next try in %v", why, time.Until(e.Next).Round(time.Second))
		}
		return
	}
	t.blocks++
	t.credited += int64(e.Result.Credited)
	if e.Result.Reseeded {
		t.reseeded++
	}
	if e.Result.Origin.Emulated {
		t.emulated++
	}
	if e.Changed && t.err == nil {
		_, t.err = fmt.Fprintln(t.c.out, e.Result)
	}
}

// sumUp tells what was achieved altogether.
func (t *feedTally) sumUp() error {
	_, err := fmt.Fprintf(t.c.out, "%s mixed in %v (%d of them EMULATED), %d reseeds, %d bits credited, %s failed.\n",
		count(t.blocks, "block"), time.Since(t.began).Round(time.Second), t.emulated, t.reseeded, t.credited, count(t.failed, "attempt"))
	return err
}
