package relaynats_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"example.com/qrand"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
	"example.com/qrand/relay"
	"example.com/qrand/relay/clients"
	"example.com/qrand/relaynats"
)

// A relay, a client of it, and NATS between them, all in one process. The command for the
// relay is qrandrelay.
func ExampleServe() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	quiet := slog.New(slog.DiscardHandler)

	// NATS. In production it has TLS and a user for each client: see ExampleNew and docs/fleet.md.
	bus, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		log.Fatal(err)
	}
	bus.Start()
	defer bus.Shutdown()
	if !bus.ReadyForConnections(10 * time.Second) {
		log.Fatal("NATS does not start")
	}
	nc, err := nats.Connect(bus.ClientURL(), relaynats.Options()...)
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()

	// The relay.
	service := qrypttest.NewServer(qrypttest.Config{}) // EMULATED: with an account, leave out Config.Blocks of the relay
	defer service.Close()
	account, err := qrypt.New(qrypt.Config{Endpoints: service.Endpoints(), Token: qrypt.StaticToken(service.Token()), HTTPClient: service.Client()})
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "clients.json")
	token, err := clients.Add(path, clients.Client{Name: "web-1"})
	if err != nil {
		log.Fatal(err)
	}
	list, err := clients.Open(path, "")
	if err != nil {
		log.Fatal(err)
	}
	r, err := relay.New(relay.Config{Blocks: account, Clients: list, Stock: 64, Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		log.Fatal(err)
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- relaynats.Serve(serving, nc, r, relaynats.ServerConfig{Key: private}) }()
	for !r.Ready() { // until the first block is there
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			log.Fatal("the relay has no block: ", r.Upstream().LastError)
		}
	}

	// The client. It asks again by itself until the relay listens.
	blocks, err := relaynats.New(nc, relaynats.Config{Relays: []ed25519.PublicKey{public}, Token: qrypt.StaticToken(token)})
	if err != nil {
		log.Fatal(err)
	}
	src, err := qrand.New(qrand.Config{Blocks: blocks, Policy: qrand.RequireInitial, AllowEmulated: true, Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	if err := src.WaitSeeded(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(src.Status().State, "with blocks that came over NATS, emulated:", src.Status().Emulated)

	src.Close()
	stop()
	if err := <-served; err != nil {
		log.Print(err)
	}
	if err := r.Close(); err != nil { // saves what the clients used
		log.Fatal(err)
	}
	// Output: Seeded with blocks that came over NATS, emulated: true
}
