package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// emulateOptions are the flags of qrand emulate.
type emulateOptions struct {
	listen       []string
	token        string
	fault        string
	caFile       string
	envFile      string
	rate, quota  int
	fixedWindow  bool
	freeRefusals bool
	noRetryAfter bool
	requireToken bool
	quiet        bool
}

func newEmulateCommand(c *console) *cobra.Command {
	var o emulateOptions
	cmd := &cobra.Command{
		Use:   "emulate [flags]",
		Short: "Run the service's emulator, for tests of any client",
		Long: `Runs an emulator of the entropy service until Ctrl-C: real HTTPS with a
certificate of its own, token, rate limit, quota, and faults on demand. It
prints what to paste in another shell to use it, and logs each request on
stderr. Its entropy is EMULATED, not quantum, and every answer says so.

A token may make --rate requests in any 10 s. One that is too many is refused
with 429 and counts, too. A service may count otherwise: with --fixed-window,
counting begins anew at every multiple of 10 s; with --free-refusals, requests
that are too many do not count, which changes nothing in a fixed window.
Retry-After says how long it takes until a request is let in, if none is made
before; --no-retry-after leaves it out, except where --fault asks for it.

--fault takes a script, or @FILE: statements that end with a semicolon or the
line, each of them a kind of fault and, if wanted, retry-after=5s,
retry-after-date=5s, latency=300ms and how many requests it holds for: x3, or
x* for ever. The kinds are a status such as 503, and
` + faultKinds() + `.`,
		Example: `  qrand emulate
  qrand emulate --listen 127.0.0.1:8443 --listen 127.0.0.1:8444
  qrand emulate --fault '429 retry-after=5s x3; ok x2; hang; 503 x*'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			faults, err := readScript(o.fault)
			var bad *os.PathError
			if errors.As(err, &bad) {
				return err
			} else if err != nil {
				return misused(cmd, "--fault: %s", plain(err.Error()))
			}
			if cmd.Flags().Changed("token") && o.token == "" {
				return misused(cmd, "--token is empty: leave it out, and one is generated")
			}
			for _, address := range o.listen {
				if _, _, err := net.SplitHostPort(address); err != nil {
					return misused(cmd, "--listen %q: write it like 127.0.0.1:8443", address)
				}
			}
			if o.quota < 0 {
				return misused(cmd, "--quota %d: a quota is not negative", o.quota)
			}
			return runEmulate(cmd.Context(), c, o, faults)
		},
	}
	o.addFlags(cmd)
	return cmd
}

func (o *emulateOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&o.listen, "listen", nil, "`ADDRESS` to listen on, once for each region (default 127.0.0.1:0)")
	f.StringVar(&o.token, "token", "", "accept this `TOKEN` (ps shows it: for tests only)")
	f.StringVar(&o.fault, "fault", "", "what goes wrong: a `SCRIPT`, or @FILE with one")
	f.StringVar(&o.caFile, "ca-file", "qrand-emulator-ca.pem", "write the CA's certificate to this `FILE`")
	f.StringVar(&o.envFile, "env-file", "", "write the variables to this `FILE`; it is there while the emulator is")
	f.IntVar(&o.rate, "rate", 0, "`N` requests in 10 s for each token; below 0: no limit (default 30)")
	f.BoolVar(&o.fixedWindow, "fixed-window", false, "count anew from every multiple of 10 s on, not in any 10 s")
	f.BoolVar(&o.freeRefusals, "free-refusals", false, "do not count requests that are one too many")
	f.BoolVar(&o.noRetryAfter, "no-retry-after", false, "send no Retry-After to requests that are one too many")
	f.IntVar(&o.quota, "quota", 0, "`N` blocks for each token (default no limit)")
	f.BoolVar(&o.requireToken, "require-token", false, "refuse open-api requests without a token")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not log requests")
}

// faultKinds lists the kinds of fault in lines of a help text.
func faultKinds() string {
	var b strings.Builder
	at := 0
	for k := qrypttest.OK; k <= qrypttest.ExpiredCertificate; k++ {
		if k == qrypttest.Status {
			continue
		}
		word := k.String()
		if k != qrypttest.ExpiredCertificate {
			word += ","
		}
		switch {
		case at == 0:
		case at+1+len(word) > 76:
			b.WriteByte('\n')
			at = 0
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += len(word)
	}
	return b.String()
}

func readScript(text string) ([]qrypttest.Fault, error) {
	if path, isFile := strings.CutPrefix(text, "@"); isFile {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		text = string(data)
	}
	return qrypttest.ParseScript(text)
}

func (o *emulateOptions) config() qrypttest.Config {
	cfg := qrypttest.Config{
		Listen:       o.listen,
		Rate:         o.rate,
		FixedWindow:  o.fixedWindow,
		FreeRefusals: o.freeRefusals,
		NoRetryAfter: o.noRetryAfter,
		Quota:        o.quota,
		RequireToken: o.requireToken,
	}
	if len(o.listen) == 0 {
		cfg.Listen = []string{"127.0.0.1:0"}
	}
	for i := range cfg.Listen {
		name := fmt.Sprintf("region-%d", i+1)
		if i < len(regions) {
			name = regions[i]
		}
		cfg.Regions = append(cfg.Regions, name)
	}
	if o.token != "" {
		cfg.Tokens = []string{o.token}
	}
	return cfg
}

func runEmulate(ctx context.Context, c *console, o emulateOptions, faults []qrypttest.Fault) error {
	caFile, err := filepath.Abs(o.caFile)
	if err != nil {
		return err
	}
	// The files are looked at before anything is started.
	if err := errors.Join(ours(caFile, "an emulator's", isOurCA), ours(o.envFile, "an emulator's", begins(envHead))); err != nil {
		return err
	}
	cfg := o.config()
	service, err := qrypttest.Listen(cfg)
	if err != nil {
		return err
	}
	defer service.Close()
	service.Script(faults...)
	began := time.Now()

	if err := writeFile(caFile, service.CAPEM(), 0o644); err != nil {
		return err
	}
	vars := []variable{
		{qrypt.EnvEndpoints, strings.Join(service.Endpoints(), ",")},
		{qrypt.EnvCAFile, caFile},
	}
	if o.token == "" {
		vars = append(vars, variable{qrypt.EnvToken, service.Token()})
	}
	if err := introduce(c, cfg, service, vars); err != nil {
		return err
	}
	if o.envFile != "" {
		if err := writeFile(o.envFile, envFile(envHead, vars), 0o600); err != nil {
			return err
		}
		defer os.Remove(o.envFile)
	}

	log := newRequestLog(c, service)
	if !o.quiet {
		log.follow(ctx)
	}
	<-ctx.Done()
	service.Close()
	if !o.quiet {
		log.finish()
	}
	return sumUp(c, service, time.Since(began))
}

// introduce says what this is, and what to paste where.
func introduce(c *console, cfg qrypttest.Config, service *qrypttest.Server, vars []variable) error {
	p := c.onOut()
	var b strings.Builder
	fmt.Fprintln(&b, p.yellow("All entropy from this service is EMULATED, not quantum."))
	fmt.Fprintln(&b)
	for i, endpoint := range service.Endpoints() {
		fmt.Fprintf(&b, "  %-9s %s\n", cfg.Regions[i], endpoint)
	}
	fmt.Fprintf(&b, "\nPaste this in another shell:\n\n")
	named := false
	for _, v := range vars {
		fmt.Fprintf(&b, "  export %s\n", v)
		named = named || v.name == qrypt.EnvToken
	}
	if !named {
		fmt.Fprintf(&b, "  export %s=  # your token\n", qrypt.EnvToken)
	}
	fmt.Fprintf(&b, "\nThen, for example:\n\n  qrand read --format hex\n")
	fmt.Fprintf(&b, "  curl --cacert \"$%s\" -H \"Authorization: Bearer $%s\" \\\n    '%s/api/v1/quantum-entropy?size=1'\n\nCtrl-C ends it.\n\n",
		qrypt.EnvCAFile, qrypt.EnvToken, service.URL)
	_, err := io.WriteString(c.out, b.String())
	for i, address := range cfg.Listen {
		if host, _, _ := net.SplitHostPort(address); host != "localhost" && !net.ParseIP(host).IsLoopback() {
			c.note("other hosts can reach %s: it listens on %s", cfg.Regions[i], address)
		}
	}
	return err
}

// sumUp tells what was asked and answered.
func sumUp(c *console, service *qrypttest.Server, took time.Duration) error {
	answers, requests := service.Answers(), int64(0)
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(answers)) {
		name := fmt.Sprint(code)
		if code == 0 {
			name = "not answered"
		}
		parts = append(parts, fmt.Sprintf("%d × %s", answers[code], name))
		requests += answers[code]
	}
	detail := ""
	if len(parts) > 0 {
		detail = " (" + strings.Join(parts, ", ") + ")"
	}
	_, err := fmt.Fprintf(c.out, "%s in %v%s, %s issued, all EMULATED.\n", count(requests, "request"), took.Round(time.Second), detail, count(service.Issued(), "block"))
	return err
}

const (
	logSoon  = 20 * time.Millisecond // after a request, until it is answered
	logLate  = time.Second           // for requests that no hook tells of
	logGrace = 2 * time.Second       // beyond its latency, for a request to be answered
)

// A requestLog prints each request when it is answered, or when it is clear
// that it will not be. The emulator has no event for that, so it is asked: soon
// after its hook was, else rarely.
type requestLog struct {
	c       *console
	service *qrypttest.Server
	arrived chan struct{}
	ended   sync.WaitGroup
	printed int64          // all requests up to this number are
	early   map[int64]bool // and these after it
}

func newRequestLog(c *console, service *qrypttest.Server) *requestLog {
	return &requestLog{c: c, service: service, arrived: make(chan struct{}, 1), early: map[int64]bool{}}
}

// follow prints until ctx is done.
func (l *requestLog) follow(ctx context.Context) {
	l.service.SetFault(func(qrypttest.Request) *qrypttest.Fault {
		select {
		case l.arrived <- struct{}{}:
		default:
		}
		return nil
	})
	l.ended.Go(func() {
		for {
			wait := logLate
			if !l.flush(false) {
				wait = logSoon
			}
			select {
			case <-ctx.Done():
				return
			case <-l.arrived:
			case <-time.After(wait):
			}
		}
	})
}

// finish prints what is left, when the service is closed.
func (l *requestLog) finish() {
	l.ended.Wait()
	l.flush(true)
}

// flush prints what can be printed, and reports whether nothing is left.
func (l *requestLog) flush(all bool) bool {
	requests := l.service.RequestsSince(l.printed)
	waiting := 0
	for i := range requests {
		r := &requests[i]
		switch {
		case l.early[r.Number]:
		case all, r.Status != 0, silent(r.Fault.Kind), time.Since(r.Time) > r.Fault.Latency+logGrace:
			fmt.Fprintln(l.c.err, requestLine(r))
			l.early[r.Number] = true
		default:
			waiting++
		}
	}
	for i := range requests {
		number := requests[i].Number
		if !l.early[number] {
			break
		}
		delete(l.early, number)
		l.printed = number
	}
	return waiting == 0
}

// silent says of a kind that nothing tells when it is over.
func silent(k qrypttest.Kind) bool {
	switch k {
	case qrypttest.Hang, qrypttest.Drip, qrypttest.Reset, qrypttest.ShortBody, qrypttest.Oversize, qrypttest.ExpiredCertificate:
		return true
	}
	return false
}

// requestLine is a request in a line, its columns under those of the last.
func requestLine(r *qrypttest.Request) string {
	status := "---"
	if r.Status != 0 {
		status = fmt.Sprint(r.Status)
	}
	what := r.Method + " " + r.Path
	if r.Method == "" {
		what = "TLS handshake"
	}
	line := fmt.Sprintf("%s %-8s %s  %-28s", r.Time.Format("15:04:05.000"), r.Region, status, what)
	if r.Blocks > 0 {
		line += fmt.Sprintf(" %-10s", count(int64(r.Blocks), "block"))
	}
	fault := r.Fault
	fault.Times = 0 // of which this is one
	if fault != (qrypttest.Fault{}) {
		line += "  " + fault.String()
	}
	return strings.TrimRight(line, " ")
}
