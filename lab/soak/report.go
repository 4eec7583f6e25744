package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"time"
)

// A report is the result of a soak.
type report struct {
	cfg   config
	began time.Time
	took  time.Duration

	mu       sync.Mutex
	failures []string // the first of them
	failed   int64
	notes    []string // what is worth knowing and no failure; the first of them
	noted    int64

	samples                                 []sample
	reads, bytes, notSeeded, stale          int64
	used, reseeds, refused, stock, requests int64
	issued, spoiled, faults                 int64
	rotations, refusedTokens, outages       int64
	rssFirst, rssLast, heapFirst, heapLast  int64 // medians; -1: not known
	goroutinesFirst, goroutinesLast         int64
}

// mostLines is how many failures and notes are kept; the others are counted.
const mostLines = 20

func (rep *report) fail(format string, args ...any) {
	rep.mu.Lock()
	defer rep.mu.Unlock()
	if rep.failed++; len(rep.failures) < mostLines {
		rep.failures = append(rep.failures, fmt.Sprintf(format, args...))
	}
}

func (rep *report) note(format string, args ...any) {
	rep.mu.Lock()
	defer rep.mu.Unlock()
	if rep.noted++; len(rep.notes) < mostLines {
		rep.notes = append(rep.notes, fmt.Sprintf("%v in: ", time.Since(rep.began).Round(time.Second))+fmt.Sprintf(format, args...))
	}
}

// problems is how many failures and notes there are, and the last of each.
func (rep *report) problems() (failed, noted int64, failure, note string) {
	rep.mu.Lock()
	defer rep.mu.Unlock()
	if n := len(rep.failures); n > 0 {
		failure = rep.failures[n-1]
	}
	if n := len(rep.notes); n > 0 {
		note = rep.notes[n-1]
	}
	return rep.failed, rep.noted, failure, note
}

func (rep *report) ok() bool {
	failed, _, _, _ := rep.problems()
	return failed == 0
}

// fewest is how many samples a quarter must have to be compared.
const fewest = 2

// checkFlat compares the first quarter after the warm-up with the last, by their
// medians: one sample may have met a collection, or a storm of requests.
func (rep *report) checkFlat() {
	rep.rssFirst, rep.rssLast, rep.heapFirst, rep.heapLast = -1, -1, -1, -1
	rep.goroutinesFirst, rep.goroutinesLast = -1, -1
	warm := rep.samples
	for len(warm) > 0 && warm[0].at < rep.cfg.warmup {
		warm = warm[1:]
	}
	quarter := len(warm) / 4
	if quarter < fewest {
		rep.note("too short to tell whether memory and goroutines are flat: %d samples after the warm-up", len(warm))
		return
	}
	compare := func(value func(sample) int64) (first, last int64) {
		median := func(part []sample) int64 {
			values := make([]int64, len(part))
			for i, s := range part {
				values[i] = value(s)
			}
			slices.Sort(values)
			return values[len(values)/2]
		}
		return median(warm[:quarter]), median(warm[len(warm)-quarter:])
	}
	grown := func(what string, first, last int64) {
		most := first + int64(rep.cfg.growth*float64(first)) + rep.cfg.slack<<20
		if first >= 0 && last > most {
			rep.fail("%s grew from %s to %s, more than to %s", what, mib(first), mib(last), mib(most))
		}
	}
	rep.rssFirst, rep.rssLast = compare(func(s sample) int64 { return s.rss })
	grown("the resident memory", rep.rssFirst, rep.rssLast)
	rep.heapFirst, rep.heapLast = compare(func(s sample) int64 { return s.heap })
	grown("the live heap", rep.heapFirst, rep.heapLast)
	rep.goroutinesFirst, rep.goroutinesLast = compare(func(s sample) int64 { return int64(s.goroutines) })
	if rep.goroutinesLast > rep.goroutinesFirst+int64(rep.cfg.spare) {
		rep.fail("the goroutines grew from %d to %d", rep.goroutinesFirst, rep.goroutinesLast)
	}
}

func mib(n int64) string {
	if n < 0 {
		return "n/a"
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

func number(n int64) string {
	if n < 0 {
		return "n/a"
	}
	return fmt.Sprint(n)
}

// print writes the summary, and at its end a row of a Markdown table.
func (rep *report) print(w io.Writer) {
	seconds := max(rep.took.Seconds(), 0.001)
	perSecond, mbPerSecond := float64(rep.reads)/seconds, float64(rep.bytes)/1e6/seconds
	fmt.Fprintf(w, "\nAll entropy in this run was EMULATED, not quantum. Seed %d.\n", rep.cfg.seed)
	fmt.Fprintf(w, "%d Reads by %d goroutines in %v: %.0f a second, %.1f MB/s.\n", rep.reads, rep.cfg.readers, rep.took.Round(time.Second), perSecond, mbPerSecond)
	fmt.Fprintf(w, "Refused as the Policy says: %d not seeded, %d stale.\n", rep.notSeeded, rep.stale)
	fmt.Fprintf(w, "%d reseeds, %d with a block; %d blocks in stock, %d refused, of %d issued and %d in spoiled answers.\n",
		rep.reseeds, rep.used, rep.stock, rep.refused, rep.issued, rep.spoiled)
	fmt.Fprintf(w, "%d requests, %d faults, %d outages of regions, %d tokens (%d tried again, and refused).\n",
		rep.requests, rep.faults, rep.outages, rep.rotations, rep.refusedTokens)
	resident := mib(rep.rssFirst) + " → " + mib(rep.rssLast)
	heap := mib(rep.heapFirst) + " → " + mib(rep.heapLast)
	goroutines := number(rep.goroutinesFirst) + " → " + number(rep.goroutinesLast)
	fmt.Fprintf(w, "From the first quarter after the warm-up to the last: resident %s; live heap %s; goroutines %s.\n", resident, heap, goroutines)
	for _, n := range rep.notes {
		fmt.Fprintln(w, "note:", n)
	}
	for _, f := range rep.failures {
		fmt.Fprintln(w, "FAIL:", f)
	}
	for what, more := range map[string]int64{"notes": rep.noted - int64(len(rep.notes)), "failures": rep.failed - int64(len(rep.failures))} {
		if more > 0 {
			fmt.Fprintf(w, "and %d more %s\n", more, what)
		}
	}
	verdict := "ok"
	if rep.goroutinesFirst < 0 {
		verdict = "ok, but too short to compare memory"
	}
	if !rep.ok() {
		verdict = fmt.Sprintf("**%d failures**", rep.failed)
	}
	fmt.Fprintln(w, "\n| Date | Go, system | Ran | Reads | MB/s | Reseeds (with a block) | Issued | Requests (faults) | Outages | Tokens | Resident | Live heap | Goroutines | Verdict |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	fmt.Fprintf(w, "| %s | %s, %s/%s | %v | %d | %.1f | %d (%d) | %d | %d (%d) | %d | %d | %s | %s | %s | %s |\n",
		rep.began.Format(time.DateOnly), runtime.Version(), runtime.GOOS, runtime.GOARCH, rep.took.Round(time.Second), rep.reads, mbPerSecond,
		rep.reseeds, rep.used, rep.issued, rep.requests, rep.faults, rep.outages, rep.rotations,
		resident, heap, goroutines, verdict)
}
