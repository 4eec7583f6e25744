package provenance_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"log"
	"log/slog"
	"time"

	"example.com/qrand"
	"example.com/qrand/keygen"
	"example.com/qrand/provenance"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// A key is read through a Recorder, which then says where the entropy came from.
func ExampleRecorder() {
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

	rec := provenance.NewRecorder(src)
	key, err := keygen.Ed25519(rec)
	if err != nil {
		log.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		log.Fatal(err)
	}
	record, err := rec.Record("ed25519", spki)
	if err != nil {
		log.Fatal(err)
	}
	text, err := record.Encode() // the file to keep beside the key
	if err != nil {
		log.Fatal(err)
	}

	again, err := provenance.Parse(text)
	if err != nil {
		log.Fatal(err)
	}
	if err := again.Check(spki); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %d bytes, %d block, %s\n", again.Algorithm, again.Bytes, again.Blocks, again.Entropy)
	// Output: ed25519: 32 bytes, 1 block, emulated
}

// Alice and the key itself sign where the key's entropy came from. Somebody who trusts Alice
// verifies it.
func ExampleTrust_Verify() {
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
	if err := src.WaitSeeded(ctx); err != nil {
		log.Fatal(err)
	}

	// The record of a key, as in the Example of Recorder.
	rec := provenance.NewRecorder(src)
	key, err := keygen.Ed25519(rec)
	if err != nil {
		log.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		log.Fatal(err)
	}
	record, err := rec.Record("ed25519", spki)
	if err != nil {
		log.Fatal(err)
	}

	// Alice has a key of her own. It may be in a device: any crypto.Signer will do.
	_, hers, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	alice, err := provenance.NewSigner(hers)
	if err != nil {
		log.Fatal(err)
	}
	itself, err := provenance.NewSigner(key)
	if err != nil {
		log.Fatal(err)
	}
	statement := provenance.Statement{Record: record, SelfSigned: true}
	envelope, err := statement.Sign(ctx, alice, itself)
	if err != nil {
		log.Fatal(err)
	}
	text, err := envelope.Encode() // the file to publish with the public key
	if err != nil {
		log.Fatal(err)
	}

	// Elsewhere, later.
	trust := provenance.Trust{
		Signers:   []provenance.TrustedKey{{Name: "Alice", PublicKey: base64.StdEncoding.EncodeToString(alice.PublicKey())}},
		Threshold: 1,
		Endpoints: service.Endpoints(), // nil: those of Qrypt
		Emulated:  true,                // for rehearsals only
	}
	if envelope, err = provenance.ParseEnvelope(text); err != nil {
		log.Fatal(err)
	}
	report, err := trust.Verify(provenance.Evidence{Envelope: envelope, PublicKey: spki}, time.Now())
	if err != nil {
		log.Fatal(err)
	}
	for _, finding := range report.Findings {
		fmt.Println(finding.About+":", finding.Verdict)
	}

	trust.Emulated = false
	_, err = trust.Verify(provenance.Evidence{Envelope: envelope, PublicKey: spki}, time.Now())
	fmt.Println(err)
	// Output:
	// key: follows
	// signer: follows
	// threshold: follows
	// possession: follows
	// entropy: open
	// time: open
	// log: open
	// provenance: the entropy was EMULATED, not quantum
}
