// Package quiet has nothing to report.
package quiet

import (
	"crypto"
	"crypto/dsa"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"os"
)

// package-level variables that only this package can set, and does not.
var (
	osReader = rand.Reader
	never    io.Reader // nil
)

func randReader(curve ecdh.Curve) {
	r := rand.Reader
	var declared io.Reader = (rand.Reader)
	var later io.Reader
	if os.Args != nil {
		later = rand.Reader
	}
	through := declared
	var turned io.Reader
	for range 2 {
		turned, through = through, turned
	}
	curve.GenerateKey(rand.Reader)
	curve.GenerateKey((rand.Reader))
	curve.GenerateKey(io.Reader(rand.Reader))
	curve.GenerateKey(interface{ Read([]byte) (int, error) }(rand.Reader))
	curve.GenerateKey(r)
	curve.GenerateKey(declared)
	curve.GenerateKey(later)
	curve.GenerateKey(through)
	curve.GenerateKey(osReader)
	func() { curve.GenerateKey(r) }()
}

func nils(curve ecdh.Curve, key *ecdsa.PrivateKey, digest []byte) {
	var none io.Reader
	curve.GenerateKey(nil)
	curve.GenerateKey(none)
	curve.GenerateKey(never)
	curve.GenerateKey(io.Reader(nil))
	key.Sign(nil, digest, crypto.SHA256) // deterministic
	ecdsa.SignASN1(nil, key, digest)
	rsa.GenerateKey(nil, 2048)
}

// read reads its reader.
func read(src io.Reader, key *rsa.PrivateKey, digest []byte) {
	ed25519.GenerateKey(src)
	elliptic.GenerateKey(elliptic.P256(), src)
	dsa.GenerateParameters(nil, src, dsa.L2048N256)
	dsa.GenerateKey(nil, src)
	rsa.SignPSS(src, key, crypto.SHA256, digest, nil)
	rsa.EncryptOAEP(sha256.New(), src, &key.PublicKey, digest, nil)
	rand.Int(src, big.NewInt(100))
	key.Sign(src, digest, &rsa.PSSOptions{})
	x509.EncryptPEMBlock(src, "", nil, nil, x509.PEMCipherAES256)
	mlkem.GenerateKey768()
}

// unread has no use for randomness, on any version of Go.
func unread(src io.Reader, key *rsa.PrivateKey, ed ed25519.PrivateKey, digest []byte) {
	rsa.SignPKCS1v15(src, key, crypto.SHA256, digest)
	rsa.DecryptPKCS1v15(src, key, digest)
	rsa.DecryptPKCS1v15SessionKey(src, key, digest, digest)
	rsa.DecryptOAEP(sha256.New(), src, key, digest, nil)
	ed.Sign(src, digest, crypto.Hash(0))
}

// signers are of a type that may read the reader.
func signers(src io.Reader, any crypto.Signer, rs *rsa.PrivateKey, ec *ecdsa.PrivateKey, ed ed25519.PrivateKey, ca *x509.Certificate) {
	any.Sign(src, nil, crypto.SHA256)
	crypto.SignMessage(any, src, nil, crypto.SHA256)
	crypto.SignMessage(rs, src, nil, crypto.SHA256)
	x509.CreateCertificate(src, ca, ca, any.Public(), any)
	x509.CreateCertificate(src, ca, ca, rs.Public(), rs)
	x509.CreateCertificate(src, ca, ca, ed.Public(), ed)
	x509.CreateCertificateRequest(src, nil, rs)
	x509.CreateRevocationList(src, nil, ca, rs)

	var either crypto.Signer = ec
	if src != nil {
		either = rs
	}
	x509.CreateCertificate(src, ca, ca, either.Public(), either)
}

// GenerateKey has its name only.
type own struct{}

func (own) GenerateKey(r io.Reader) error { return nil }

func (own) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) { return nil, nil }

type Config struct{ Rand io.Reader }

func others(src io.Reader, cfg *tls.Config) {
	own{}.GenerateKey(src)
	own{}.Sign(src, nil, nil)
	c := Config{Rand: src}
	c.Rand = src
	m := map[string]io.Reader{"Rand": src}
	_ = m
	rand.Read(nil)

	cfg.Rand = nil
	cfg.Rand = rand.Reader
	cfg.Rand = osReader
	_ = &tls.Config{Rand: cfg.Rand} // a copy
	_ = &tls.Config{Rand: rand.Reader}
	_ = tls.Config{Rand: nil, MinVersion: tls.VersionTLS13}
}

func spread() { ecdsa.GenerateKey(both()) }

func both() (elliptic.Curve, io.Reader) { return elliptic.P256(), rand.Reader }
