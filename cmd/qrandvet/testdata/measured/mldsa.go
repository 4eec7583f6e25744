//go:build go1.27

package main

import (
	"crypto"
	"crypto/mldsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"time"
)

func init() { more = signWithMLDSA }

func signWithMLDSA() {
	key := must(mldsa.GenerateKey(mldsa.MLDSA44()))
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "A"}, SubjectKeyId: []byte{1},
		NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCRLSign,
	}
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(time.Hour)}
	request := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "A"}}
	message := []byte("message")

	random(func(r io.Reader) error { _, err := key.Sign(r, message, nil); return err })
	random(func(r io.Reader) error { _, err := key.Sign(r, message, &mldsa.Options{Context: "c"}); return err })
	random(func(r io.Reader) error { _, err := key.Sign(r, make([]byte, 64), crypto.MLDSAMu); return err })
	random(func(r io.Reader) error { _, err := crypto.SignMessage(key, r, message, &mldsa.Options{}); return err })
	random(func(r io.Reader) error { _, err := x509.CreateCertificate(r, c, c, key.Public(), key); return err })
	random(func(r io.Reader) error { _, err := x509.CreateCertificateRequest(r, request, key); return err })
	random(func(r io.Reader) error { _, err := x509.CreateRevocationList(r, list, c, key); return err })
	random(func(r io.Reader) error { _, err := c.CreateCRL(r, key, nil, now, now); return err })
}
