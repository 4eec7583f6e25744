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
	"example.com/qrand/relay/clients"
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

// relayGrace is how long a relay may take to answer the requests that it has.
const relayGrace = 20 * time.Second

func newRelayCommand(c *console) *cobra.Command {
	var o relayOptions
	cmd := &cobra.Command{
		Use:   "relay [flags]",
		Short: "Share one account among many programs",
		Long: `Serves the entropy of one account to many programs, each with a token of its
own, over HTTPS and with Qrypt's own API. A program that was written for
Qrypt's service works with a relay when you change host, CA and token. The
relay hands out blocks as it received them, each byte once. When none are left,
it answers 503.

The account's token and address come from QRYPT_TOKEN and so on, as for all
commands. qrand relay token writes the file of clients that may ask; the relay
applies changes of it while it runs. At / there is a page with the state, at
/metrics there are metrics for Prometheus: from this host, or with the token of
an operator.

After the service refused the token or the quota, the relay asks again when
there is another token, and else rarely. SIGUSR1 makes it ask now.

--dev makes a certificate for this run and, if there is no file of clients, a
token. It prints what to paste in another shell.`,
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
	f.StringVar(&o.certFile, "cert", "", "the certificate of the server and its chain, a PEM `FILE`; read again when it changes")
	f.StringVar(&o.keyFile, "key", "", "the key of the certificate, a PEM `FILE`")
	f.BoolVar(&o.dev, "dev", false, "make a certificate for this run, and a token if there are no clients")
	f.StringVar(&o.caFile, "ca-file", "qrand-relay-ca.pem", "with --dev, write the certificate of the CA to this `FILE`")
	f.StringVar(&o.envFile, "env-file", "", "with --dev, also write the variables to this `FILE` while it runs")
	f.BoolVar(&o.plain, "plain", false, "plain HTTP, on a loopback address only")
	f.StringVar(&o.clientCA, "client-ca", "", "accept client certificates of the CAs in this PEM `FILE`; read again when it changes")
	f.StringVar(&o.clients, "clients", "", "the `FILE` of clients (default $"+envRelayClients+", or "+defaultRelayClients+")")
	f.StringVar(&o.usage, "usage-file", "", "keep what clients have used in this `FILE` (default the file of clients with .usage)")
	f.IntVar(&o.stock, "stock", 0, "keep `N` blocks of 1,024 bytes ready (default 4096)")
	f.IntVar(&o.batch, "batch", 0, "ask the service for `N` blocks at a time (default 512, or half of the stock)")
	f.DurationVar(&o.maxAge, "max-age", 0, "wipe blocks that nobody asked for within this `DURATION` (default never)")
	f.IntVar(&o.maxConns, "max-conns", 0, "`N` connections at a time (default 2048)")
	f.IntVar(&o.perHost, "max-conns-per-host", 0, "`N` connections of one address; raise it behind a load balancer (default 256)")
	f.BoolVar(&o.operatorToken, "operator-token-always", false, "ask for the token of an operator from this host, too: set it behind a proxy on this host")
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
		return misused(cmd, "a relay needs a certificate: give --cert and --key, or --dev to try it")
	case ways > 1:
		return misused(cmd, "--dev, --plain, and --cert with --key exclude each other: give one")
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

// runRelay checks and sets up all that the flags ask for, before it writes anything
// or takes entropy from the service.
func runRelay(ctx context.Context, c *console, o relayOptions) (err error) {
	c.grace.Store(int64(relayGrace))
	// Each line has a time: the log of a relay is read later.
	logger := slog.New(slog.NewTextHandler(c.err, nil))
	if o.logFormat == "json" {
		logger = slog.New(slog.NewJSONHandler(c.err, nil))
	}
	if o.dev {
		const owner = "a relay's --dev"
		if err := errors.Join(checkReplaceable(o.caFile, owner, isCANamed(devCAName)), checkReplaceable(o.envFile, owner, beginsWith(relayEnvHead))); err != nil {
			return err
		}
	}
	service, err := qrypt.ConfigFromEnv()
	if errors.Is(err, qrypt.ErrNoToken) {
		return fmt.Errorf("%w; without an account, try it with qrand emulate", err)
	} else if err != nil {
		return err
	}
	service.Logger = logger
	blocks, err := qrypt.New(service)
	if err != nil {
		return err
	}
	path, token, remove, err := o.devClients(cmp.Or(o.clients, relayClientsFile(c)))
	if err != nil {
		return err
	}
	defer remove()
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
	if o.plain && !at.IP.IsLoopback() { // relay.Serve refuses it, too, but only after the relay took entropy
		return fmt.Errorf("--plain would show tokens and entropy to the network of %s: listen on a loopback address, or use --cert and --key", o.listen)
	}
	list, err := clients.Open(path, o.usage)
	if err != nil {
		return err
	}
	defer list.Close()
	clientCAs, err := o.watchClientCAs(ctx, logger, &watchers)
	if err != nil {
		return err
	}
	config, certificate, err := o.tls(ctx, logger, &watchers)
	if err != nil {
		return err
	}
	cfg := relay.Config{Blocks: blocks, Clients: list, Certificate: certificate, Stock: o.stock, BatchBlocks: o.batch, MaxAge: o.maxAge, Logger: logger, OperatorTokenAlways: o.operatorToken}
	if !o.quiet {
		cfg.AccessLog = logger
	}
	r, err := relay.New(cfg)
	if err != nil {
		return err
	}
	watchers.Go(func() { onRetrySignal(ctx, r.Retry) })
	if o.envFile != "" {
		defer os.Remove(o.envFile)
	}
	if err := o.introduce(c, at, token); err != nil {
		return errors.Join(err, r.Close())
	}
	logger.Info("relay: listening", "address", at.String(), "upstream", strings.Join(blocks.Endpoints(), ","))
	err = relay.Serve(ctx, r, relay.ServerConfig{Listener: listener, TLS: config, ClientCAs: clientCAs, MaxConns: o.maxConns, MaxConnsPerHost: o.perHost, Logger: logger})
	expired := r.Account().Expired
	err = errors.Join(err, r.Close())
	account := r.Account()
	line := []any{"received", account.Received, "handed_out", account.HandedOut, "lost", account.Lost, "expired", expired, "wiped", account.Expired - expired}
	if account.InFlight > 0 { // in answers to connections that were closed
		line = append(line, "in_flight", account.InFlight)
	}
	logger.Info("relay: stopped", line...)
	return err
}

// devClients makes a list of clients with one token for this run, if --dev is given
// and there is no list at path. It returns the path of the list that is used.
func (o *relayOptions) devClients(path string) (used, token string, remove func(), err error) {
	if _, err := os.Stat(path); !o.dev || o.clients != "" || !errors.Is(err, fs.ErrNotExist) {
		return path, "", func() {}, nil
	}
	dir, err := os.MkdirTemp("", "qrand-relay")
	if err != nil {
		return "", "", nil, err
	}
	done := atExit.add(func() { os.RemoveAll(dir) })
	remove = func() {
		done()
		os.RemoveAll(dir)
	}
	used = filepath.Join(dir, "clients.json")
	if token, err = clients.Add(used, clients.Client{Name: "dev", Created: time.Now(), Rate: -1}); err != nil {
		remove()
	}
	return used, token, remove, err
}

// tls returns nil for plain HTTP. The certificate is that of --cert.
func (o *relayOptions) tls(ctx context.Context, logger *slog.Logger, watchers *sync.WaitGroup) (*tls.Config, *relay.Certificate, error) {
	if o.plain {
		return nil, nil, nil
	}
	config := &tls.Config{}
	var certificate *relay.Certificate
	if o.dev {
		host, _, _ := net.SplitHostPort(o.listen)
		ca, leaf, err := devCertificate(host)
		if err != nil {
			return nil, nil, err
		}
		config.Certificates = []tls.Certificate{leaf}
		if err := writeFile(o.caFile, ca, 0o644); err != nil {
			return nil, nil, err
		}
	} else {
		var err error
		if certificate, err = relay.LoadCertificate(o.certFile, o.keyFile); err != nil {
			return nil, nil, err
		}
		if err := certificate.Check(); err != nil {
			logger.Warn("relay: clients will refuse the certificate", "error", err.Error())
		}
		config.GetCertificate = certificate.Get
		watchers.Go(func() {
			certificate.Watch(ctx, func(err error) {
				if err != nil {
					logger.Error("relay: the new certificate is not used, the old one is", "error", err.Error())
					return
				}
				logger.Info("relay: there is a new certificate", "expires", certificate.Expires().UTC())
			})
		})
	}
	return config, certificate, nil
}

// watchClientCAs reads the CAs of --client-ca, and reads them again when they change.
func (o *relayOptions) watchClientCAs(ctx context.Context, logger *slog.Logger, watchers *sync.WaitGroup) (*relay.ClientCAs, error) {
	if o.clientCA == "" {
		return nil, nil
	}
	cas, err := relay.LoadClientCAs(o.clientCA)
	if err != nil {
		return nil, fmt.Errorf("--client-ca: %s", plain(err.Error()))
	}
	watchers.Go(func() {
		cas.Watch(ctx, func(err error) {
			if err != nil {
				logger.Error("relay: the CAs of clients cannot be read again, those read before are trusted", "error", err.Error())
				return
			}
			logger.Info("relay: there are new CAs of clients")
		})
	})
	return cas, nil
}

// introduce says where the relay is, and with --dev what to paste in another shell.
func (o *relayOptions) introduce(c *console, at *net.TCPAddr, token string) error {
	scheme := "https"
	if o.plain {
		scheme = "http"
	}
	host := at.AddrPort().Addr().Unmap().String()
	if at.IP.IsUnspecified() {
		host = "localhost"
	}
	host = strings.Replace(host, "%", "%25", 1) // an IPv6 zone in a URL: RFC 6874 section 2
	url := fmt.Sprintf("%s://%s", scheme, net.JoinHostPort(host, fmt.Sprint(at.Port)))
	var b strings.Builder
	fmt.Fprintf(&b, "The relay serves %s, its page is at %s/\n", url, url)
	if o.dev {
		caFile, err := filepath.Abs(o.caFile)
		if err != nil {
			return err
		}
		vars := []variable{{qrypt.EnvEndpoints, url}, {qrypt.EnvCAFile, caFile}}
		if token != "" {
			vars = append(vars, variable{qrypt.EnvToken, token})
		}
		if o.envFile != "" {
			if err := writeEnvFile(o.envFile, relayEnvHead, vars); err != nil {
				return err
			}
		}
		b.WriteString("\n" + pasteText(vars, "a token of qrand relay token new", url))
	}
	fmt.Fprintf(&b, "Ctrl-C ends it.\n\n")
	_, err := c.out.Write([]byte(b.String()))
	return err
}

// devCAName is the subject of the CA of qrand relay --dev.
const devCAName = "qrand relay --dev CA"

// devCertificate makes a CA, and a server certificate for this host and for the
// name that it listens on. Both are valid for a month. The key of the CA is not
// kept.
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
	address, zone, _ := strings.Cut(host, "%")
	ip := net.ParseIP(address)
	if ip != nil && !ip.IsUnspecified() {
		template.IPAddresses = append(template.IPAddresses, ip)
	}
	// crypto/tls compares an IPv6 address with a zone as if it were a name.
	if (ip == nil || zone != "") && host != "" && host != "localhost" {
		template.DNSNames = append(template.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), caKey)
	if err != nil {
		return nil, leaf, err
	}
	leaf = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), leaf, nil
}
