package ignoredreader_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"go/version"
	"math/big"
	"net"
	"runtime"
	"testing"
	"time"
)

// A counter counts the bytes that are read from crypto/rand through it.
type counter struct{ n int }

func (c *counter) Read(p []byte) (int, error) {
	c.n += len(p)
	return rand.Reader.Read(p)
}

// TestConfigRand: what is reported of tls.Config.Rand is true. A client reads its random and
// its session ID from it, 32 bytes each, and a server its random. Neither reads anything
// for a key, except the ML-KEM seed of a client in Go 1.26.
func TestConfigRand(t *testing.T) {
	t.Setenv("GODEBUG", "cryptocustomrand=0")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	mlkem := 64
	if version.Compare(runtime.Version(), "go1.27") >= 0 {
		mlkem = 0
	}
	for _, test := range []struct {
		version uint16
		curve   tls.CurveID
		client  int
	}{
		{tls.VersionTLS12, tls.X25519, 32 + 32},
		{tls.VersionTLS13, tls.X25519, 32 + 32},
		{tls.VersionTLS13, tls.CurveP256, 32 + 32},
		{tls.VersionTLS13, tls.X25519MLKEM768, 32 + 32 + mlkem},
	} {
		if fips140.Enabled() && test.curve == tls.X25519 {
			t.Log("X25519 alone is not allowed in FIPS 140 mode: not tried")
			continue
		}
		ours, theirs := net.Pipe()
		deadline := time.Now().Add(20 * time.Second)
		ours.SetDeadline(deadline)
		theirs.SetDeadline(deadline)
		var client, server counter
		s := tls.Server(theirs, &tls.Config{
			Rand:                   &server, //qrandvet:ignore counts what is taken from it
			Certificates:           []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}},
			MaxVersion:             test.version, // or of a random some bytes would be fixed
			SessionTicketsDisabled: true,
		})
		c := tls.Client(ours, &tls.Config{
			Rand:               &client, //qrandvet:ignore counts what is taken from it
			InsecureSkipVerify: true,
			MaxVersion:         test.version,
			CurvePreferences:   []tls.CurveID{test.curve},
		})
		served := make(chan error, 1)
		go func() { served <- s.Handshake() }()
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		if err := <-served; err != nil {
			t.Fatal(err)
		}
		if client.n != test.client || server.n != 32 {
			t.Errorf("%s, %v: the client took %d bytes, want %d, the server %d, want 32",
				tls.VersionName(test.version), test.curve, client.n, test.client, server.n)
		}
	}
}
