// Command qrandrelay is qrand relay with a second front door: it also answers requests that
// come over NATS. It has the flags of qrand relay except --dev, and those that begin with
// --nats. qrand relay token makes the list of clients, qrand keygen ed25519 the key for
// --nats-key.
//
// The exit status is 0 if all is well or a signal ended it, 1 after a failure, 2 if the command
// line was wrong.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"example.com/qrand/internal/cli"
	"example.com/qrand/internal/pemfile"
	"example.com/qrand/internal/relaycmd"
	"example.com/qrand/internal/version"
	"example.com/qrand/relay"
	"example.com/qrand/relaynats"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	return cli.Run(newCommand(stdout, stderr), args, stdout, stderr)
}

// options are the flags.
type options struct {
	relaycmd.Options
	servers, creds, ca, key, subject string
}

func newCommand(stdout, stderr io.Writer) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "qrandrelay [flags]",
		Short: "Share one account among many programs, over HTTPS and over NATS",
		Long: `A relay as qrand relay, which also answers requests over NATS. Several relays
may listen at one subject: each request reaches one of them. NATS can read no
block that passes through it (docs/fleet.md).

The account's token and address come from QRYPT_TOKEN and so on. qrand relay
token writes the file of clients that may ask. The token of a client, and its
limits, are the same over HTTPS and over NATS.`,
		Example: `  qrand keygen ed25519 -o relay-nats.key       # clients get relay-nats.key.pub
  qrandrelay --cert relay.crt --key relay.key \
    --nats tls://nats-1:4222,tls://nats-2:4222 \
    --nats-creds relay.creds --nats-key relay-nats.key`,
		Version: version.Get(),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return cli.Misused(fmt.Errorf("unexpected argument %q", args[0]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), stdout, stderr) },
	}
	cmd.DisableFlagsInUseLine = true
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.servers, "nats", "", "the `URLS` of NATS servers, comma-separated")
	f.StringVar(&o.creds, "nats-creds", "", "the credentials for NATS, a `FILE` with a JWT and its seed (.creds), or with the seed of an NKey")
	f.StringVar(&o.key, "nats-key", "", "the key that signs answers over NATS: Ed25519, a PEM `FILE`")
	f.StringVar(&o.ca, "nats-ca", "", "trust the CAs in this PEM `FILE` for NATS, instead of the system's")
	f.StringVar(&o.subject, "nats-subject", relaynats.DefaultSubject, "the `SUBJECT` to listen at")
	o.AddTo(f)
	return cmd
}

func (o *options) run(ctx context.Context, stdout, stderr io.Writer) error {
	switch {
	case o.servers == "":
		return cli.Misused(errors.New("which NATS servers? Give --nats; a relay without NATS is qrand relay"))
	case o.key == "":
		return cli.Misused(errors.New("the relay needs a key to sign answers with: give --nats-key; qrand keygen ed25519 makes one"))
	case !o.HasWay():
		return cli.Misused(errors.New("a relay needs a certificate: give --cert and --key"))
	}
	if err := o.Check(); err != nil {
		return cli.Misused(err)
	}
	for server := range strings.SplitSeq(o.servers, ",") {
		// The error of Parse quotes the URL, which may have a password.
		if u, err := url.Parse(strings.TrimSpace(server)); err != nil || u.Host == "" || !slices.Contains([]string{"tls", "nats", "wss", "ws"}, u.Scheme) {
			return cli.Misused(errors.New("--nats has something that is no URL of a server: write it like tls://nats-1:4222,tls://nats-2:4222"))
		}
	}
	logger := o.Logger(stderr)
	text, err := pemfile.Read(o.key)
	if err != nil {
		return fmt.Errorf("--nats-key: %w", err)
	}
	key, err := relaynats.ParseKey(text)
	clear(text)
	if err != nil {
		return fmt.Errorf("--nats-key: %w", err)
	}
	cfg := relaynats.ServerConfig{Key: key, Subject: o.subject}
	if err := cfg.Check(); err != nil {
		return cli.Misused(fmt.Errorf("--nats-subject: %s", strings.TrimPrefix(err.Error(), "relaynats: ")))
	}
	how, err := o.connection(logger)
	if err != nil {
		return err
	}
	return o.Run(ctx, logger, relaycmd.Hooks{
		Listening: func(at *net.TCPAddr) error {
			_, err := fmt.Fprintf(stdout, "The relay listens on %s, and at %s while it is connected to NATS.\n", at, o.subject)
			return err
		},
		Beside: func(ctx context.Context, r *relay.Relay) error {
			for {
				err := o.serve(ctx, r, cfg, how)
				if ctx.Err() != nil {
					return nil
				}
				logger.Error("relay: it does not listen at NATS, and tries again soon", "error", err.Error())
				select { // HTTPS goes on
				case <-ctx.Done():
					return nil
				case <-time.After(again/2 + rand.N(again)):
				}
			}
		},
	})
}

// again is about how long a relay waits when NATS has refused it.
const again = 10 * time.Second

func (o *options) serve(ctx context.Context, r *relay.Relay, cfg relaynats.ServerConfig, how []nats.Option) error {
	nc, err := nats.Connect(o.servers, how...)
	if err != nil {
		return err
	}
	defer nc.Close()
	return relaynats.Serve(ctx, nc, r, cfg)
}

// connection says how to connect to NATS. While NATS is away, the relay serves HTTPS.
func (o *options) connection(logger *slog.Logger) ([]nats.Option, error) {
	few := rate.NewLimiter(rate.Every(time.Minute), 5)
	say := func(text string, err error) {
		if err != nil && few.Allow() {
			logger.Warn(text, "error", err.Error())
		}
	}
	how := append(relaynats.Options(),
		nats.Name("qrandrelay"),
		nats.ConnectHandler(func(nc *nats.Conn) {
			logger.Info("relay: connected to NATS", "server", nc.ConnectedUrlRedacted())
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			logger.Info("relay: connected to NATS again", "server", nc.ConnectedUrlRedacted())
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { say("relay: disconnected from NATS", err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { say("relay: cannot connect to NATS", err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { say("relay: an error of NATS", err) }),
	)
	if o.ca != "" {
		ca := nats.RootCAs(o.ca)
		if err := ca(new(nats.Options)); err != nil {
			return nil, fmt.Errorf("--nats-ca: %s", strings.TrimPrefix(err.Error(), "nats: "))
		}
		how = append(how, ca)
	}
	if o.creds == "" {
		return how, nil
	}
	text, err := os.ReadFile(o.creds)
	defer clear(text)
	if err != nil {
		return nil, fmt.Errorf("--nats-creds: %w", err)
	}
	if bytes.Contains(text, []byte("BEGIN NATS USER JWT")) {
		return append(how, nats.UserCredentials(o.creds)), nil
	}
	nkey, err := nats.NkeyOptionFromSeed(o.creds)
	if err != nil {
		return nil, fmt.Errorf("--nats-creds: %s has neither a JWT with its seed nor the seed of an NKey", o.creds)
	}
	return append(how, nkey), nil
}
