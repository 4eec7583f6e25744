package qrand_test

import (
	"context"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"example.com/qrand"
	"example.com/qrand/keygen"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// The programs of the README and of docs, each on an emulated service that the
// environment names.

// onEmulator starts an emulator and names it in the environment, until the
// returned function is called.
func onEmulator() (stop func()) {
	server := qrypttest.NewServer(qrypttest.Config{})
	return onService(strings.Join(server.Endpoints(), ","), server.Token(), server.CAPEM(), server.Close)
}

// onOther does the same with a service that does not say that it is an emulator,
// for policies that refuse emulators.
func onOther() (stop func()) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("size"))
		random := make([][]byte, n)
		for i := range random {
			random[i] = make([]byte, qrypt.BlockSize)
			rand.Read(random[i])
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"random": random, "size": n})
	}))
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return onService(server.URL, "a-token", ca, server.Close)
}

func onService(endpoints, token string, caPEM []byte, end func()) (stop func()) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, caPEM, 0o600); err != nil {
		panic(err)
	}
	var restore []func()
	for name, value := range map[string]string{
		"QRYPT_ENDPOINTS": endpoints, "QRYPT_CA_FILE": ca, "QRYPT_TOKEN": token, "QRYPT_TOKEN_FILE": "", "QRYPT_DIALECT": "",
	} {
		old, was := os.LookupEnv(name)
		os.Setenv(name, value)
		restore = append(restore, func() {
			os.Unsetenv(name)
			if was {
				os.Setenv(name, old)
			}
		})
	}
	logger := slog.Default() // a Source says that its entropy is emulated
	slog.SetDefault(slog.New(slog.DiscardHandler))
	return func() {
		slog.SetDefault(logger)
		for _, f := range restore {
			f()
		}
		os.RemoveAll(dir)
		end()
	}
}

func Example() {
	defer onOther()()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	src, err := qrand.New(qrand.Config{Policy: qrand.RequireFresh}) // takes QRYPT_TOKEN from the environment
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	if err := src.WaitSeeded(ctx); err != nil { // until a block is in the generator
		log.Fatal(err)
	}
	key, err := keygen.ECDSA(elliptic.P256(), src) // not ecdsa.GenerateKey, which ignores src
	if err != nil {
		log.Fatal(err)
	}

	fmt.Println(key.Curve.Params().Name, src.Status().State)
	// Output: P-256 Seeded
}

func Example_environment() {
	defer onEmulator()()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	src, err := qrand.New(qrand.Config{}) // QRYPT_TOKEN; ready at once, seeded from crypto/rand
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	if err := src.WaitSeeded(ctx); err != nil { // optional: until a block is in the generator
		log.Print(err) // Reads work all the same
	}
	public, _, err := ed25519.GenerateKey(src)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(public), src.Status().State)
	// Output: 32 Seeded
}

func Example_caKey() {
	defer onOther()()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	// RequireFresh: no key without a block that came in the last ten minutes, nor from an emulator.
	src, err := qrand.New(qrand.Config{Policy: qrand.RequireFresh})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	if err := src.WaitSeeded(ctx); err != nil {
		log.Fatal(err)
	}
	key, err := keygen.ECDSA(elliptic.P384(), src) // not ecdsa.GenerateKey: it would ignore src
	if err != nil {
		log.Fatal(err)
	}
	serial := make([]byte, 16)
	if _, err := src.Read(serial); err != nil {
		log.Fatal(err)
	}
	ca := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(serial),
		Subject:               pkix.Name{CommonName: "Root CA"},
		NotBefore:             time.Now().Add(-time.Hour), // valid where the clock is behind, too
		NotAfter:              time.Now().AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	// The nonce of this signature is Go's own: ECDSA signatures ignore their reader.
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}

	cert, err := x509.ParseCertificate(der)
	fmt.Println(cert.Subject, cert.IsCA, cert.PublicKeyAlgorithm, err)
	// Output: CN=Root CA true ECDSA <nil>
}

func Example_mlkemKeyPair() {
	defer onEmulator()()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	src, err := qrand.New(qrand.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()

	if err := src.WaitSeeded(ctx); err != nil { // until a block is in the generator
		log.Fatal(err)
	}
	private, err := keygen.MLKEM768(src) // mlkem.GenerateKey768 takes no reader
	if err != nil {
		log.Fatal(err)
	}
	public := private.EncapsulationKey()

	shared, ciphertext := public.Encapsulate() // on the other side
	again, err := private.Decapsulate(ciphertext)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(public.Bytes()), string(shared) == string(again))
	// Output: 1184 true
}

func Example_reach() {
	defer onEmulator()()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	defer func(was any) { rand.Reader = was.(interface{ Read([]byte) (int, error) }) }(rand.Reader)
	src, err := qrand.New(qrand.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	rand.Reader = src
	if err := src.WaitSeeded(ctx); err != nil { // TLS reads the Source, too
		log.Fatal(err)
	}

	before := src.Status().Bytes
	rand.Text() // the call in question
	fmt.Println(src.Status().Bytes-before, "bytes came from the Source")
	// Output: 26 bytes came from the Source
}
