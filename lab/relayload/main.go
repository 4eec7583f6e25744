// Command relayload serves what qrand relay serves, with a stock that never ends, until
// it is interrupted. It prints where it listens and a client's token, and at the end
// where every byte went. With -ask it asks a relay, each time on a new connection. The
// script run starts it, and has it and wrk ask.
//
// The refiller of a relay keeps to the service's 30 requests in 10 s, 1.5 MiB/s, which is
// what one account carries for long. This program measures the other side, so it puts
// blocks into the stock that no service gave. They are labelled emulated.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"time"

	"example.com/qrand/qrypt"
	"example.com/qrand/relay"
	"example.com/qrand/relay/clients"
)

// A stock is the part of a relay that is closed to other packages: _relay/stock.go, which
// lab/overlay.json lays over the package, opens it.
type stock interface {
	Missing() int
	Put([]qrypt.Block)
}

func main() {
	log.SetFlags(0)
	accessLog := flag.Bool("log", false, "write the access log")
	profile := flag.String("profile", "", "write a profile of the processor's time to this `file`")
	url := flag.String("ask", "", "serve nothing, but ask the relay at this `URL` with the token in TOKEN, on new connections")
	ca := flag.String("ca", "", "with -ask, a `file` with the CA of the relay")
	resume := flag.Bool("resume", false, "with -ask, resume TLS sessions")
	duration := flag.Duration("for", 10*time.Second, "with -ask, for how long")
	flag.Parse()
	if *url != "" {
		if err := ask(os.Stdout, *url, *ca, os.Getenv("TOKEN"), *resume, *duration); err != nil {
			log.Fatal("relayload: ", err)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *accessLog, *profile); err != nil {
		log.Fatal("relayload: ", err)
	}
}

func run(ctx context.Context, stdout io.Writer, accessLog bool, profile string) error {
	dir, err := os.MkdirTemp("", "relayload")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	list := filepath.Join(dir, "clients.json")
	token, err := clients.Add(list, clients.Client{Name: "load", Rate: -1, Bandwidth: -1})
	if err != nil {
		return err
	}
	known, err := clients.Open(list, "")
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg := relay.Config{
		Blocks:  &fastSource{mathrand.NewChaCha8([32]byte{})},
		Clients: known,
		Stock:   64 << 10, // blocks: 64 MiB
		Logger:  logger,
	}
	if accessLog {
		cfg.AccessLog = logger
	}
	r, err := relay.New(cfg)
	if err != nil {
		return err
	}
	defer r.Close()
	stock, ok := any(r).(stock)
	if !ok {
		return errors.New("there is no access to the stock: build with -overlay overlay.json, in the folder lab")
	}
	own := &fastSource{mathrand.NewChaCha8([32]byte{1})}
	if err := topUp(ctx, stock, own); err != nil {
		return err
	}
	go func() {
		for ctx.Err() == nil {
			if err := topUp(ctx, stock, own); err != nil {
				logger.Error("the stock is not topped up", "error", err)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	fmt.Fprintf(stdout, "https://%v %s\n", listener.Addr(), token)
	if err := relay.Serve(ctx, r, relay.ServerConfig{Listener: listener, TLS: certificate(), Logger: logger}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%+v\n", r.Account())
	return err
}

// topUp puts blocks into the stock until a request's worth of them has no room.
func topUp(ctx context.Context, s stock, from *fastSource) error {
	for ctx.Err() == nil && s.Missing() > qrypt.MaxBlocks {
		blocks, err := from.Blocks(ctx, qrypt.MaxBlocks)
		if err != nil {
			return err
		}
		s.Put(blocks)
	}
	return nil
}

// certificate returns a configuration with the certificate of package httptest.
func certificate() *tls.Config {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates}
}

// A fastSource is for one caller at a time, as the refiller is.
type fastSource struct{ stream *mathrand.ChaCha8 }

func (s *fastSource) Blocks(_ context.Context, n int) ([]qrypt.Block, error) {
	p := make([]byte, qrypt.BlockSize)
	blocks := make([]qrypt.Block, n)
	for i := range blocks {
		s.stream.Read(p)
		var err error
		if blocks[i], err = qrypt.NewBlock(p, qrypt.Origin{Endpoint: "load", Emulated: true}); err != nil {
			return nil, err
		}
	}
	return blocks, nil
}
