package qrand_test

import (
	"context"
	"crypto/ed25519"
	"crypto/elliptic"
	"fmt"
	"log"
	"net/http"
	"time"

	"example.com/qrand"
	"example.com/qrand/keygen"
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

// Since Go 1.26 ecdsa.GenerateKey ignores the reader it is passed; keygen.ECDSA
// does not. This is a key ceremony: no key without a block that came just now.
func Example_keyCeremony() {
	client, stop := emulated()
	defer stop()
	src, err := qrand.New(qrand.Config{Blocks: client, Policy: qrand.RequireFresh})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := src.Reseed(ctx); err != nil {
		log.Fatal(err)
	}
	key, err := keygen.ECDSA(elliptic.P256(), src)
	if err != nil {
		log.Fatal(err) // of the Policy: no key without quantum entropy
	}
	fmt.Println(key.Curve.Params().Name)
	// Output: P-256
}

// mlkem.GenerateKey768 takes no reader; an ML-KEM key can be made from a Source
// all the same, because it is its 64-byte seed (FIPS 203 section 7.1).
func Example_mlkem() {
	client, stop := emulated()
	defer stop()
	src, err := qrand.New(qrand.Config{Blocks: client})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()

	key, err := keygen.MLKEM768(src)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(key.EncapsulationKey().Bytes()))
	// Output: 1184
}
