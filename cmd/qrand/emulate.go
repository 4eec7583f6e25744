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

	"example.com/qrand/internal/loopback"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// emulatorCA is the subject of the emulator's certificates.
const emulatorCA = "qrypttest emulator CA"

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
	var kinds []string
	for k := qrypttest.OK; k <= qrypttest.ExpiredCertificate; k++ {
		if k != qrypttest.Status {
			kinds = append(kinds, k.String())
		}
	}
	cmd := &cobra.Command{
		Use:   "emulate [flags]",
		Short: "Run an emulator of the service, for tests of any client",
		Long: `Runs an emulator of the entropy service until Ctrl-C: real HTTPS with a
certificate of its own, token, rate limit, quota, and faults on demand. It
prints what to paste in another shell to use it, and logs each request on
stderr. Its entropy is EMULATED, not quantum, and every answer says so.

A token may make --rate requests in any 10 s. Further requests are refused with
429, and count, too. A service may count in other ways. With --fixed-window,
counting starts again at every multiple of 10 s. With --free-refusals, refused
requests do not count, which changes nothing in a fixed window. Retry-After
says after what time a request is accepted, if none is made before.
--no-retry-after leaves it out, except where --fault asks for it.

--fault takes a script, or @FILE. A statement ends at a semicolon or at the end
of the line. It is a kind of fault, followed by any of retry-after=5s,
retry-after-date=5s, latency=300ms, and the number of requests: x3, or x* for
all that follow. The kinds are a status such as 503, and
` + strings.Join(kinds, ", ") + `.`,
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
				return misused(cmd, "--token is empty: leave it out to have one generated")
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
	f.StringVar(&o.fault, "fault", "", "the faults: a `SCRIPT`, or @FILE with one")
	f.StringVar(&o.caFile, "ca-file", "qrand-emulator-ca.pem", "write the CA's certificate to this `FILE`")
	f.StringVar(&o.envFile, "env-file", "", envFileUsage)
	f.IntVar(&o.rate, "rate", 0, "`N` requests in 10 s for each token; below 0: no limit (default 30)")
	f.BoolVar(&o.fixedWindow, "fixed-window", false, "start to count again at every multiple of 10 s")
	f.BoolVar(&o.freeRefusals, "free-refusals", false, "do not count requests that are refused with 429")
	f.BoolVar(&o.noRetryAfter, "no-retry-after", false, "send no Retry-After with 429")
	f.IntVar(&o.quota, "quota", 0, "`N` blocks for each token (default no limit)")
	f.BoolVar(&o.requireToken, "require-token", false, "refuse open-api requests without a token")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not log requests")
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
	// The files are checked before anything is started.
	if err := checkDevFiles(caFile, emulatorCA, o.envFile, emulatorEnvHead, "an emulator's"); err != nil {
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
	if err := introduce(c, cfg, service, vars, o.envFile); err != nil {
		return err
	}
	if o.envFile != "" {
		if err := writeEnvFile(o.envFile, emulatorEnvHead, vars); err != nil {
			return err
		}
		defer os.Remove(o.envFile)
	}

	log := &requestLog{c: c, service: service, arrived: make(chan struct{}, 1), early: map[int64]bool{}}
	if !o.quiet {
		log.follow(ctx)
	}
	<-ctx.Done()
	service.Close()
	if !o.quiet {
		log.ended.Wait()
		log.flush(true)
	}
	return printRequests(c, service, time.Since(began))
}

// introduce says what this is, and what to paste where.
func introduce(c *console, cfg qrypttest.Config, service *qrypttest.Server, vars []variable, envFile string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", c.onOut().yellow("All entropy from this service is EMULATED, not quantum."))
	for i, endpoint := range service.Endpoints() {
		fmt.Fprintf(&b, "  %-9s %s\n", cfg.Regions[i], endpoint)
	}
	fmt.Fprintf(&b, "\n%sCtrl-C ends it.\n\n", pasteText(vars, envFile, "your token", service.URL))
	_, err := io.WriteString(c.out, b.String())
	for i, address := range cfg.Listen {
		if host, _, _ := net.SplitHostPort(address); !loopback.Is(host) {
			c.note("other hosts can reach %s: it listens on %s", cfg.Regions[i], address)
		}
	}
	return err
}

// printRequests prints how many requests there were, and their answers.
func printRequests(c *console, service *qrypttest.Server, took time.Duration) error {
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
	logSoon  = 20 * time.Millisecond // between polls while a request is not answered
	logLate  = time.Second           // between polls otherwise: not every request calls the hook
	logGrace = 2 * time.Second       // to answer a request, in addition to its latency
)

// A requestLog prints each request when it is answered, or when it is clear
// that it will not be. The emulator has no event for that, so the log polls: often
// after the emulator called its hook, otherwise rarely.
type requestLog struct {
	c       *console
	service *qrypttest.Server
	arrived chan struct{}
	ended   sync.WaitGroup
	printed int64          // all requests up to this number are printed,
	early   map[int64]bool // and these after it
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

// flush prints what can be printed, or all, and reports whether nothing is left.
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

// silent reports whether the emulator does not tell when a fault of this kind is
// over.
func silent(k qrypttest.Kind) bool {
	switch k {
	case qrypttest.Hang, qrypttest.Drip, qrypttest.Reset, qrypttest.ShortBody, qrypttest.Oversize, qrypttest.ExpiredCertificate:
		return true
	}
	return false
}

// requestLine is a request in one line, with columns.
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
	fault.Times = 0 // this is one of them
	if fault != (qrypttest.Fault{}) {
		line += "  " + fault.String()
	}
	return strings.TrimRight(line, " ")
}
