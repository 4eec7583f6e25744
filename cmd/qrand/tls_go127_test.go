//go:build go1.27

package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.com/qrand/internal/keyfile"
	"example.com/qrand/qrypttest"
)

// TestMLDSAInTLS: the key and certificate that keygen makes for an ML-DSA CA sign the
// certificate of an ML-DSA server whose request keygen made. Go's crypto/x509 verifies the
// three signatures. Go's crypto/tls reads both files of the server, speaks TLS 1.3 with them,
// and no older version.
func TestMLDSAInTLS(t *testing.T) {
	serve(t, qrypttest.Config{Rate: -1})
	for name, algorithm := range map[string]x509.SignatureAlgorithm{"ml-dsa-44": x509.MLDSA44, "ml-dsa-65": x509.MLDSA65, "ml-dsa-87": x509.MLDSA87} {
		caDir := keygenIn(t, name, "-o", "DIR/ca", "--self-signed", "--ca", "--subject", "CN=Root CA")
		authority, err := tls.LoadX509KeyPair(filepath.Join(caDir, "ca.crt"), filepath.Join(caDir, "ca"))
		if err != nil {
			t.Fatal(err)
		}
		ca := authority.Leaf
		if err := ca.CheckSignatureFrom(ca); err != nil || ca.SignatureAlgorithm != algorithm {
			t.Errorf("%s: the CA's signature of itself, %v: %v", name, ca.SignatureAlgorithm, err)
		}
		changed := bytes.Clone(ca.Raw)
		changed[len(changed)-100] ^= 1 // in the signature
		if c, err := x509.ParseCertificate(changed); err != nil || c.CheckSignatureFrom(ca) == nil {
			t.Errorf("%s: a damaged signature is good, or %v", name, err)
		}

		dir := keygenIn(t, name, "-o", "DIR/server", "--csr", "--subject", "CN=server", "--san", "localhost")
		csr, err := os.ReadFile(filepath.Join(dir, "server.csr"))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(csr)
		request, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if err := request.CheckSignature(); err != nil {
			t.Errorf("%s: the request's signature: %v", name, err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: request.DNSNames, NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, ca, request.PublicKey, authority.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		key, err := os.ReadFile(filepath.Join(dir, "server"))
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(keyfile.PEM(keyfile.KindCertificate, der), key)
		if err != nil {
			t.Fatal(err)
		}

		roots := x509.NewCertPool()
		roots.AddCert(ca)
		for version, good := range map[uint16]bool{tls.VersionTLS13: true, tls.VersionTLS12: false} {
			client, server := net.Pipe()
			served := make(chan error, 1)
			go func() {
				defer server.Close()
				served <- tls.Server(server, &tls.Config{Certificates: []tls.Certificate{pair}}).Handshake()
			}()
			conn := tls.Client(client, &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12, MaxVersion: version})
			err := conn.Handshake()
			client.Close()
			if serverErr := <-served; (err == nil) != good || (serverErr == nil) != good {
				t.Errorf("%s, %s: client: %v; server: %v", name, tls.VersionName(version), err, serverErr)
			}
			if chains := conn.ConnectionState().VerifiedChains; good && (len(chains) != 1 || len(chains[0]) != 2 || chains[0][0].SignatureAlgorithm != algorithm) {
				t.Errorf("%s: verified chains %v", name, chains)
			}
		}
	}
}
