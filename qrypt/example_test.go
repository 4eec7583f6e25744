package qrypt_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

func ExampleClient_Blocks() {
	// An emulator stands in for the service: its blocks are EMULATED. For the service itself,
	// qrypt.FromEnv() needs no more than QRYPT_TOKEN.
	server := qrypttest.NewServer(qrypttest.Config{})
	defer server.Close()

	client, err := qrypt.New(qrypt.Config{
		Endpoints:  server.Endpoints(),
		Token:      qrypt.StaticToken(server.Token()),
		HTTPClient: server.Client(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	blocks, err := client.Blocks(ctx, 2)
	var failure *qrypt.Error
	switch {
	case errors.Is(err, qrypt.ErrRateLimited) && errors.As(err, &failure):
		fmt.Println("again in", failure.RetryAfter)
		return
	case err != nil:
		fmt.Println(err)
		return
	}
	for _, block := range blocks {
		fmt.Println(len(block.Bytes()), "bytes, emulated:", block.Origin().Emulated)
		block.Wipe()
	}
	// Output:
	// 1024 bytes, emulated: true
	// 1024 bytes, emulated: true
}
