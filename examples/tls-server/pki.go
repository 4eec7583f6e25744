package main

import (
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"

	"example.com/qrand/keygen"
)

// validFor is how long certificates are valid, from an hour ago on, because clocks differ.
// Both keys exist in memory only.
const validFor = 7 * 24 * time.Hour

// An authority signs certificates. Its key is an Ed25519 key because that signs without
// randomness: the nonce of an ECDSA signature would not come from the Source.
type authority struct {
	key  ed25519.PrivateKey
	cert *x509.Certificate
}

func newAuthority(src io.Reader) (*authority, error) {
	key, err := keygen.Ed25519(src)
	if err != nil {
		return nil, err
	}
	ca := &authority{key: key, cert: &x509.Certificate{
		Subject:               pkix.Name{CommonName: "qrand TLS example CA"},
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}}
	ca.cert, err = ca.sign(src, ca.cert, key.Public())
	return ca, err
}

// issue makes a server certificate for this machine, and its key.
func (ca *authority) issue(src io.Reader, kind string) (tls.Certificate, error) {
	key, err := newKey(src, kind)
	if err != nil {
		return tls.Certificate{}, err
	}
	cert, err := ca.sign(src, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "qrand TLS example"},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key.Public())
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

// newKey makes a key that certainly comes from the Source: since Go 1.26
// ecdsa.GenerateKey and rsa.GenerateKey ignore the reader that they are passed.
func newKey(src io.Reader, kind string) (crypto.Signer, error) {
	switch kind {
	case "ecdsa":
		return keygen.ECDSA(elliptic.P256(), src)
	case "ed25519":
		return keygen.Ed25519(src)
	case "rsa":
		return keygen.RSA(2048, src)
	case "ml-dsa":
		if newMLDSA == nil {
			return nil, errors.New("-key ml-dsa: crypto/tls has ML-DSA since Go 1.27: build with that, or use another kind")
		}
		return newMLDSA(src)
	}
	return nil, fmt.Errorf("-key %s: use ecdsa, ed25519, rsa or ml-dsa", kind)
}

// newMLDSA makes a key for ML-DSA-65. It is nil before Go 1.27.
var newMLDSA func(src io.Reader) (crypto.Signer, error)

func (ca *authority) sign(src io.Reader, template *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	serial := make([]byte, 16) // positive and at most 20 bytes: RFC 5280 section 4.1.2.2
	if _, err := io.ReadFull(src, serial); err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	template.SerialNumber = new(big.Int).SetBytes(serial)
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = template.NotBefore.Add(validFor)
	der, err := x509.CreateCertificate(src, template, ca.cert, public, ca.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (ca *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
}
