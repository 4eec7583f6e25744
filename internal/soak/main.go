// Command soak reads from Sources for hours, while the emulated service fails
// them in every way it knows, and says at the end whether anything went wrong,
// leaked or grew:
//
//	go run ./internal/soak -d 1h
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
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/term"
)

func main() {
	cfg := config{out: os.Stdout, screen: term.IsTerminal(int(os.Stdout.Fd()))}
	flag.DurationVar(&cfg.duration, "d", 10*time.Minute, "how long to read")
	flag.DurationVar(&cfg.warmup, "warmup", 0, "how long memory and goroutines may still grow; 0: a tenth of -d")
	flag.DurationVar(&cfg.interval, "interval", 0, "between samples, and between lines; 0: 1s on a terminal, else 10s")
	flag.IntVar(&cfg.readers, "readers", 64, "goroutines that read")
	flag.Float64Var(&cfg.rate, "rate", 50, "Reads per second of each; 0: flat out")
	flag.Float64Var(&cfg.faults, "faults", 0.25, "the share of requests that meet a fault, 0 to 1")
	flag.DurationVar(&cfg.rotate, "rotate", time.Minute, "between one token and the next")
	flag.DurationVar(&cfg.outage, "outage", 45*time.Second, "between one region's outage and the next, each a quarter of that long")
	flag.DurationVar(&cfg.reseed, "reseed", 2*time.Second, "ReseedInterval of the Sources")
	flag.Uint64Var(&cfg.seed, "seed", uint64(time.Now().UnixNano()), "what faults and sizes depend on")
	flag.Float64Var(&cfg.growth, "growth", 0.10, "by how much memory may be more in the last quarter than in the first after the warm-up")
	flag.Int64Var(&cfg.slack, "slack", 8, "MiB more that it may be")
	flag.IntVar(&cfg.spare, "goroutines", 32, "by how many goroutines may be more")
	flag.Parse()
	if err := cfg.check(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	rep, err := run(ctx, cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
	rep.print(os.Stdout)
	if !rep.ok() {
		os.Exit(1)
	}
}
