package kernel_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"time"

	"example.com/qrand/kernel"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// A program that should feed a block each minute, for as long as it runs, calls kernel.Feed.
// This one feeds a single block and looks at what was achieved. To mix a block that somebody
// knows does no harm to the pool.
func ExampleFeeder_Once() {
	service := qrypttest.NewServer(qrypttest.Config{}) // EMULATED: with an account, leave out Blocks
	defer service.Close()
	blocks, err := qrypt.New(qrypt.Config{Endpoints: service.Endpoints(), Token: qrypt.StaticToken(service.Token()), HTTPClient: service.Client()})
	if err != nil {
		log.Fatal(err)
	}
	feeder, err := kernel.New(kernel.Config{Blocks: blocks, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err) // on another system than Linux: errors.ErrUnsupported
	}
	defer feeder.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	result, err := feeder.Once(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if !result.Reseeded { // without CAP_SYS_ADMIN
		log.Print("the block is in the pool, and reaches readers within a minute: ", result.NotReseeded)
	}
	fmt.Println(result.Mixed, "bytes were mixed, emulated:", result.Origin.Emulated)
	// Output: 1024 bytes were mixed, emulated: true
}
