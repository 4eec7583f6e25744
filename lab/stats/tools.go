package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

var tools = []string{"dieharder", "rngtest", "ent"}

// A size is how much of a stream the tools get to see.
type size struct {
	tests   []test // of dieharder
	blocks  int    // of 2,500 bytes, for rngtest
	entRuns int    // of ent, with entBytes each
}

var (
	fullSize  = size{fullTests, 400_000, 20}
	quickSize = size{quickTests, 50_000, 5}
)

// newTrials returns the trials of a stream, one for each tool.
func newTrials(open opener, stream string, s size) []*trial {
	return []*trial{
		dieharder(open, stream, s.tests),
		rngtest(open, stream, s.blocks),
		ent(open, stream, s.entRuns),
	}
}

// rngtestRate is how many blocks of a perfect generator fail the tests of FIPS 140-2
// (of 2001, before they were withdrawn): by monobit and poker 1 in 10,000 each, by
// long runs 3, by runs about 3.3. (Of 850,000 blocks of OpenSSL's generator, 724 did.)
const rngtestRate = 8.3e-4

var (
	rngtestPassed = regexp.MustCompile(`FIPS 140-2 successes: (\d+)`)
	rngtestFailed = regexp.MustCompile(`FIPS 140-2 failures: (\d+)`)
)

func rngtest(open opener, stream string, blocks int) *trial {
	var passed, failed int
	t := &trial{stream: stream, tool: "rngtest"}
	t.jobs = []job{{blocks / 10_000, func(ctx context.Context) error {
		text, err := open.feed(ctx, stream, 0, "rngtest", "-c", strconv.Itoa(blocks))
		if exit := (*exec.ExitError)(nil); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) { // 1: a block failed
			return err
		}
		passed, failed, err = parseRngtest(text)
		if err == nil && passed+failed != blocks {
			err = fmt.Errorf("rngtest on %s: %d blocks, want %d", stream, passed+failed, blocks)
		}
		return err
	}}}
	t.judge = func() verdict {
		low, high := usual(blocks, rngtestRate)
		return verdict{failed < low || failed > high,
			fmt.Sprintf("%d of %d blocks fail; usual are %d to %d", failed, blocks, low, high)}
	}
	return t
}

func parseRngtest(text string) (passed, failed int, err error) {
	p, f := rngtestPassed.FindStringSubmatch(text), rngtestFailed.FindStringSubmatch(text)
	if p == nil || f == nil {
		return 0, 0, fmt.Errorf("rngtest printed no counts:\n%s", text)
	}
	passed, err = strconv.Atoi(p[1])
	if err != nil {
		return 0, 0, err
	}
	failed, err = strconv.Atoi(f[1])
	return passed, failed, err
}

// entBytes is what one run of ent reads: enough for its chi-square to show a bit
// stuck in a byte of a thousand.
const entBytes = 256 << 20

// entRate is how often ent's chi-square of a perfect generator is beyond 1 % or
// 99 %, which ent's manual calls almost certainly not random.
const entRate = 0.02

var entPercent = regexp.MustCompile(`would exceed this value (?:(less|more) than (?:than )?)?([0-9.]+) percent`)

func ent(open opener, stream string, runs int) *trial {
	var mu sync.Mutex
	var beyond int
	var percents []string
	t := &trial{stream: stream, tool: "ent"}
	for range runs {
		t.jobs = append(t.jobs, job{2, func(ctx context.Context) error {
			text, err := open.feed(ctx, stream, entBytes, "ent")
			if err != nil {
				return err
			}
			percent, err := parseEnt(text)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if percent < 1 || percent > 99 {
				beyond++
			}
			percents = append(percents, fmt.Sprintf("%.0f", percent))
			return nil
		}})
	}
	t.judge = func() verdict {
		_, high := usual(runs, entRate)
		return verdict{beyond > high,
			fmt.Sprintf("%d of %d runs beyond 1 %% or 99 %%; usual are %d at most (%s)", beyond, runs, high, strings.Join(percents, " "))}
	}
	return t
}

// parseEnt returns how often, in percent, chance would exceed the chi-square.
func parseEnt(text string) (float64, error) {
	m := entPercent.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("ent printed no chi-square:\n%s", text)
	}
	percent, err := strconv.ParseFloat(m[2], 64)
	switch m[1] {
	case "less":
		percent = 0
	case "more":
		percent = 100
	}
	return percent, err
}
