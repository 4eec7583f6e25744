package qrypt_test

import (
	"context"
	"errors"
	"fmt"

	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

func ExampleClient_Blocks() {
	// An emulator stands in for the service. For the service itself,
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

	blocks, err := client.Blocks(context.Background(), 2)
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
