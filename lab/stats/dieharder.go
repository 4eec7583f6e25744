package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// A test is a test of dieharder: its arguments, and about how many seconds it takes.
type test struct {
	args    string
	seconds int
}

// dieharder -a takes most of an hour for one stream, because it runs the same tests with
// many parameters (33 lagged sums, 12 bit distributions). These are all kinds of tests,
// each with few parameters, without those that `dieharder -l` calls suspect (-d 5, 6, 7)
// or says not to use (-d 14).
var fullTests = []test{
	{"-d 0", 1}, {"-d 1", 4}, {"-d 2", 14}, {"-d 3", 3}, {"-d 4", 1}, {"-d 8", 1}, {"-d 9", 3}, {"-d 10", 1},
	{"-d 11", 1}, {"-d 12", 2}, {"-d 13", 5}, {"-d 15", 1}, {"-d 16", 3}, {"-d 17", 90},
	{"-d 100", 1}, {"-d 101", 5}, {"-d 102", 6},
	{"-d 200 -n 1", 2}, {"-d 200 -n 4", 4}, {"-d 200 -n 8", 10}, {"-d 200 -n 12", 20},
	{"-d 201 -n 2", 9}, {"-d 201 -n 5", 9}, {"-d 202 -n 3", 2}, {"-d 202 -n 5", 2},
	{"-d 203 -n 0", 3}, {"-d 203 -n 8", 24}, {"-d 203 -n 16", 51},
	{"-d 204", 2}, {"-d 205", 6}, {"-d 206", 1}, {"-d 207", 5}, {"-d 208", 6}, {"-d 209", 10},
}

var quickTests = []test{
	{"-d 0", 1}, {"-d 1", 4}, {"-d 2 -p 25", 4}, {"-d 3", 3}, {"-d 4", 1}, {"-d 8", 1}, {"-d 11", 1}, {"-d 12", 2}, {"-d 15", 1}, {"-d 16", 3},
	{"-d 100", 1}, {"-d 102", 6}, {"-d 202 -n 4", 2}, {"-d 206", 1},
}

// selfCheckTests are for the spoiled streams.
var selfCheckTests = []test{{"-d 0", 1}, {"-d 2 -p 25", 4}, {"-d 4", 1}, {"-d 8", 1}, {"-d 15", 1}, {"-d 100", 1}}

// A test prints one result or several, each PASSED, WEAK (p < 0.005, or as close to
// 1: one in a hundred) or FAILED (p < 10^-6). What is not PASSED is tested again, on
// fresh bytes. A result that is FAILED twice is a fault, and so is one that is not
// PASSED in maxRuns: chance does the second once in 10^8.
//
// (More samples, as -Y 1 and -m take, do not make a weak result clearer: some of the
// tests then fail for AES, too.)
const maxRuns = 4

// A result is a line that dieharder prints, in all runs of a test.
type result struct {
	name   string // as printed, with the n-tuple
	passed bool
	failed int    // runs
	p      string // all p-values
}

func dieharder(open opener, stream string, tests []test) *trial {
	var mu sync.Mutex
	var results, again int
	var faults []string
	t := &trial{stream: stream, tool: "dieharder"}
	for _, d := range tests {
		t.jobs = append(t.jobs, job{d.seconds, func(ctx context.Context) error {
			var all []result
			runs := 0
			for runs < maxRuns && (runs == 0 || undecided(all)) {
				args := append([]string{"-g", "200", "-c", ",", "-D", "test_name", "-D", "ntuple", "-D", "pvalues", "-D", "assessment"}, strings.Fields(d.args)...)
				text, err := open.feed(ctx, stream, 0, "dieharder", args...)
				if err != nil {
					return err
				}
				if all, err = addResults(all, text); err != nil {
					return fmt.Errorf("dieharder %s on %s: %w", d.args, stream, err)
				}
				runs++
			}
			mu.Lock()
			defer mu.Unlock()
			results += len(all)
			if runs > 1 {
				again++
			}
			for _, r := range all {
				if r.fault() {
					faults = append(faults, r.name+" p ="+r.p)
				}
			}
			return nil
		}})
	}
	t.judge = func() verdict {
		figures := fmt.Sprintf("%d tests, %d results; %d tests run again; %d faults", len(tests), results, again, len(faults))
		if len(faults) > 0 {
			figures += ", such as " + faults[0]
		}
		return verdict{len(faults) > 0, figures}
	}
	return t
}

// fault reports whether the result is a fault, after all runs.
func (r *result) fault() bool { return r.failed >= 2 || !r.passed }

// undecided reports whether another run is needed.
func undecided(all []result) bool {
	for _, r := range all {
		if !r.passed && r.failed < 2 {
			return true
		}
	}
	return false
}

// addResults adds a run's results to those of the runs before.
func addResults(all []result, text string) ([]result, error) {
	i := 0
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		if len(fields) != 4 {
			return nil, fmt.Errorf("unknown output:\n%s", text)
		}
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		if i == len(all) {
			all = append(all, result{name: fields[0] + " " + fields[1]})
		}
		r := &all[i]
		switch i++; fields[3] {
		case "PASSED":
			r.passed = true
		case "WEAK":
		case "FAILED":
			r.failed++
		default:
			return nil, fmt.Errorf("unknown assessment %q", fields[3])
		}
		r.p += " " + fields[2]
	}
	if i == 0 || i < len(all) {
		return nil, fmt.Errorf("%d results:\n%s", i, text)
	}
	return all, nil
}
