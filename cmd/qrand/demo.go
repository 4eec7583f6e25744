package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"example.com/qrand"
)

// A row is a stretch of the demo, and what the Source said of itself in it.
type row struct {
	Phase   string       `json:"phase"`
	Part    string       `json:"part"` // start, storm or recovery
	State   qrand.State  `json:"state"`
	Reason  qrand.Reason `json:"reason"`
	Reads   int64        `json:"reads"`
	Failed  int64        `json:"failed_reads"`
	Blocks  int64        `json:"blocks_used"`
	Seconds float64      `json:"seconds"`

	expected bool // state and reason are those of the outage table
}

// A mark is what the counters said when the last row ended.
type mark struct {
	at                    time.Time
	reads, failed, blocks int64
}

// note ends a row, and finds what is wrong with it.
func (t *theatre) note(phase, part string, state qrand.State, reason qrand.Reason) {
	st := t.src.Status()
	now := mark{time.Now(), t.crowd.reads.Load(), t.crowd.failed.Load(), st.Blocks}
	r := row{
		Phase: phase, Part: part, State: st.State, Reason: st.Reason,
		Reads:    now.reads - t.marked.reads,
		Failed:   now.failed - t.marked.failed,
		Blocks:   now.blocks - t.marked.blocks,
		Seconds:  float64(now.at.Sub(t.marked.at).Milliseconds()) / 1000,
		expected: st.State == state && st.Reason == reason,
	}
	t.rows, t.marked = append(t.rows, r), now
	if !r.expected {
		t.problem(phase, "the state is %s, not %s", stateText(st.State, st.Reason), stateText(state, reason))
	}
	if r.Failed > 0 {
		t.problem(phase, "%s failed, the first with: %s", count(r.Failed, "read"), *t.crowd.first.Load())
	}
}

func stateText(state qrand.State, reason qrand.Reason) string {
	if reason == "" {
		return state.String()
	}
	return fmt.Sprintf("%v, %s", state, reason)
}

func newDemoCommand(c *console) *cobra.Command {
	var asJSON, verbose bool
	cmd := &cobra.Command{
		Use:   "demo [flags]",
		Short: "Ride out six kinds of outage on an emulated service",
		Long: `Starts an emulated entropy service in two regions, real HTTPS on loopback,
and a Source that two goroutines read from all the while. Then the service
fails in six ways, one after the other: out of supply, garbage, gone, quota
used up, token revoked, rate limited. Each time the Source has to say so, the
reads have to go on, and it has to recover.

It needs no account and no network, and takes half a minute at most: after the
rate limit the Source waits up to 24 s for its turn, so that programs which
share a limit do not keep each other out. Elsewhere it recovers sooner than in
production: it is told to reseed all the while, and would otherwise ask again
after a second, then two, and so on. Blocks used in an outage are those in
stock.

The entropy is EMULATED, not quantum. The exit status is 0 only if no read
failed and every outage was told of as it should be.`,
		Example: `  qrand demo
  qrand demo --verbose        # with what the Source logs
  qrand demo --json | jq .`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger := slog.New(slog.DiscardHandler)
			if verbose {
				logger = slog.New(noteHandler{w: c.err})
			}
			return runDemo(cmd.Context(), c, storms, logger, asJSON, verbose)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the table as JSON, the rest on stderr")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "show on stderr what the Source logs")
	return cmd
}

func runDemo(ctx context.Context, c *console, storms []storm, logger *slog.Logger, asJSON, verbose bool) error {
	w, p, tty := c.out, c.onOut(), c.outTTY
	if asJSON {
		w, p, tty = c.err, c.onErr(), c.errTTY
	}
	began := time.Now()
	fmt.Fprintln(w, p.yellow("The entropy in this demo is EMULATED, not quantum."))
	fmt.Fprintf(w, "Two goroutines read all the while; the service fails in %s, and is well again\nafter each. It takes half a minute at most.\n", count(int64(len(storms)), "way"))
	fmt.Fprintln(w)
	t, err := newTheatre(logger)
	if err != nil {
		return err
	}
	defer t.close()

	spin := c.newSpinner(w, tty && !verbose, "start")
	t.opening(ctx)
	spin.end()
	for _, s := range storms {
		if ctx.Err() != nil {
			break
		}
		spin := c.newSpinner(w, tty && !verbose, s.name)
		problems := len(t.problems)
		noticed, recovered := t.play(ctx, s, func(what string) { spin.say(fmt.Sprintf("%-13s  %s", s.name, what)) })
		spin.end()
		if ctx.Err() == nil {
			fmt.Fprintln(w, phaseLine(s, p, c.marks(), noticed, recovered, len(t.problems) == problems))
		}
	}
	if ctx.Err() != nil {
		return errInterrupted
	}
	t.close() // so that the sum is final

	sum := t.sum(time.Since(began))
	if asJSON {
		enc := json.NewEncoder(c.out)
		enc.SetIndent("", "  ")
		err = enc.Encode(sum)
	} else {
		err = sum.print(c)
	}
	if err != nil {
		return err
	}
	if !sum.OK {
		return errors.New(strings.Join(sum.Problems, "; "))
	}
	return nil
}

// phaseLine tells of a storm when it is over.
func phaseLine(s storm, p palette, m marks, noticed, recovered time.Duration, ok bool) string {
	sign := p.green(m.ok)
	if !ok {
		sign = p.red(m.fail)
	}
	return fmt.Sprintf("%s %-13s  %s, %s", sign, s.name, took("noticed", noticed), took("recovered", recovered))
}

func took(what string, d time.Duration) string {
	if d < 0 {
		return "not " + what
	}
	return fmt.Sprintf("%s in %.2f s", what, d.Seconds())
}

// A summary is all that the demo found.
type summary struct {
	Emulated bool     `json:"emulated"`
	OK       bool     `json:"ok"`
	Rows     []row    `json:"rows"`
	Reads    int64    `json:"reads"`
	Failed   int64    `json:"failed_reads"`
	Blocks   int64    `json:"blocks_used"`
	Seconds  float64  `json:"seconds"`
	Problems []string `json:"problems"`
}

func (t *theatre) sum(took time.Duration) summary {
	s := summary{
		Emulated: true, // whatever the Source says: there is nothing else here
		Rows:     t.rows,
		Reads:    t.crowd.reads.Load(),
		Failed:   t.crowd.failed.Load(),
		Blocks:   t.src.Status().Blocks,
		Seconds:  float64(took.Milliseconds()) / 1000,
		Problems: append([]string{}, t.problems...),
	}
	if s.Failed > t.marked.failed {
		s.Problems = append(s.Problems, "at the end: "+*t.crowd.first.Load())
	}
	if !t.src.Status().Emulated {
		s.Problems = append(s.Problems, "the Source does not say that its entropy is emulated")
	}
	s.OK = len(s.Problems) == 0
	return s
}

func (s summary) print(c *console) error {
	p := c.onOut()
	t := table{
		heads: []string{"phase", "state", "reason", "reads", "failed", "blocks"},
		right: []bool{false, false, false, true, true, true},
	}
	for _, r := range s.Rows {
		phase, state, failed := r.Phase, p.green, p.green
		if r.Part == "recovery" {
			phase = ""
		}
		switch {
		case !r.expected:
			state = p.red
		case r.State == qrand.Degraded:
			state = p.yellow
		}
		if r.Failed > 0 {
			failed = p.red
		}
		t.add(cell{text: phase}, cell{r.State.String(), state}, cell{text: r.Reason.String()},
			cell{text: humanize.Comma(r.Reads)}, cell{humanize.Comma(r.Failed), failed}, cell{text: humanize.Comma(r.Blocks)})
	}
	io.WriteString(c.out, "\n")
	if err := t.write(c.out, p); err != nil {
		return err
	}
	verdict := p.green
	if !s.OK {
		verdict = p.red
	}
	_, err := fmt.Fprintf(c.out, "\n%s, in %.1f s, with %s of EMULATED entropy.\n",
		verdict(fmt.Sprintf("%s of %s reads failed", humanize.Comma(s.Failed), humanize.Comma(s.Reads))), s.Seconds, count(s.Blocks, "block"))
	return err
}
