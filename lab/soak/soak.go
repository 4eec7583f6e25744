package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"example.com/qrand/qrypttest"
)

// A config says what happens to the Sources, and what counts as a failure. The flags
// are its documentation.
type config struct {
	duration, warmup, interval time.Duration
	readers                    int
	rate                       float64
	faults                     float64
	rotate, outage, reseed     time.Duration
	seed                       uint64
	growth                     float64
	slack                      int64 // MiB
	spare                      int

	out    io.Writer
	screen bool // refresh one screen, instead of a line each time

	// For tests.
	wrap  func(io.Reader) io.Reader // around each reader's Source; nil: none
	watch func(sample)              // is called with each; nil: none
	kinds []qrypttest.Kind          // of fault; nil: those of RandomScript
}

// check completes the configuration, or says what is wrong with it.
func (cfg *config) check(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	if cfg.interval == 0 {
		cfg.interval = 10 * time.Second
		if cfg.screen {
			cfg.interval = time.Second
		}
	}
	if cfg.warmup == 0 {
		cfg.warmup = cfg.duration / 10
	}
	switch {
	case cfg.duration <= 0 || cfg.interval <= 0 || cfg.rotate <= 0 || cfg.outage <= 0 || cfg.reseed <= 0:
		return errors.New("-d, -interval, -rotate, -outage and -reseed must be above zero")
	case cfg.warmup < 0 || cfg.warmup >= cfg.duration:
		return errors.New("-warmup must not be negative, and be less than -d")
	case cfg.readers < 1:
		return errors.New("-readers must be above zero")
	case cfg.rate < 0 || cfg.faults < 0 || cfg.faults > 1:
		return errors.New("-rate must not be negative, and -faults be from 0 to 1")
	case cfg.growth < 0 || cfg.slack < 0 || cfg.spare < 0:
		return errors.New("-growth, -slack and -goroutines must not be negative")
	}
	return nil
}

// closeLimit is how long counters may take to agree when reading has ended, and
// goroutines to end when everything is closed. A variable for tests.
var closeLimit = 10 * time.Second

// run is a whole soak, ended by ctx or after cfg.duration.
func run(ctx context.Context, cfg config) (*report, error) {
	before := runtime.NumGoroutine()
	began := time.Now()
	rep := &report{cfg: cfg, began: began}
	sc, err := newScenario(cfg, rep)
	if err != nil {
		return nil, err
	}
	defer sc.close()
	f, err := newFleet(cfg, sc, rep)
	if err != nil {
		return nil, err
	}
	defer f.close()

	ctx, cancel := context.WithTimeout(ctx, cfg.duration)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { sc.rotateTokens(ctx) })
	all.Go(func() { sc.stopRegions(ctx) })
	all.Go(func() { f.askForReseeds(ctx) })
	for i := range cfg.readers {
		all.Go(func() { f.read(ctx, i) })
	}
	watch(ctx, cfg, f, sc, rep)
	all.Wait()
	rep.took = time.Since(began)
	f.account(sc, rep)
	f.close()
	f.checkClosed(rep)
	sc.close()
	rep.checkFlat()
	rep.checkEnded(before)
	return rep, nil
}

// checkEnded waits for the goroutines of the soak to be gone.
func (rep *report) checkEnded(before int) {
	deadline := time.Now().Add(closeLimit)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if after := runtime.NumGoroutine(); after > before {
		rep.fail("%d goroutines are left after Close, there were %d at the start", after, before)
	}
}

// pause waits, or returns false once ctx is done.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
