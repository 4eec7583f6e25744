package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"

	"example.com/qrand"
	"example.com/qrand/internal/cli"
	"example.com/qrand/kernel"
	"example.com/qrand/qrypt"
)

// feedOptions are the flags of qrand feed.
type feedOptions struct {
	once       bool
	interval   waitFlag
	creditBits int
	rehearsal  bool
	listen     string
	logFormat  choice
}

// json reports whether the log is for programs.
func (o *feedOptions) json() bool { return o.logFormat.value == "json" }

// shortestInterval is the shortest that kernel.Config takes.
const shortestInterval = waitFlag(time.Second)

func newFeedCommand(c *console) *cobra.Command {
	o := feedOptions{interval: waitFlag(time.Minute), logFormat: choice{value: "text", allowed: []string{"text", "json"}}}
	cmd := &cobra.Command{
		Use:   "feed [flags]",
		Short: "Feed the Linux kernel's random pool",
		Long: `Mixes a block of 1,024 bytes into the Linux kernel's random pool every minute,
until Ctrl-C. This is for programs that do not read from a Source: Go's own
TLS, OpenSSL, and every other program of this host. It prints the result
whenever that changes: mixed, credited, reseeded, or why not.

Mixing needs no privilege, and cannot make the pool worse, even if somebody
knows the block. With CAP_SYS_ADMIN the kernel is told to reseed from the pool
at once. Without it the kernel reseeds by itself, every minute since Linux 5.19.

--credit-bits tells the kernel how much entropy a block has. It needs
CAP_SYS_ADMIN. It is a promise that nobody else knows the block: you trust the
service, and everything between it and this host, to keep it secret. Since
Linux 5.19 a credit matters only until the kernel's generator is initialized.
TLS waits for that before the first block can come, so leave it at 0 unless
you know better. EMULATED entropy is never credited. If a credit is asked for,
the blocks of an emulator are refused, or with --rehearsal mixed without it.

--listen serves /metrics for Prometheus, /healthz, which answers 200 while the
feed runs, and /readyz, which answers 200 if a block was mixed within the last
three intervals. They are plain HTTP, for anyone who reaches the address, and
hold no secret. --log-format json logs to stderr what is otherwise printed.

With --once the exit status is 1 if nothing was mixed. deploy/systemd has a
unit that runs this with no privilege at all.`,
		Example: `  qrand feed --once
  qrand feed
  qrand feed --interval 5m
  qrand feed --listen 127.0.0.1:9444 --log-format json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.creditBits < 0 || o.creditBits > kernel.MaxCreditBits {
				return misused(cmd, "--credit-bits %d: a block has 0 to %d", o.creditBits, kernel.MaxCreditBits)
			}
			if o.interval < shortestInterval {
				return misused(cmd, "--interval %v: it is at least %v", &o.interval, time.Duration(shortestInterval))
			}
			if o.once && cmd.Flags().Changed("interval") {
				return misused(cmd, "--once and --interval exclude each other: give one")
			}
			if o.once && o.listen != "" {
				return misused(cmd, "--once and --listen exclude each other: give one")
			}
			if _, _, err := net.SplitHostPort(o.listen); o.listen != "" && err != nil {
				return misused(cmd, "--listen %q: write it like 127.0.0.1:9444, or :9444 for all addresses", o.listen)
			}
			if o.rehearsal && o.creditBits == 0 {
				return misused(cmd, "--rehearsal is about --credit-bits: without a credit, blocks of an emulator are mixed anyway")
			}
			return runFeed(cmd.Context(), c, o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.once, "once", false, "feed one block, print the result, and end")
	f.Var(&o.interval, "interval", "time from one block to the next")
	f.IntVar(&o.creditBits, "credit-bits", 0, "`BITS` of entropy to credit a block with, up to 8192 (default 0)")
	f.StringVar(&o.listen, "listen", "", "serve metrics and probes on this `ADDRESS` (default none)")
	addChoice(cmd, &o.logFormat, "log-format", "text for people, or json")
	addRehearsal(cmd, &o.rehearsal)
	return cmd
}

func runFeed(ctx context.Context, c *console, o feedOptions) error {
	t := feedTally{c: c, once: o.once, began: time.Now()}
	monitor := newFeedMonitor(time.Duration(o.interval))
	cfg := kernel.Config{
		CreditBits:    o.creditBits,
		AllowEmulated: o.rehearsal,
		Interval:      time.Duration(o.interval),
		Logger:        slog.New(slog.DiscardHandler), // OnEvent reports the same
		OnEvent: func(e kernel.Event) {
			t.event(e)
			monitor.event(e)
		},
	}
	if o.json() {
		cfg.Logger = cli.NewLogger(c.err, o.logFormat.value)
		slog.SetDefault(cfg.Logger) // of the service's client, too
		t.log = cfg.Logger
	}
	var listener net.Listener
	if o.listen != "" {
		var err error
		if listener, err = net.Listen("tcp", o.listen); err != nil {
			return fmt.Errorf("--listen: %w", err)
		}
		defer listener.Close()
	}
	feeder, err := kernel.New(cfg)
	if errors.Is(err, qrypt.ErrNoToken) {
		return fmt.Errorf("%w; without an account, try qrand emulate", err)
	} else if err != nil {
		return err
	}
	defer feeder.Close()
	switch {
	case !o.json():
		noteRehearsal(c, o.rehearsal)
	case o.rehearsal:
		cfg.Logger.Warn("feed: this is a rehearsal: it accepts blocks of an emulator, which are not quantum entropy")
	}
	if o.once {
		_, err := feeder.Once(ctx)
		if errors.Is(err, qrand.ErrEmulated) {
			err = errors.New("nothing mixed: " + creditRefused)
		}
		return errors.Join(err, t.err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := func() error { return nil }
	if listener != nil {
		stop = monitor.serve(listener, cancel)
		if o.json() {
			cfg.Logger.Info("feed: listening", "address", listener.Addr().String())
		} else {
			c.note("metrics are at http://%s/metrics", listener.Addr())
		}
	}
	if err = cli.Ready(); err == nil {
		err = feeder.Run(ctx)
	}
	served := stop()
	if !cli.Interrupted(err) {
		return errors.Join(err, served)
	}
	return errors.Join(t.err, served, t.printSum())
}

// creditRefused explains why a feed with a credit refuses emulated blocks.
const creditRefused = "--credit-bits asks for quantum entropy: " + emulatorRefused

// A feedTally prints results that differ from the last, and counts.
type feedTally struct {
	c                *console
	once             bool         // execute prints why it failed
	log              *slog.Logger // gets the sum; the kernel's Feeder logs the results. Nil: both are printed
	began            time.Time
	blocks, reseeded int64
	emulated, failed int64
	credited         int64 // bits
	err              error // of the writes to stdout
}

func (t *feedTally) event(e kernel.Event) {
	if e.Err != nil {
		t.failed++
		if e.Changed && !t.once && t.log == nil {
			reason := plain(e.Err.Error())
			if errors.Is(e.Err, qrand.ErrEmulated) {
				reason = creditRefused
			}
			t.c.note("nothing mixed: %s; next try in %v", reason, time.Until(e.Next).Round(time.Second))
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
	if e.Changed && t.err == nil && t.log == nil {
		_, t.err = fmt.Fprintln(t.c.out, e.Result)
	}
}

// printSum prints what was done in all.
func (t *feedTally) printSum() error {
	if t.log != nil {
		t.log.Info("feed: stopped", "mixed", t.blocks, "emulated", t.emulated, "reseeds", t.reseeded, "credited_bits", t.credited, "failed", t.failed)
		return nil
	}
	_, err := fmt.Fprintf(t.c.out, "%s mixed in %v (%d of them EMULATED), %d reseeds, %d bits credited, %s failed.\n",
		count(t.blocks, "block"), time.Since(t.began).Round(time.Second), t.emulated, t.reseeded, t.credited, count(t.failed, "attempt"))
	return err
}
