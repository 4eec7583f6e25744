package keygen_test

import (
	"context"
	"crypto/elliptic"
	"crypto/sha3"
	"fmt"
	"log"
	"log/slog"
	"time"

	"example.com/qrand"
	"example.com/qrand/keygen"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// A classical and a post-quantum key, with quantum entropy in both or not made at all.
func Example() {
	service := qrypttest.NewServer(qrypttest.Config{}) // EMULATED: with an account, leave out Blocks and AllowEmulated
	defer service.Close()
	blocks, err := qrypt.New(qrypt.Config{Endpoints: service.Endpoints(), Token: qrypt.StaticToken(service.Token()), HTTPClient: service.Client()})
	if err != nil {
		log.Fatal(err)
	}
	src, err := qrand.New(qrand.Config{
		Blocks:        blocks,
		Policy:        qrand.RequireFresh,
		AllowEmulated: true,
		Logger:        slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := src.WaitSeeded(ctx); err != nil { // until a block is in the generator
		log.Fatal(err)
	}

	classical, err := keygen.ECDSA(elliptic.P256(), src)
	if err != nil {
		log.Fatal(err)
	}
	postQuantum, err := keygen.MLDSA65(src)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(classical.Curve.Params().Name, postQuantum.Scheme().Name(), src.Status().Bytes, "bytes were read")
	// Output: P-256 ML-DSA-65 64 bytes were read
}

// The same bytes give the same key. This stream is from a seed that everybody knows: it is
// for tests.
func ExampleEd25519_deterministic() {
	for range 2 {
		stream := sha3.NewSHAKE256()
		stream.Write([]byte("a seed for tests"))
		key, err := keygen.Ed25519(stream)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%x\n", key.Public())
	}
	// Output:
	// 110a2ae4e0d130e497f70b502f22feebbc209cde8dac553558456e6e73a64638
	// 110a2ae4e0d130e497f70b502f22feebbc209cde8dac553558456e6e73a64638
}
