package relay_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"example.com/qrand"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
	"example.com/qrand/relay"
	"example.com/qrand/relay/clients"
)

// A relay and one of its clients, which is a Source. The command does the same: qrand relay.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	quiet := slog.New(slog.DiscardHandler)

	// The relay. It alone has the account.
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
	listener, err := net.Listen("tcp", "127.0.0.1:0") // plain HTTP: on any other address ServerConfig.TLS is needed
	if err != nil {
		log.Fatal(err)
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- relay.Serve(serving, r, relay.ServerConfig{Listener: listener, Logger: quiet}) }()

	for !r.Ready() { // until the first block is there; from outside: GET /readyz
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			log.Fatal("the relay has no block: ", r.Upstream().LastError)
		}
	}

	// A client. For it the relay is the service.
	blocks, err := qrypt.New(qrypt.Config{Endpoints: []string{"http://" + listener.Addr().String()}, Token: qrypt.StaticToken(token)})
	if err != nil {
		log.Fatal(err)
	}
	src, err := qrand.New(qrand.Config{Blocks: blocks, Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	if err := src.WaitSeeded(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(src.Status().State, "with the relay's blocks, emulated:", src.Status().Emulated)

	src.Close()
	stop()
	if err := <-served; err != nil {
		log.Print(err)
	}
	if err := r.Close(); err != nil { // saves what the clients used
		log.Fatal(err)
	}
	// Output: Seeded with the relay's blocks, emulated: true
}
