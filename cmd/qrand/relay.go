package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"example.com/qrand/qrypt"
	"example.com/qrand/relay"
)

// relayOptions are the flags of qrand relay.
type relayOptions struct {
	listen            string
	certFile, keyFile string
	dev               bool
	caFile, envFile   string
	plain             bool
	clientCA          string
	clients, usage    string
	stock, batch      int
	maxAge            time.Duration
	maxConns, perHost int
	operatorToken     bool
	logFormat         string
	quiet             bool
}

// relayGrace is how long a relay may take to end the requests under way.
const relayGrace = 20 * time.Second

func newRelayCommand(c *console) *cobra.Command {
	var o relayOptions
	cmd := &cobra.Command{
		Use:   "relay [flags]",
		Short: "Share one account among many programs",
		Long: `Serves the entropy of one account to many programs, each with a token of its
own, over HTTPS and in Qrypt's own API: what was written for Qrypt's service
works with a relay by changing host, CA and token. Blocks are handed out as
they came, each byte once; when there are none left, the answer is 503.

The account's token and address come from QRYPT_TOKEN and so on, as for all
commands. Who may ask is in a file that qrand relay token writes; changes are
taken over while the relay runs. At / there is a page with its state, and at
/metrics what Prometheus reads: from this host, or with an operator's token.

--dev makes a certificate and, if there is no file of clients, a token for
this run, and prints what to paste in another shell.`,
		Example: `  qrand relay --dev
  qrand relay token new web-1 --quota 10MiB/24h
  qrand relay --listen :443 --cert relay.crt --key relay.key`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			return runRelay(cmd.Context(), c, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", "127.0.0.1:8443", "`ADDRESS` to listen on")
	f.StringVar(&o.certFile, "cert", "", "the server's certificate and its chain, a PEM `FILE`; read again when it changes")
	f.StringVar(&o.keyFile, "key", "", "the certificate's key, a PEM `FILE`")
	f.BoolVar(&o.dev, "dev", false, "make a certificate for this run, and a token if there are no clients")
	f.StringVar(&o.caFile, "ca-file", "qrand-relay-ca.pem", "with --dev, write the CA's certificate to this `FILE`")
	f.StringVar(&o.envFile, "env-file", "", "with --dev, also write the variables to this `FILE` while it runs")
	f.BoolVar(&o.plain, "plain", false, "plain HTTP, on a loopback address only")
	f.StringVar(&o.clientCA, "client-ca", "", "accept client certificates of the CAs in this PEM `FILE`")
	f.StringVar(&o.clients, "clients", "", "the clients' `FILE` (default $"+envRelayClients+", or "+defaultRelayClients+")")
	f.StringVar(&o.usage, "usage-file", "", "where to keep what clients have used: a `FILE` (default the clients' file with .usage)")
	f.IntVar(&o.stock, "stock", 0, "keep `N` blocks of 1,024 bytes ready (default 4096)")
	f.IntVar(&o.batch, "batch", 0, "ask the service for `N` blocks at a time (default 512, or half of the stock)")
	f.DurationVar(&o.maxAge, "max-age", 0, "wipe blocks that nobody wanted for this `DURATION` (default never)")
	f.IntVar(&o.maxConns, "max-conns", 0, "`N` connections at a time (default 16384)")
	f.IntVar(&o.perHost, "max-conns-per-host", 0, "`N` connections of one address; raise it behind a load balancer (default 1024)")
	f.BoolVar(&o.operatorToken, "operator-token-always", false, "ask for an operator's token from this host too: set it behind a proxy on this host")
	f.StringVar(&o.logFormat, "log-format", "text", "log in this `FORMAT`: text or json")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not log requests")
	cmd.AddCommand(newRelayTokenCommand(c))
	return cmd
}

func (o *relayOptions) check(cmd *cobra.Command) error {
	ways := 0
	for _, way := range []bool{o.dev, o.plain, o.certFile != "" || o.keyFile != ""} {
		if way {
			ways++
		}
	}
	switch {
	case ways == 0:
		return misused(cmd, "with which certificate? Say --cert and --key, or --dev to try it")
	case ways > 1:
		return misused(cmd, "--dev, --plain, --cert with --key: which?")
	case (o.certFile == "") != (o.keyFile == ""):
		return misused(cmd, "--cert and --key belong together")
	case o.plain && o.clientCA != "":
		return misused(cmd, "--client-ca is about TLS, and --plain has none")
	case cmd.Flags().Changed("ca-file") && !o.dev:
		return misused(cmd, "--ca-file is about --dev; for clients' CAs it is --client-ca")
	case cmd.Flags().Changed("env-file") && !o.dev:
		return misused(cmd, "--env-file is about --dev")
	case o.logFormat != "text" && o.logFormat != "json":
		return misused(cmd, "--log-format %q: text or json", o.logFormat)
	case o.maxConns < 0 || o.perHost < 0:
		return misused(cmd, "--max-conns and --max-conns-per-host are not negative")
	}
	if _, _, err := net.SplitHostPort(o.listen); err != nil {
		return misused(cmd, "--listen %q: write it like 127.0.0.1:8443, or :443 for all addresses", o.listen)
	}
	return nil
}

// runRelay sets up what the flags say, in an order in which nothing is written
// and no entropy is taken before all else is known to work.
func runRelay(ctx context.Context, c *console, o relayOptions) (err error) {
	c.grace.Store(int64(relayGrace))
	logger := o.logger(c)
	if o.dev {
		if err := errors.Join(ours(o.caFile, devFiles, isDevCA), ours(o.envFile, devFiles, begins(relayEnvHead))); err != nil {
			return err
		}
	}
	blocks, err := qrypt.FromEnv()
	if errors.Is(err, qrypt.ErrNoToken) {
		return fmt.Errorf("%w; without an account, try it with qrand emulate", err)
	} else if err != nil {
		return err
	}
	path := cmp.Or(o.clients, relayClientsFile(c))
	token, cleanup, err := o.devClients(&path)
	if err != nil {
		return err
	}
	defer cleanup()
	var watchers sync.WaitGroup
	defer watchers.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	defer listener.Close()
	at := listener.Addr().(*net.TCPAddr)
	if o.plain && !at.IP.IsLoopback() { // relay.Serve would say so, too, but when entropy has been taken for it
		return fmt.Errorf("--plain would show tokens and entropy to the network of %s: listen on a loopback address, or use --cert and --key", o.listen)
	}
	clients, err := relay.OpenClientsWithUsage(path, o.usage)
	if err != nil {
		return err
	}
	defer clients.Close()
	config, err := o.tls(ctx, logger, &watchers)
	if err != nil {
		return err
	}
	cfg := relay.Config{Blocks: blocks, Clients: clients, Stock: o.stock, BatchBlocks: o.batch, MaxAge: o.maxAge, Logger: logger, OperatorTokenAlways: o.operatorToken}
	if !o.quiet {
		cfg.AccessLog = logger
	}
	r, err := relay.New(cfg)
	if err != nil {
		return err
	}
	if err := o.introduce(c, at, token); err != nil {
		return errors.Join(err, r.Close())
	}
	if o.envFile != "" {
		defer os.Remove(o.envFile)
	}
	logger.Info("relay: listening", "address", at.String(), "upstream", strings.Join(blocks.Endpoints(), ","))
	err = relay.Serve(ctx, r, relay.ServerConfig{Listener: listener, TLS: config, MaxConns: o.maxConns, MaxConnsPerHost: o.perHost, Logger: logger})
	expired := r.Account().Expired
	err = errors.Join(err, r.Close())
	account := r.Account()
	line := []any{"received", account.Received, "handed_out", account.HandedOut, "lost", account.Lost, "expired", expired, "wiped", account.Expired - expired}
	if account.InFlight > 0 { // in answers of connections that were closed
		line = append(line, "in_flight", account.InFlight)
	}
	logger.Info("relay: stopped", line...)
	return err
}

// logger writes to stderr, each line with a time: a relay's log is read later.
func (o *relayOptions) logger(c *console) *slog.Logger {
	if o.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(c.err, nil))
	}
	return slog.New(slog.NewTextHandler(c.err, nil))
}

// devClients makes a list with one token for this run, where --dev has none.
func (o *relayOptions) devClients(path *string) (token string, cleanup func(), err error) {
	cleanup = func() {}
	if _, err := os.Stat(*path); !o.dev || o.clients != "" || !errors.Is(err, fs.ErrNotExist) {
		return "", cleanup, nil
	}
	dir, err := os.MkdirTemp("", "qrand-relay")
	if err != nil {
		return "", cleanup, err
	}
	remove := func() { os.RemoveAll(dir) }
	done := atExit.add(remove)
	cleanup = func() { done(); remove() }
	*path = filepath.Join(dir, "clients.json")
	if token, err = relay.AddClient(*path, relay.Client{Name: "dev", Created: time.Now(), Rate: -1}); err != nil {
		cleanup()
	}
	return token, cleanup, err
}

// tls is nil for plain HTTP.
func (o *relayOptions) tls(ctx context.Context, logger *slog.Logger, watchers *sync.WaitGroup) (*tls.Config, error) {
	if o.plain {
		return nil, nil
	}
	config := &tls.Config{}
	if o.clientCA != "" {
		data, err := os.ReadFile(o.clientCA)
		if err != nil {
			return nil, fmt.Errorf("--client-ca: %w", err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("--client-ca: %s has no certificate in PEM", o.clientCA)
		}
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	if o.dev {
		host, _, _ := net.SplitHostPort(o.listen)
		ca, leaf, err := devCertificate(host)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{leaf}
		return config, writeFile(o.caFile, ca, 0o644)
	}
	certificate, err := relay.LoadCertificate(o.certFile, o.keyFile)
	if err != nil {
		return nil, err
	}
	config.GetCertificate = certificate.Get
	watchers.Go(func() {
		certificate.Watch(ctx, func(err error) {
			if err != nil {
				logger.Error("relay: the new certificate is not used, the old one is", "error", err.Error())
				return
			}
			logger.Info("relay: there is a new certificate")
		})
	})
	return config, nil
}

// introduce says what to paste in another shell, where the token is this run's.
func (o *relayOptions) introduce(c *console, at *net.TCPAddr, token string) error {
	scheme := "https"
	if o.plain {
		scheme = "http"
	}
	host := at.IP.String()
	if at.IP.IsUnspecified() {
		host = "localhost"
	}
	url := fmt.Sprintf("%s://%s", scheme, net.JoinHostPort(host, fmt.Sprint(at.Port)))
	var b strings.Builder
	fmt.Fprintf(&b, "The relay serves %s, its page is at %s/\n", url, url)
	if o.dev {
		caFile, err := filepath.Abs(o.caFile)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "\nPaste this in another shell:\n\n")
		vars := []variable{{qrypt.EnvEndpoints, url}, {qrypt.EnvCAFile, caFile}}
		if token != "" {
			vars = append(vars, variable{qrypt.EnvToken, token})
		}
		for _, v := range vars {
			fmt.Fprintf(&b, "  export %s\n", v)
		}
		if token == "" {
			fmt.Fprintf(&b, "  export %s=  # a token of qrand relay token new\n", qrypt.EnvToken)
		}
		if o.envFile != "" {
			if err := writeFile(o.envFile, envFile(relayEnvHead, vars), 0o600); err != nil {
				return err
			}
		}
		fmt.Fprintf(&b, "\nThen, for example:\n\n  qrand read --format hex\n")
		fmt.Fprintf(&b, "  curl --cacert \"$%s\" -H \"Authorization: Bearer $%s\" \\\n    '%s/api/v1/quantum-entropy?size=1'\n\n", qrypt.EnvCAFile, qrypt.EnvToken, url)
	}
	fmt.Fprintf(&b, "Ctrl-C ends it.\n\n")
	_, err := c.out.Write([]byte(b.String()))
	return err
}

// devCAName is the subject of the CA of qrand relay --dev.
const devCAName = "qrand relay --dev CA"

// devFiles are whose files qrand relay --dev may replace.
const devFiles = "a relay's --dev"

func isDevCA(data []byte) bool {
	certs := certificates(data)
	return len(certs) == 1 && certs[0].Subject.CommonName == devCAName
}

// devCertificate makes a CA and a server's certificate for this host, and for
// the name that it listens on. Both hold for a month; the CA's key is forgotten.
func devCertificate(host string) (ca []byte, leaf tls.Certificate, err error) {
	from, to := time.Now().Add(-time.Hour), time.Now().AddDate(0, 1, 0)
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, leaf, err
	}
	issuer := &x509.Certificate{
		Subject:   pkix.Name{CommonName: devCAName},
		NotBefore: from, NotAfter: to,
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, issuer, issuer, caKey.Public(), caKey)
	if err != nil {
		return nil, leaf, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, leaf, err
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "qrand relay --dev"},
		NotBefore: from, NotAfter: to,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
		template.IPAddresses = append(template.IPAddresses, ip)
	} else if ip == nil && host != "" && host != "localhost" {
		template.DNSNames = append(template.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), caKey)
	if err != nil {
		return nil, leaf, err
	}
	leaf = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), leaf, nil
}
