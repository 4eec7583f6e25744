// Package testca issues certificates in tests.
package testca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

// A CA is a certificate with its key. It issues others that are valid for an hour.
type CA struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// New makes a root.
func New(t testing.TB) *CA {
	t.Helper()
	return (*CA)(nil).Sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "test CA"}, IsCA: true})
}

// Sign issues a certificate from the template, which says the names, the limits,
// and whether it is a CA.
func (ca *CA) Sign(t testing.TB, template *x509.Certificate) *CA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = serial, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	template.BasicConstraintsValid = true
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	if template.IsCA {
		template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageCertSign, nil
	}
	issuer := &CA{template, key} // itself
	if ca != nil {
		issuer = ca
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.Certificate, key.Public(), issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &CA{certificate, key}
}

// Issue issues a certificate for a DNS name.
func (ca *CA) Issue(t testing.TB, dnsName string) tls.Certificate {
	t.Helper()
	leaf := ca.Sign(t, &x509.Certificate{DNSNames: []string{dnsName}})
	return tls.Certificate{Certificate: [][]byte{leaf.Certificate.Raw}, PrivateKey: leaf.key}
}
