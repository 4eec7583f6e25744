package qrand_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mlkem"
	"fmt"
	"io"
	"log"
	"net/http"
	"time"

	"example.com/qrand"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// emulated stands for qrypt.FromEnv() in these examples: a client of an emulated
// service instead of Qrypt's.
func emulated() (client *qrypt.Client, stop func()) {
	server := qrypttest.NewServer(qrypttest.Config{})
	httpClient := qrypt.NewHTTPClient()
	httpClient.Transport.(*http.Transport).TLSClientConfig.RootCAs =
		server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	client, err := qrypt.New(qrypt.Config{
		Endpoints:  server.Endpoints(),
		Token:      qrypt.StaticToken(server.Token()),
		HTTPClient: httpClient,
	})
	if err != nil {
		panic(err)
	}
	return client, server.Close
}

// A Source on Qrypt's service needs a token in QRYPT_TOKEN and nothing else:
// qrand.New(qrand.Config{}).
func Example() {
	client, stop := emulated()
	defer stop()

	src, err := qrand.New(qrand.Config{Blocks: client})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := src.WaitSeeded(ctx); err != nil {
		log.Print(err) // Reads work all the same, from crypto/rand
	}
	public, _, err := ed25519.GenerateKey(src)
	if err != nil {
		log.Fatal(err)
	}
	status := src.Status()
	fmt.Println(len(public), status.State, "emulated:", status.Emulated)
	// Output: 32 Seeded emulated: true
}

// Since Go 1.26 ecdsa.GenerateKey ignores the reader it is passed. This does
// what it did, with bytes that certainly come from the Source (FIPS 186-5,
// A.2.2: reject what is not in range).
func Example_ecdsa() {
	client, stop := emulated()
	defer stop()
	src, err := qrand.New(qrand.Config{Blocks: client, Policy: qrand.RequireFresh})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	if err := src.Reseed(context.Background()); err != nil {
		log.Fatal(err)
	}

	var key *ecdsa.PrivateKey
	d := make([]byte, 32)
	for key == nil {
		if _, err := io.ReadFull(src, d); err != nil {
			log.Fatal(err) // of the Policy: no key without quantum entropy
		}
		key, _ = ecdsa.ParseRawPrivateKey(elliptic.P256(), d) // fails once in 2^32
	}
	clear(d)
	fmt.Println(key.Curve.Params().Name)
	// Output: P-256
}

// An ML-KEM key is its 64-byte seed (FIPS 203, section 7.1), so that it too can
// be made from a Source, although mlkem.GenerateKey768 takes no reader.
func Example_mlkem() {
	client, stop := emulated()
	defer stop()
	src, err := qrand.New(qrand.Config{Blocks: client})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()

	seed := make([]byte, mlkem.SeedSize)
	if _, err := io.ReadFull(src, seed); err != nil {
		log.Fatal(err)
	}
	key, err := mlkem.NewDecapsulationKey768(seed)
	clear(seed)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(key.EncapsulationKey().Bytes()))
	// Output: 1184
}
