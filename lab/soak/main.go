// Command soak reads from Sources for hours, while the emulated service fails in every
// way that it knows. At the end it says whether anything went wrong, leaked or grew:
//
//	go run ./soak -d 1h
//
// There are nine Sources, one for each Mix and Policy, in both dialects; 64
// goroutines read from them, over real HTTPS on loopback. Answers are faulty at
// random, tokens rotate, regions go and come back. It exits with 1 if a Read
// failed that should not have, gave zeros, or gave what another did; if memory
// or goroutines are not flat, or are left after Close; or if the counters of
// readers, Sources and service do not agree. Ctrl-C ends it early, with the
// summary. All entropy in it is EMULATED.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/term"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	os.Exit(command(ctx, os.Args[1:], os.Stdout, os.Stderr, term.IsTerminal(int(os.Stdout.Fd()))))
}

// command is the program without signals; it returns the exit code.
func command(ctx context.Context, args []string, stdout, stderr io.Writer, terminal bool) int {
	cfg := config{out: stdout, screen: terminal}
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&cfg.duration, "d", 10*time.Minute, "how long to read")
	flags.DurationVar(&cfg.warmup, "warmup", 0, "how long memory and goroutines may still grow; 0: a tenth of -d")
	flags.DurationVar(&cfg.interval, "interval", 0, "between samples, and between lines; 0: 1s on a terminal, else 10s")
	flags.IntVar(&cfg.readers, "readers", 64, "goroutines that read")
	flags.Float64Var(&cfg.rate, "rate", 50, "Reads per second of each; 0: flat out")
	flags.Float64Var(&cfg.faults, "faults", 0.25, "the share of requests that meet a fault, 0 to 1")
	flags.DurationVar(&cfg.rotate, "rotate", time.Minute, "between one token and the next")
	flags.DurationVar(&cfg.outage, "outage", 45*time.Second, "between one region's outage and the next, each a quarter of that long")
	flags.DurationVar(&cfg.reseed, "reseed", 2*time.Second, "ReseedInterval of the Sources")
	flags.Uint64Var(&cfg.seed, "seed", uint64(time.Now().UnixNano()), "what faults and sizes depend on")
	flags.Float64Var(&cfg.growth, "growth", 0.10, "by how much memory may be more in the last quarter than in the first after the warm-up")
	flags.Int64Var(&cfg.slack, "slack", 8, "MiB more that it may be")
	flags.IntVar(&cfg.spare, "goroutines", 32, "by how many goroutines may be more")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := cfg.check(flags.Args()); err != nil {
		fmt.Fprintln(stderr, "soak:", err)
		return 2
	}
	rep, err := run(ctx, cfg)
	if err != nil {
		fmt.Fprintln(stderr, "soak:", err)
		return 1
	}
	rep.print(stdout)
	if !rep.ok() {
		return 1
	}
	return 0
}
