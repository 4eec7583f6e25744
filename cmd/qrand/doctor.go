package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// doctorLimit bounds the whole examination.
const doctorLimit = time.Minute

// A status is how a check ended.
type status string

const (
	ok   status = "ok"
	warn status = "warn"
	fail status = "fail"
	skip status = "skip"
)

// A check is one line of the doctor's report.
type check struct {
	Name   string `json:"name"`
	Status status `json:"status"`
	Detail string `json:"detail"`
	Advice string `json:"advice"`
}

// A report collects the checks, and prints each one as it comes.
type report struct {
	checks []check
	tell   func(check)
	about  string // the endpoint that checks are about now, or ""
}

func (r *report) add(s status, name, detail, advice string) {
	if r.about != "" {
		name += " " + r.about
	}
	c := check{name, s, detail, advice}
	r.checks = append(r.checks, c)
	r.tell(c)
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
		Long: `Looks at the environment, the token and each endpoint (name, connection,
certificate, clock), fetches a block of entropy from each, and says what it
found and what to do. A fetch costs a block of the account's allotment for
each endpoint; --no-fetch saves it. Neither the token nor any entropy is
shown.

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
	cmd.Flags().BoolVar(&noFetch, "no-fetch", false, "fetch no block: costs nothing, finds less")
	return cmd
}

func runDoctor(ctx context.Context, c *console, asJSON, fetch bool) error {
	limited, cancel := context.WithTimeout(ctx, doctorLimit)
	defer cancel()
	p := printer{c: c}
	r := &report{tell: p.line}
	if asJSON {
		r.tell = func(check) {}
	}
	examine(limited, c, r, fetch)
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

// examine makes all checks, from the host's own to the service's.
func examine(ctx context.Context, c *console, r *report, fetch bool) {
	checkRandom(r)
	checkGo(r)
	s := checkEnvironment(r, c.getenv)
	checkToken(ctx, r, c.getenv, &s)
	var clock clock
	for _, e := range s.endpoints {
		checkEndpoint(ctx, r, e, &s, &clock, fetch)
	}
	clock.check(r, fetch)
}

// A printer writes a report for a person, as it comes.
type printer struct {
	c     *console
	about string // the heading
	err   error
}

// nameWidth is that of the column of names; what is about an endpoint is under
// a heading instead.
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
