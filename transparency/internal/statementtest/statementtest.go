// Package statementtest makes signed statements about keys for tests.
package statementtest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"example.com/qrand"
	"example.com/qrand/provenance"
	"example.com/qrand/qrypt"
)

// Person returns the Ed25519 key of somebody, by name.
func Person(t testing.TB, name string) (provenance.Signer, provenance.TrustedKey) {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	s, err := provenance.NewSigner(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return s, provenance.TrustedKey{Name: name, PublicKey: base64.StdEncoding.EncodeToString(s.PublicKey())}
}

// Sign returns the envelope of a statement about the key of somebody, which has a fresh block
// of its own. Alice and the signers sign it.
func Sign(t testing.TB, about string, change func(*provenance.Statement), signers ...string) []byte {
	t.Helper()
	made := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	key, _ := Person(t, about)
	block := sha256.Sum256([]byte(about))
	s := provenance.Statement{Record: provenance.Record{
		Version: provenance.Version, Algorithm: "ed25519", PublicKey: provenance.Digest(key.PublicKey()), Time: made, Bytes: 32, Entropy: provenance.Quantum,
		State: qrand.Seeded, Policy: qrand.RequireFresh, MaxAgeSeconds: 600,
		Blocks: 1, Fingerprints: []string{fmt.Sprintf("01234567:%x", block[:16])}, LastBlock: made, LastReceived: made, Endpoint: qrypt.EndpointEUS,
		Software: "example.com/qrand v0.1.0", GoVersion: "go1.26.0",
	}}
	if change != nil {
		change(&s)
	}
	var by []provenance.Signer
	for _, name := range append(signers, "alice") {
		signer, _ := Person(t, name)
		by = append(by, signer)
	}
	e, err := s.Sign(context.Background(), by...)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// Blocks makes a record have these blocks, the newest last.
func Blocks(policy qrand.Policy, names ...byte) func(*provenance.Statement) {
	return func(s *provenance.Statement) {
		r := &s.Record
		if r.Policy, r.Fingerprints, r.Blocks = policy, nil, int64(len(names)); policy != qrand.RequireFresh {
			r.MaxAgeSeconds = 0
		}
		for _, name := range names {
			r.Fingerprints = append(r.Fingerprints, fmt.Sprintf("89abcdef:%032x", name))
		}
	}
}
