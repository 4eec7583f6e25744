package relay

import (
	"context"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	"example.com/qrand/qrypt"
)

// TestServeForLoad is the server of lab/relayload/run: what qrand relay serves, with a
// stock that never ends. Where it listens and a token are written to the file that
// QRAND_RELAY_LOAD names. It ends with an interrupt.
//
// The refiller keeps to the service's 30 requests in 10 s, 1.5 MiB/s, which is what
// one account carries for long. What is measured here is the other side, so that
// the stock is topped up past the refiller, with blocks that are labelled emulated.
func TestServeForLoad(t *testing.T) {
	where := os.Getenv("QRAND_RELAY_LOAD")
	if where == "" {
		t.Skip("this is no test, but what lab/relayload/run asks: QRAND_RELAY_LOAD is not set")
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt)
	defer stop()
	list := filepath.Join(t.TempDir(), "clients.json")
	token, err := AddClient(list, Client{Name: "load", Rate: -1})
	if err != nil {
		t.Fatal(err)
	}
	clients, err := OpenClients(list)
	if err != nil {
		t.Fatal(err)
	}
	const stock = 64 << 10 // blocks: 64 MiB
	source := &fastSource{mathrand.NewChaCha8([32]byte{})}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg := Config{Blocks: source, Clients: clients, Stock: stock, Logger: logger}
	if os.Getenv("QRAND_RELAY_LOAD_LOG") != "" {
		cfg.AccessLog = logger
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	full := make(chan struct{})
	var once sync.Once
	go func() {
		own := &fastSource{mathrand.NewChaCha8([32]byte{1})}
		for ctx.Err() == nil {
			if r.stock.missing(stock, time.Now()) > qrypt.MaxBlocks {
				blocks, _ := own.Blocks(ctx, qrypt.MaxBlocks)
				r.stock.put(blocks)
				continue
			}
			once.Do(func() { close(full) })
			time.Sleep(time.Millisecond)
		}
	}()
	<-full
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if path := os.Getenv("QRAND_RELAY_LOAD_PROFILE"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			t.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	config, _ := certificates(t)
	if err := os.WriteFile(where, fmt.Appendf(nil, "https://%v %s\n", listener.Addr(), token), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Serve(ctx, r, ServerConfig{Listener: listener, TLS: config, Logger: logger}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", r.Account())
}

// fastSource is for one caller at a time, as the refiller is.
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
