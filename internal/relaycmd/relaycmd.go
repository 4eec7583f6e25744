// Package relaycmd has what the commands that run a relay share: the flags, and the run
// itself.
package relaycmd

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"example.com/qrand/internal/cli"
	"example.com/qrand/internal/keyfile"
	"example.com/qrand/internal/pemfile"
	"example.com/qrand/provenance"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay"
	"example.com/qrand/relay/clients"
)

// The file of a relay's clients, unless --clients names one.
const (
	EnvClients     = "QRAND_RELAY_CLIENTS"
	defaultClients = "qrand-relay-clients.json"
)

// ClientsFile returns the file that EnvClients names, or the default.
func ClientsFile(getenv func(string) string) string {
	return cmp.Or(getenv(EnvClients), defaultClients)
}

// Grace is how long a relay may take to answer the requests that it has.
const Grace = 20 * time.Second

// Options are the flags of a relay.
type Options struct {
	Listen            string
	CertFile, KeyFile string
	Plain             bool
	ClientCA          string
	Clients, Usage    string
	Stock, Batch      int
	MaxAge            time.Duration
	MaxConns, PerHost int
	OperatorToken     bool
	ReceiptKey        string
	ReceiptName       string
	LogFormat         string
	Quiet             bool
}

// AddTo adds the flags.
func (o *Options) AddTo(f *pflag.FlagSet) {
	f.StringVar(&o.Listen, "listen", "127.0.0.1:8443", "`ADDRESS` to listen on")
	f.StringVar(&o.CertFile, "cert", "", "the certificate of the server and its chain, a PEM `FILE`; read again when it changes")
	f.StringVar(&o.KeyFile, "key", "", "the key of the certificate, a PEM `FILE`")
	f.BoolVar(&o.Plain, "plain", false, "plain HTTP, on a loopback address only")
	f.StringVar(&o.ClientCA, "client-ca", "", "accept client certificates of the CAs in this PEM `FILE`; read again when it changes")
	f.StringVar(&o.Clients, "clients", "", "the `FILE` of clients (default $"+EnvClients+", or "+defaultClients+")")
	f.StringVar(&o.Usage, "usage-file", "", "keep what clients have used in this `FILE` (default the file of clients with .usage)")
	f.IntVar(&o.Stock, "stock", 0, "keep `N` blocks of 1,024 bytes ready (default 4096)")
	f.IntVar(&o.Batch, "batch", 0, "ask the service for `N` blocks at a time (default 512, or half of the stock)")
	f.DurationVar(&o.MaxAge, "max-age", 0, "wipe blocks that nobody asked for within this `DURATION` (default never)")
	f.IntVar(&o.MaxConns, "max-conns", 0, "`N` connections at a time (default 2048)")
	f.IntVar(&o.PerHost, "max-conns-per-host", 0, "`N` connections of one address; raise it behind a load balancer (default 256)")
	f.BoolVar(&o.OperatorToken, "operator-token-always", false, "ask for the token of an operator from this host, too: set it behind a proxy on this host")
	f.StringVar(&o.ReceiptKey, "receipt-key", "", "sign receipts for clients that ask, with the private key in this PEM `FILE`")
	f.StringVar(&o.ReceiptName, "receipt-name", "", "the `NAME` of the relay in receipts (default the name of this host)")
	f.StringVar(&o.LogFormat, "log-format", "text", "log in this `FORMAT`: text or json")
	f.BoolVarP(&o.Quiet, "quiet", "q", false, "do not log requests")
}

// HasWay reports whether the flags say how to serve: with a certificate or in the clear.
func (o *Options) HasWay() bool { return o.Plain || o.CertFile != "" || o.KeyFile != "" }

// Check returns what is wrong with the flags.
func (o *Options) Check() error {
	switch {
	case o.Plain && (o.CertFile != "" || o.KeyFile != ""):
		return errors.New("--plain, and --cert with --key, exclude each other: give one")
	case (o.CertFile == "") != (o.KeyFile == ""):
		return errors.New("--cert and --key belong together")
	case o.Plain && o.ClientCA != "":
		return errors.New("--client-ca is about TLS, and --plain has none")
	case o.ReceiptName != "" && o.ReceiptKey == "":
		return errors.New("--receipt-name is about the receipts that --receipt-key signs: give that, too")
	case o.LogFormat != "text" && o.LogFormat != "json":
		return fmt.Errorf("--log-format %q: text or json", o.LogFormat)
	case o.Stock != 0 && (o.Stock < 2 || o.Stock > 1<<22): // what relay.Config takes, too
		return fmt.Errorf("--stock %d: from 2 to %d blocks can be kept", o.Stock, 1<<22)
	case o.Batch < 0 || o.Batch > qrypt.MaxBlocks:
		return fmt.Errorf("--batch %d: a request asks for 1 to %d blocks", o.Batch, qrypt.MaxBlocks)
	case o.Stock != 0 && o.Batch > o.Stock/2:
		return fmt.Errorf("--batch %d is more than half of --stock %d: the relay would run dry before it asks for more", o.Batch, o.Stock)
	case o.MaxAge < 0:
		return fmt.Errorf("--max-age %v is negative", o.MaxAge)
	case o.MaxConns < 0 || o.PerHost < 0:
		return errors.New("--max-conns and --max-conns-per-host are not negative")
	}
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		return fmt.Errorf("--listen %q: write it like 127.0.0.1:8443, or :443 for all addresses", o.Listen)
	}
	return nil
}

// Logger logs to w in the format of the flags.
func (o *Options) Logger(w io.Writer) *slog.Logger { return cli.NewLogger(w, o.LogFormat) }

// Hooks are what a command adds to a run.
type Hooks struct {
	// Certificate makes the certificate when the relay has everything else that it needs.
	// Nil: it is in the files of the flags.
	Certificate func() (tls.Certificate, error)

	// Listening is called when the relay listens. Its error ends the relay.
	Listening func(at *net.TCPAddr) error

	// Beside runs while the relay is served. The relay is not closed before Beside has
	// returned, which it does soon after ctx is done. If it returns earlier, the relay ends.
	// Nil: nothing runs.
	Beside func(ctx context.Context, r *relay.Relay) error
}

// Run runs a relay until ctx is done. It checks and sets up all that the flags ask for,
// before it writes anything or takes entropy from the service.
func (o *Options) Run(ctx context.Context, logger *slog.Logger, hooks Hooks) error {
	service, err := qrypt.ConfigFromEnv()
	if errors.Is(err, qrypt.ErrNoToken) {
		return fmt.Errorf("%w; without an account, try it with qrand emulate", err)
	} else if err != nil {
		return err
	}
	service.Logger = logger
	receipts, err := o.receipts()
	if err != nil {
		return fmt.Errorf("--receipt-key: %w", err)
	}
	blocks, err := qrypt.New(service)
	if err != nil {
		return err
	}
	var watchers sync.WaitGroup
	defer watchers.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	defer listener.Close()
	at := listener.Addr().(*net.TCPAddr)
	if o.Plain && !at.IP.IsLoopback() { // relay.Serve refuses it, too, but only after the relay took entropy
		return fmt.Errorf("--plain would show tokens and entropy to the network of %s: listen on a loopback address, or use --cert and --key", o.Listen)
	}
	list, err := clients.Open(cmp.Or(o.Clients, ClientsFile(os.Getenv)), o.Usage)
	if err != nil {
		return err
	}
	closeList := list.Close // until there is a relay, whose Close does that
	defer func() { closeList() }()
	clientCAs, err := o.watchClientCAs(ctx, logger, &watchers)
	if err != nil {
		return err
	}
	config, certificate, err := o.tls(ctx, logger, &watchers, hooks)
	if err != nil {
		return err
	}
	cfg := relay.Config{Blocks: blocks, Clients: list, Certificate: certificate, Stock: o.Stock, BatchBlocks: o.Batch, MaxAge: o.MaxAge, Logger: logger, OperatorTokenAlways: o.OperatorToken, Receipts: receipts}
	if !o.Quiet {
		cfg.AccessLog = logger
	}
	r, err := relay.New(cfg)
	if err != nil {
		return err
	}
	closeList = func() error { return nil } // it would wait for a disk that hangs
	watchers.Go(func() { onRetrySignal(ctx, r.Retry) })
	if err = hooks.Listening(at); err == nil { // or systemd would be told, and then the relay ends
		err = cli.Ready()
	}
	if err != nil {
		return errors.Join(err, r.Close())
	}
	logger.Info("relay: listening", "address", at.String(), "upstream", strings.Join(blocks.Endpoints(), ","))
	beside := make(chan error, 1)
	if hooks.Beside != nil {
		watchers.Go(func() {
			defer cancel()
			beside <- hooks.Beside(ctx, r)
		})
	} else {
		beside <- nil
	}
	err = relay.Serve(ctx, r, relay.ServerConfig{Listener: listener, TLS: config, ClientCAs: clientCAs, MaxConns: o.MaxConns, MaxConnsPerHost: o.PerHost, Logger: logger})
	cancel()
	err = errors.Join(err, <-beside)
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

// receipts returns nil without --receipt-key.
func (o *Options) receipts() (*relay.Receipts, error) {
	if o.ReceiptKey == "" {
		return nil, nil
	}
	text, err := pemfile.Read(o.ReceiptKey)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	key, err := keyfile.ParseSigner(text, nil)
	if errors.Is(err, keyfile.ErrEncrypted) {
		return nil, fmt.Errorf("%s is encrypted, and a relay has nobody to ask for the passphrase: give a key that is not", o.ReceiptKey)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %s", o.ReceiptKey, strings.TrimPrefix(err.Error(), "keyfile: "))
	}
	signer, err := provenance.NewSigner(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", o.ReceiptKey, strings.TrimPrefix(err.Error(), "provenance: "))
	}
	return &relay.Receipts{Signer: signer, Name: o.ReceiptName}, nil
}

// tls returns nil for plain HTTP. The certificate is that of --cert.
func (o *Options) tls(ctx context.Context, logger *slog.Logger, watchers *sync.WaitGroup, hooks Hooks) (*tls.Config, *relay.Certificate, error) {
	if o.Plain {
		return nil, nil, nil
	}
	config := &tls.Config{}
	var certificate *relay.Certificate
	if hooks.Certificate != nil {
		leaf, err := hooks.Certificate()
		if err != nil {
			return nil, nil, err
		}
		config.Certificates = []tls.Certificate{leaf}
	} else {
		var err error
		if certificate, err = relay.LoadCertificate(o.CertFile, o.KeyFile); err != nil {
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
func (o *Options) watchClientCAs(ctx context.Context, logger *slog.Logger, watchers *sync.WaitGroup) (*relay.ClientCAs, error) {
	if o.ClientCA == "" {
		return nil, nil
	}
	cas, err := relay.LoadClientCAs(o.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("--client-ca: %s", strings.TrimPrefix(err.Error(), "relay: "))
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
