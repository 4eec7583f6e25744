// Command stats feeds the streams of qrand to other people's statistical tests
// (dieharder, ent, rngtest), and judges what they say by their own rules. They must find
// fault with generators that were spoiled on purpose. The script run starts it.
//
// Tests like these find a broken implementation: a buffer handed out twice, a stuck
// lane, a counter that shows. That a stream passes them says nothing about whether
// it can be predicted.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(command(ctx, openStream, os.Args[1:], os.Stdout, os.Stderr))
}

// command is the program without signals; it returns the exit code.
func command(ctx context.Context, open opener, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("stats", flag.ContinueOnError)
	flags.SetOutput(stderr)
	quick := flags.Bool("quick", false, "smaller samples, fewer tests")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		flags.Usage()
		return 2
	}
	if err := run(ctx, open, *quick, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "stats:", err)
		return 1
	}
	return 0
}

// A trial is one tool on one stream.
type trial struct {
	stream string
	tool   string
	jobs   []job // which can run at the same time
	judge  func() verdict
}

// A job is a part of a trial; weight says which to begin with, so that no long one
// is left to the end.
type job struct {
	weight int
	run    func(context.Context) error
}

// A verdict is what a tool finds of a stream.
type verdict struct {
	fault   bool
	figures string
}

func run(ctx context.Context, open opener, quick bool, stdout, stderr io.Writer) error {
	began := time.Now()
	soundSize, spoiledSize := fullSize, quickSize
	if quick {
		soundSize = quickSize
	}
	var trials []*trial
	for _, name := range sound {
		trials = append(trials, newTrials(open, name, soundSize)...)
	}
	spoiledSize.tests = selfCheckTests
	for _, name := range spoiled {
		trials = append(trials, newTrials(open, name, spoiledSize)...)
	}
	if err := runAll(ctx, trials, stderr); err != nil {
		return err
	}
	err := report(trials, stdout)
	fmt.Fprintf(stdout, "\nIn %v.\n", time.Since(began).Round(time.Second))
	return err
}

// runAll runs all jobs, as many at a time as there are processors.
func runAll(ctx context.Context, trials []*trial, stderr io.Writer) error {
	var jobs []job
	for _, t := range trials {
		jobs = append(jobs, t.jobs...)
	}
	slices.SortStableFunc(jobs, func(a, b job) int { return cmp.Compare(b.weight, a.weight) })
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan job)
	var workers sync.WaitGroup
	var done atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for j := range queue {
				if err := j.run(ctx); err != nil {
					cancel(err)
				}
				if n := done.Add(1); n%20 == 0 {
					fmt.Fprintf(stderr, "stats: %d of %d jobs done\n", n, len(jobs))
				}
			}
		})
	}
	for _, j := range jobs {
		if ctx.Err() != nil {
			break
		}
		queue <- j
	}
	close(queue)
	workers.Wait()
	return context.Cause(ctx)
}

// report prints the table, and returns an error if a sound stream has a fault, a
// spoiled one has none, or a tool found none at all.
func report(trials []*trial, stdout io.Writer) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "stream\ttool\tverdict\tfigures")
	var faults, missed []string
	found := map[string]bool{} // stream or tool: a fault was found in it, or by it
	for _, t := range trials {
		v := t.judge()
		isSpoiled := slices.Contains(spoiled, t.stream)
		word := "passes"
		switch {
		case v.fault && isSpoiled:
			word = "found out"
			found[t.stream], found[t.tool] = true, true
		case v.fault:
			word = "FAILS"
			faults = append(faults, t.tool+" on "+t.stream)
		case isSpoiled:
			word = "not seen"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.stream, t.tool, word, v.figures)
	}
	w.Flush()
	for _, what := range slices.Concat(spoiled, tools) {
		if !found[what] {
			missed = append(missed, what)
		}
	}
	var err error
	if faults != nil {
		err = fmt.Errorf("a fault: %q", faults)
	}
	if missed != nil {
		err = errors.Join(err, fmt.Errorf("the tools do not find what they should, so that they pass the others says nothing: %q", missed))
	}
	return err
}
