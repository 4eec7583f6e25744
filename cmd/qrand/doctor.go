package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/qrand/internal/cli"
)

// doctorLimit bounds the time of all checks together.
const doctorLimit = time.Minute

// A status is the result of a check.
type status string

const (
	ok   status = "ok"
	warn status = "warn"
	fail status = "fail"
	skip status = "skip"
)

// A check is one line of the report.
type check struct {
	Name   string `json:"name"`
	Status status `json:"status"`
	Detail string `json:"detail"`
	Advice string `json:"advice"`
}

// A report collects the checks, and shows each one as it comes.
type report struct {
	checks []check
	show   func(check)
	about  string // the endpoint that the next checks are about, or ""
}

func (r *report) add(s status, name, detail, advice string) {
	if r.about != "" {
		name += " " + r.about
	}
	c := check{name, s, detail, advice}
	r.checks = append(r.checks, c)
	r.show(c)
}

func (r *report) count(s status) (n int) {
	for _, c := range r.checks {
		if c.Status == s {
			n++
		}
	}
	return n
}

func newDoctorCommand(c *console) *cobra.Command {
	var asJSON, noFetch bool
	cmd := &cobra.Command{
		Use:   "doctor [flags]",
		Short: "Find out what works and what does not",
		Long: `Checks the environment, the token and each endpoint (name, connection,
certificate, clock), and fetches a block of entropy from each endpoint. It
prints what it found and what to do. Each fetch costs a block of the account's
allotment; --no-fetch saves it. Neither the token nor any entropy is shown.

The exit status is 0 if all is well or there are only warnings, 1 if something
is wrong.`,
		Example: `  qrand doctor
  qrand doctor --no-fetch
  qrand doctor --json | jq '.checks[] | select(.status != "ok")'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDoctor(cmd.Context(), c, asJSON, !noFetch)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	cmd.Flags().BoolVar(&noFetch, "no-fetch", false, "fetch no block: this costs nothing, and finds less")
	return cmd
}

func runDoctor(ctx context.Context, c *console, asJSON, fetch bool) error {
	limited, cancel := context.WithTimeout(ctx, doctorLimit)
	defer cancel()
	p := printer{c: c}
	r := &report{show: p.line}
	if asJSON {
		r.show = func(check) {}
	}
	checkRandom(r)
	checkGo(r)
	s := checkEnvironment(r, c.getenv)
	s.checkToken(limited, r, c.getenv)
	var clock clock
	for _, endpoint := range s.endpoints {
		s.checkEndpoint(limited, r, endpoint, &clock, fetch)
	}
	clock.check(r, fetch)
	if ctx.Err() != nil {
		return errInterrupted
	}
	failed := r.count(fail)
	if asJSON {
		enc := json.NewEncoder(c.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(struct {
			OK     bool    `json:"ok"`
			Checks []check `json:"checks"`
		}{failed == 0, r.checks}); err != nil {
			return err
		}
	} else if err := p.end(r); err != nil {
		return err
	}
	if failed > 0 {
		return errReported
	}
	return nil
}

// A printer prints checks for a person, as they come.
type printer struct {
	c     *console
	about string // the heading
	err   error
}

// nameWidth is the width of the column of names. An endpoint is in the heading above
// its checks.
const nameWidth = 11

func (p *printer) line(ch check) {
	m, colour := p.c.marks(), p.c.onOut()
	name, about, _ := strings.Cut(ch.Name, " ")
	if about != p.about {
		p.about = about
		p.print("\n")
		if about != "" {
			p.print(colour.bold(about) + "\n")
		}
	}
	sign := map[status]string{ok: colour.green(m.ok), warn: colour.yellow(m.warn), fail: colour.red(m.fail), skip: colour.dim(m.skip)}[ch.Status]
	indent := len([]rune(m.ok)) + 1 + nameWidth + 1
	detail := p.c.wrap(ch.Detail, indent)
	if ch.Status == skip {
		detail = colour.dim(detail)
	}
	p.print(fmt.Sprintf("%s %-*s %s\n", sign, nameWidth, name, detail))
	if ch.Advice != "" {
		if p.c.narrow(indent) {
			indent = cli.NarrowIndent
		}
		arrow := m.arrow + " "
		under := indent + len([]rune(arrow))
		p.print(strings.Repeat(" ", indent) + colour.bold(arrow) + p.c.wrap(ch.Advice, under) + "\n")
	}
}

func (p *printer) print(text string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.c.out, text)
	}
}

func (p *printer) end(r *report) error {
	colour := p.c.onOut()
	var verdict string
	failed, warned := r.count(fail), r.count(warn)
	switch {
	case failed > 0:
		verdict = colour.red(fmt.Sprintf("%s failed", count(int64(failed), "check")))
	case warned > 0:
		verdict = colour.yellow("Nothing is wrong")
	default:
		verdict = colour.green("All is well")
	}
	if warned > 0 {
		verdict += fmt.Sprintf(", %s", count(int64(warned), "warning"))
	}
	p.print("\n" + verdict + ".\n")
	return p.err
}
