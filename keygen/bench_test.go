package keygen_test

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mlkem"
	"crypto/rand"
	"io"
	"log/slog"
	"testing"

	"github.com/cloudflare/circl/kem/mlkem/mlkem768"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"example.com/qrand"
	"example.com/qrand/keygen"
)

// BenchmarkKeys compares a key that is made from a Source with one that its own
// library makes from what it takes by itself. To see the ratios:
//
//	go test -run='^$' -bench=Keys -cpu=1 -count=10 ./keygen >new
//	go run golang.org/x/perf/cmd/benchstat@latest -col /by new
//
//qrandvet:ignore compares with functions that ignore it
func BenchmarkKeys(b *testing.B) {
	src, err := qrand.New(qrand.Config{Blocks: blocks{newStream(1)}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer src.Close()
	if err := src.WaitSeeded(context.Background()); err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name string
		own  func(io.Reader) (any, error)
		ours func(io.Reader) (any, error)
	}{
		{"ECDSA-P256",
			func(r io.Reader) (any, error) { return ecdsa.GenerateKey(elliptic.P256(), r) },
			func(r io.Reader) (any, error) { return keygen.ECDSA(elliptic.P256(), r) }},
		{"ECDH-P256",
			func(r io.Reader) (any, error) { return ecdh.P256().GenerateKey(r) },
			func(r io.Reader) (any, error) { return keygen.ECDH(ecdh.P256(), r) }},
		{"ECDH-X25519",
			func(r io.Reader) (any, error) { return ecdh.X25519().GenerateKey(r) },
			func(r io.Reader) (any, error) { return keygen.ECDH(ecdh.X25519(), r) }},
		{"Ed25519",
			second(ed25519.GenerateKey),
			func(r io.Reader) (any, error) { return keygen.Ed25519(r) }},
		{"MLKEM768",
			func(io.Reader) (any, error) { return mlkem.GenerateKey768() },
			func(r io.Reader) (any, error) { return keygen.MLKEM768(r) }},
		{"circl-MLKEM768",
			second(mlkem768.GenerateKeyPair),
			func(r io.Reader) (any, error) { return keygen.CirclMLKEM768(r) }},
		{"circl-MLDSA65",
			second(mldsa65.GenerateKey),
			func(r io.Reader) (any, error) { return keygen.MLDSA65(r) }},
	} {
		for _, by := range []struct {
			name string
			make func(io.Reader) (any, error)
			from io.Reader
		}{
			{"library", bench.own, rand.Reader},
			{"library-Source", bench.own, src},
			{"keygen", bench.ours, rand.Reader},
			{"keygen-Source", bench.ours, src},
		} {
			b.Run(bench.name+"/by="+by.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := by.make(by.from); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
