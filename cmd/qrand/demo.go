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

func newDemoCommand(c *console) *cobra.Command {
	var asJSON, verbose bool
	cmd := &cobra.Command{
		Use:   "demo [flags]",
		Short: "Ride out six kinds of outage on an emulated service",
		Long: `Starts an emulated entropy service in two regions, with real HTTPS on loopback,
and a Source that two goroutines read from all the time. Then the service fails
in six ways, one after the other: out of supply, garbage, gone, quota used up,
token revoked, rate limited. Each time the Source has to report it, the reads
have to go on, and the Source has to recover.

It needs no account and no network, and takes half a minute at most. After the
rate limit the Source waits up to 24 s for its turn, so that programs that
share a limit do not keep each other out. After the other outages it recovers
sooner than in production. The demo tells it to reseed all the time; otherwise
it would ask again after a second, then after two, and so on. Blocks that are
used in an outage come from the stock.

The entropy is EMULATED, not quantum. The exit status is 0 only if no read
failed and the Source reported each outage correctly.`,
		Example: `  qrand demo
  qrand demo --verbose        # also show what the Source logs
  qrand demo --json | jq .`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger := slog.New(slog.DiscardHandler)
			if verbose {
				logger = slog.New(logHandler{w: c.err})
			}
			return runDemo(cmd.Context(), c, outages, logger, asJSON, verbose)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the table as JSON, the rest on stderr")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "show on stderr what the Source logs")
	return cmd
}

func runDemo(ctx context.Context, c *console, outages []outage, logger *slog.Logger, asJSON, verbose bool) error {
	w, p, tty := c.out, c.onOut(), c.outTTY
	if asJSON {
		w, p, tty = c.err, c.onErr(), c.errTTY
	}
	began := time.Now()
	fmt.Fprintln(w, p.yellow("The entropy in this demo is EMULATED, not quantum."))
	io.WriteString(w, c.fit(fmt.Sprintf("Two goroutines read all the time; the service fails in %s, and is well again\nafter each. It takes half a minute at most.\n", count(int64(len(outages)), "way"))))
	fmt.Fprintln(w)
	s, err := newScenario(logger)
	if err != nil {
		return err
	}
	defer s.close()

	spin := c.newSpinner(w, tty && !verbose, "start")
	s.start(ctx)
	spin.end()
	for _, o := range outages {
		if ctx.Err() != nil {
			break
		}
		spin := c.newSpinner(w, tty && !verbose, o.name)
		problems := len(s.problems)
		noticed, recovered := s.run(ctx, o, func(what string) { spin.say(fmt.Sprintf("%-13s  %s", o.name, what)) })
		spin.end()
		if ctx.Err() == nil {
			sign := p.green(c.marks().ok)
			if len(s.problems) > problems {
				sign = p.red(c.marks().fail)
			}
			fmt.Fprintf(w, "%s %-13s  %s, %s\n", sign, o.name, timeText("noticed", noticed), timeText("recovered", recovered))
		}
	}
	if ctx.Err() != nil {
		return errInterrupted
	}
	s.close() // so that the sum is final

	sum := s.sum(time.Since(began))
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

func timeText(what string, d time.Duration) string {
	if d < 0 {
		return "not " + what
	}
	return fmt.Sprintf("%s in %.2f s", what, d.Seconds())
}

// A summary is the demo's result.
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

func (s *scenario) sum(took time.Duration) summary {
	sum := summary{
		Emulated: true, // even if the Source says otherwise: all of it comes from the emulator
		Rows:     s.rows,
		Reads:    s.readers.reads.Load(),
		Failed:   s.readers.failed.Load(),
		Blocks:   s.src.Status().Blocks,
		Seconds:  float64(took.Milliseconds()) / 1000,
		Problems: append([]string{}, s.problems...),
	}
	if sum.Failed > s.last.failed {
		sum.Problems = append(sum.Problems, "at the end: "+*s.readers.firstFailure.Load())
	}
	if !s.src.Status().Emulated {
		sum.Problems = append(sum.Problems, "the Source does not say that its entropy is emulated")
	}
	sum.OK = len(sum.Problems) == 0
	return sum
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
	if err := t.print(c); err != nil {
		return err
	}
	verdict := p.green
	if !s.OK {
		verdict = p.red
	}
	_, err := io.WriteString(c.out, c.fit(fmt.Sprintf("\n%s, in %.1f s, with %s of EMULATED entropy.\n",
		verdict(fmt.Sprintf("%s of %s reads failed", humanize.Comma(s.Failed), humanize.Comma(s.Reads))), s.Seconds, count(s.Blocks, "block"))))
	return err
}
