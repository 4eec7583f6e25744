//go:build unix

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"example.com/qrand/internal/cli"
	"example.com/qrand/relay"
	"example.com/qrand/relay/clients"
	"example.com/qrand/transparency"
)

type serveOptions struct {
	dir, listen, cert, key, clients string
	interval                        time.Duration
}

// clientsFile is in the folder of the log.
const clientsFile = "clients.json"

func newServe() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Show the log over HTTPS, and take envelopes from clients",
		Long: `Serves the log's checkpoint, tiles and proofs to everybody, and takes envelopes
from clients that it knows: qrand keygen --log sends one. Without --cert it
serves plain HTTP, on a loopback address only. Meanwhile, qrandlog add can add to
the same folder.

qrand relay token makes the list of clients, and changes it while the log is
served. Without a list, nobody can add over HTTP.`,
		Example: `  TOKEN=$(qrand relay token new ca-1 --clients log/clients.json)
  qrandlog serve --listen :443 --cert log.crt --key log.key`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (o.cert == "") != (o.key == "") {
				return cli.Misused(errors.New("--cert and --key belong together"))
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
		},
	}
	dirFlag(cmd, &o.dir)
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", "127.0.0.1:8447", "`ADDRESS` to listen on")
	f.StringVar(&o.cert, "cert", "", "the certificate of the server and its chain, a PEM `FILE`; read again when it changes")
	f.StringVar(&o.key, "key", "", "the key of the certificate, a PEM `FILE`")
	f.StringVar(&o.clients, "clients", "", "the `FILE` of clients (default "+clientsFile+" in the folder of the log, if there is one)")
	f.DurationVar(&o.interval, "interval", time.Second, "make a checkpoint at most once in this `DURATION`")
	return cmd
}

func (o *serveOptions) run(ctx context.Context, out io.Writer, logger *slog.Logger) error {
	l, err := transparency.Open(o.dir, transparency.Config{CheckpointInterval: o.interval})
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.Start(); err != nil {
		return err
	}
	var watchers sync.WaitGroup
	defer watchers.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	list, err := o.openClients()
	if err != nil {
		return err
	}
	if list != nil {
		defer list.Close()
		watchers.Go(func() {
			list.Watch(ctx, func(err error) {
				if err != nil {
					logger.Error("the new list of clients is not used, the old one is", "error", err.Error())
				} else {
					logger.Info("there is a new list of clients")
				}
			})
		})
	}
	cfg := relay.ServerConfig{Logger: logger}
	scheme := "http"
	if o.cert != "" {
		certificate, err := relay.LoadCertificate(o.cert, o.key)
		if err != nil {
			return err
		}
		cfg.TLS, scheme = &tls.Config{GetCertificate: certificate.Get}, "https"
		watchers.Go(func() {
			certificate.Watch(ctx, func(err error) {
				if err != nil {
					logger.Error("the new certificate is not used, the old one is", "error", err.Error())
				} else {
					logger.Info("there is a new certificate", "expires", certificate.Expires().UTC())
				}
			})
		})
	}
	if cfg.Listener, err = net.Listen("tcp", o.listen); err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	at := cfg.Listener.Addr().(*net.TCPAddr)
	if cfg.TLS == nil && !at.IP.IsLoopback() {
		cfg.Listener.Close()
		return fmt.Errorf("plain HTTP on %s would show tokens to the network: give --cert and --key, or listen on a loopback address", o.listen)
	}
	who := "its clients may add to it"
	if list == nil {
		who = "nobody may add to it over HTTP: there is no list of clients"
	}
	if _, err := fmt.Fprintf(out, "The log %s is at %s://%s; %s.\n", l.Origin(), scheme, at, who); err != nil {
		cfg.Listener.Close()
		return err
	}
	return relay.Serve(ctx, transparency.Handler(l, list, logger), cfg)
}

// openClients returns nil if there is no list.
func (o *serveOptions) openClients() (*clients.List, error) {
	path := o.clients
	if path == "" {
		path = filepath.Join(o.dir, clientsFile)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
	}
	return clients.Open(path, "")
}
