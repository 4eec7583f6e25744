// Command measured calls functions with a reader that counts, and prints for each
// the place, the number of bytes taken, and whether there is any use for them in
// what it computes.
package main

import (
	"crypto"
	"crypto/dsa"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"path/filepath"
	"runtime"
	"time"
)

// A counter counts the bytes read from crypto/rand through it.
type counter struct{ n int }

func (c *counter) Read(p []byte) (int, error) {
	c.n += len(p)
	return rand.Reader.Read(p)
}

func random(call func(r io.Reader) error) { measure("random", call) }

func deterministic(call func(r io.Reader) error) { measure("deterministic", call) }

func measure(kind string, call func(r io.Reader) error) {
	_, file, line, _ := runtime.Caller(2)
	place := fmt.Sprintf("%s:%d", filepath.Base(file), line)
	c := new(counter)
	if err := call(c); err != nil {
		log.Fatalf("%s: %v", place, err)
	}
	fmt.Println(place, c.n, kind)
}

// more are calls that not every version of Go has.
var more = func() {}

func main() {
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	rs := must(rsa.GenerateKey(rand.Reader, 2048))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	check(err)
	var ds dsa.PrivateKey
	check(dsa.GenerateParameters(&ds.Parameters, rand.Reader, dsa.L1024N160))
	check(dsa.GenerateKey(&ds, rand.Reader))
	digest := sha256.Sum256([]byte("message"))
	d := digest[:]
	sealed := must(rsa.EncryptOAEP(sha256.New(), rand.Reader, &rs.PublicKey, d, nil))
	padded := must(rsa.EncryptPKCS1v15(rand.Reader, &rs.PublicKey, d))
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "A"}, SubjectKeyId: []byte{1},
		NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCRLSign,
	}
	pss := *c
	pss.SignatureAlgorithm = x509.SHA256WithRSAPSS
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(time.Hour)}
	request := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "A"}}

	random(func(r io.Reader) error { _, err := ecdsa.GenerateKey(elliptic.P256(), r); return err })
	random(func(r io.Reader) error { _, err := ecdsa.GenerateKey(elliptic.P521(), r); return err })
	random(func(r io.Reader) error { _, err := ecdh.P256().GenerateKey(r); return err })
	random(func(r io.Reader) error { _, err := ecdh.P384().GenerateKey(r); return err })
	random(func(r io.Reader) error { _, err := ecdh.P521().GenerateKey(r); return err })
	random(func(r io.Reader) error { _, err := ecdh.X25519().GenerateKey(r); return err })
	random(func(r io.Reader) error { _, err := rsa.GenerateKey(r, 1024); return err })
	random(func(r io.Reader) error { _, err := rsa.GenerateMultiPrimeKey(r, 2, 1024); return err })
	random(func(r io.Reader) error { _, err := rsa.GenerateMultiPrimeKey(r, 3, 1024); return err })
	random(func(r io.Reader) error { _, err := rand.Prime(r, 256); return err })
	random(func(r io.Reader) error { _, err := rsa.EncryptPKCS1v15(r, &rs.PublicKey, d); return err })
	random(func(r io.Reader) error { _, _, err := ecdsa.Sign(r, ec, d); return err })
	random(func(r io.Reader) error { _, err := ecdsa.SignASN1(r, ec, d); return err })
	random(func(r io.Reader) error { _, err := ec.Sign(r, d, crypto.SHA256); return err })
	random(func(r io.Reader) error { _, _, err := dsa.Sign(r, &ds, d[:20]); return err })
	random(func(r io.Reader) error { _, err := crypto.SignMessage(ec, r, d, crypto.SHA256); return err })
	random(func(r io.Reader) error { _, err := x509.CreateCertificate(r, c, c, ec.Public(), ec); return err })
	random(func(r io.Reader) error { _, err := x509.CreateCertificateRequest(r, request, ec); return err })
	random(func(r io.Reader) error { _, err := x509.CreateRevocationList(r, list, c, ec); return err })
	random(func(r io.Reader) error { _, err := c.CreateCRL(r, ec, nil, now, now); return err })

	random(func(r io.Reader) error { _, _, err := ed25519.GenerateKey(r); return err })
	random(func(r io.Reader) error { _, _, _, err := elliptic.GenerateKey(elliptic.P256(), r); return err })
	random(func(r io.Reader) error { return dsa.GenerateParameters(new(dsa.Parameters), r, dsa.L1024N160) })
	random(func(r io.Reader) error { return dsa.GenerateKey(&dsa.PrivateKey{PublicKey: ds.PublicKey}, r) })
	random(func(r io.Reader) error { _, err := rand.Int(r, big.NewInt(1e9)); return err })
	random(func(r io.Reader) error { _, err := rsa.SignPSS(r, rs, crypto.SHA256, d, nil); return err })
	random(func(r io.Reader) error { _, err := rs.Sign(r, d, &rsa.PSSOptions{Hash: crypto.SHA256}); return err })
	random(func(r io.Reader) error { _, err := rsa.EncryptOAEP(sha256.New(), r, &rs.PublicKey, d, nil); return err })
	random(func(r io.Reader) error {
		_, err := rsa.EncryptOAEPWithOptions(r, &rs.PublicKey, d, &rsa.OAEPOptions{Hash: crypto.SHA256})
		return err
	})
	random(func(r io.Reader) error {
		_, err := rs.Decrypt(r, padded, &rsa.PKCS1v15DecryptOptions{SessionKeyLen: 32})
		return err
	})
	random(func(r io.Reader) error { _, err := x509.CreateCertificate(r, &pss, c, rs.Public(), rs); return err })
	random(func(r io.Reader) error { _, err := x509.EncryptPEMBlock(r, "", d, d, x509.PEMCipherAES256); return err })

	deterministic(func(r io.Reader) error { _, err := rsa.SignPKCS1v15(r, rs, crypto.SHA256, d); return err })
	deterministic(func(r io.Reader) error { _, err := rs.Sign(r, d, crypto.SHA256); return err })
	deterministic(func(r io.Reader) error { _, err := rsa.DecryptPKCS1v15(r, rs, padded); return err })
	deterministic(func(r io.Reader) error { return rsa.DecryptPKCS1v15SessionKey(r, rs, padded, make([]byte, 32)) })
	deterministic(func(r io.Reader) error { _, err := rs.Decrypt(r, padded, nil); return err })
	deterministic(func(r io.Reader) error { _, err := rsa.DecryptOAEP(sha256.New(), r, rs, sealed, nil); return err })
	deterministic(func(r io.Reader) error { _, err := ed.Sign(r, d, crypto.Hash(0)); return err })
	deterministic(func(r io.Reader) error { _, err := crypto.SignMessage(ed, r, d, crypto.Hash(0)); return err })
	deterministic(func(r io.Reader) error { _, err := x509.CreateCertificate(r, c, c, ed.Public(), ed); return err })
	deterministic(func(r io.Reader) error { _, err := x509.CreateCertificate(r, c, c, rs.Public(), rs); return err })

	more()
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
