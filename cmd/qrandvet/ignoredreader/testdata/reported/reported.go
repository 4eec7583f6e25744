// Package reported has a call of every function that ignores its reader, and the
// ways in which a reader comes there.
package reported

import (
	"bufio"
	"crypto"
	"crypto/dsa"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"os"
	"time"
)

func keys(src io.Reader, curve ecdh.Curve) {
	ecdsa.GenerateKey(elliptic.P256(), src)     // want `^ecdsa.GenerateKey ignores its reader since Go 1.26: no byte of src goes into the key; use keygen.ECDSA\(elliptic.P256\(\), src\)$`
	ecdh.P256().GenerateKey(src)                // want `^\(ecdh.Curve\).GenerateKey ignores its reader since Go 1.26: no byte of src goes into the key; use keygen.ECDH\(ecdh.P256\(\), src\)$`
	ecdh.X25519().GenerateKey(src)              // want `use keygen.ECDH\(ecdh.X25519\(\), src\)`
	curve.GenerateKey(src)                      // want `no byte of src goes into the key; to have it read, set godebug cryptocustomrand=1 in the go.mod of the main module$`
	ecdh.Curve.GenerateKey(curve, src)          // want `no byte of src goes into the key`
	rsa.GenerateKey(src, 2048)                  // want `^rsa.GenerateKey ignores its reader since Go 1.26: no byte of src goes into the key; use keygen.RSA\(2048, src\)$`
	rsa.GenerateMultiPrimeKey(src, 2, 2048)     // want `^rsa.GenerateMultiPrimeKey .* into the key; to have it read, set godebug`
	rand.Prime(src, 1024)                       // want `^rand.Prime ignores .* into the prime; draw candidates with rand.Int`
	(ecdsa.GenerateKey)(elliptic.P256(), (src)) // want `no byte of \(src\)`
}

func signatures(src io.Reader, key *ecdsa.PrivateKey, old *dsa.PrivateKey, public *rsa.PublicKey, digest []byte) {
	ecdsa.Sign(src, key, digest)                              // want `^ecdsa.Sign ignores .* no byte of src goes into the signature; the generator of crypto/rand is used in any case, so pass rand.Reader, or nil`
	ecdsa.SignASN1(src, key, digest)                          // want `^ecdsa.SignASN1 ignores`
	key.Sign(src, digest, crypto.SHA256)                      // want `^\(\*ecdsa.PrivateKey\).Sign ignores`
	(*ecdsa.PrivateKey).Sign(key, src, digest, crypto.SHA256) // want `no byte of src`
	embedding{key}.Sign(src, digest, crypto.SHA256)           // want `^\(\*ecdsa.PrivateKey\).Sign ignores`
	dsa.Sign(src, old, digest)                                // want `^dsa.Sign ignores .* so pass rand.Reader$`
	rsa.EncryptPKCS1v15(src, public, digest)                  // want `^rsa.EncryptPKCS1v15 ignores .* goes into the padding; use rsa.EncryptOAEP, which reads its reader$`
}

type embedding struct{ *ecdsa.PrivateKey }

func signed(src io.Reader, key *ecdsa.PrivateKey, ca *x509.Certificate) {
	var signer crypto.Signer = key
	crypto.SignMessage(key, src, nil, crypto.SHA256)            // want `^crypto.SignMessage ignores .* goes into the signature of an ECDSA key`
	x509.CreateCertificate(src, ca, ca, key.Public(), key)      // want `^x509.CreateCertificate ignores its reader since Go 1.26, except for a missing serial number: no byte of src goes into the signature of an ECDSA key`
	x509.CreateCertificate(src, ca, ca, key.Public(), signer)   // want `^x509.CreateCertificate ignores`
	x509.CreateCertificateRequest(src, nil, crypto.Signer(key)) // want `^x509.CreateCertificateRequest ignores`
	x509.CreateRevocationList(src, nil, ca, signer)             // want `^x509.CreateRevocationList ignores`
	ca.CreateCRL(src, key, nil, time.Now(), time.Now())         // want `^\(\*x509.Certificate\).CreateCRL ignores`
}

// A reader that is not certainly rand.Reader is another.

type server struct{ rand io.Reader }

// Rand can be set by any package.
var Rand = rand.Reader

var replaced = rand.Reader

func SetReplaced(r io.Reader) { replaced = r }

func source() io.Reader { return rand.Reader }

func sources(s server, file *os.File, curve ecdh.Curve, more ...io.Reader) {
	curve.GenerateKey(s.rand)                                                   // want `no byte of s.rand`
	curve.GenerateKey(file)                                                     // want `no byte of file`
	curve.GenerateKey(Rand)                                                     // want `no byte of Rand`
	curve.GenerateKey(replaced)                                                 // want `no byte of replaced`
	curve.GenerateKey(source())                                                 // want `no byte of source\(\)`
	curve.GenerateKey(bufio.NewReader(rand.Reader))                             // want `no byte of bufio.NewReader\(rand.Reader\)`
	curve.GenerateKey(io.LimitReader(io.MultiReader(file, rand.Reader), 1<<20)) // want `no byte of the reader`
	curve.GenerateKey((*os.File)(nil))                                          // want `no byte of`

	r := rand.Reader
	if file != nil {
		r = file
	}
	curve.GenerateKey(r) // want `no byte of r goes`

	taken := rand.Reader
	set(&taken)
	curve.GenerateKey(taken) // want `no byte of taken`

	two, _ := io.Reader(file), 0
	curve.GenerateKey(two) // want `no byte of two`

	var pair io.Reader
	pair, _ = open()
	curve.GenerateKey(pair) // want `no byte of pair`

	for _, each := range more {
		curve.GenerateKey(each) // want `no byte of each`
	}
	var last io.Reader
	for _, last = range more {
	}
	curve.GenerateKey(last) // want `no byte of last`

	var typed *os.File       // not nil as a reader
	curve.GenerateKey(typed) // want `no byte of typed`

	switch kind := any(file).(type) {
	case io.Reader:
		curve.GenerateKey(kind) // want `no byte of kind`
	}
	func() { curve.GenerateKey(io.Reader(file)) }() // want `no byte of io.Reader\(file\)`
}

// Types that have types for parameters, aliases of them, and loops over functions.
type (
	box[T any]   struct{ value T }
	alias[T any] = box[T]
)

func generic[R io.Reader, C ecdh.Curve](b alias[R], curve C, readers func(func(io.Reader) bool)) {
	curve.GenerateKey(b.value) // want `no byte of b.value`
	for each := range readers {
		rsa.GenerateKey(each, 2048) // want `no byte of each`
	}
}

func set(r *io.Reader) { *r = os.Stdin }

func open() (io.Reader, error) { return os.Open("/dev/hwrng") }

type config tls.Config

func tlsConfigs(src io.Reader, cfg *tls.Config) {
	_ = tls.Config{Rand: src}         // want `^tls.Config.Rand hardly reaches a key since Go 1.26: bytes of it go into nonces, .* but none into an ECDHE key share, .* Go 1.27 deprecates it: leave it nil, and in tests call testing/cryptotest.SetGlobalRandom$`
	_ = []*tls.Config{{Rand: src}}    // want `^tls.Config.Rand hardly`
	_ = config{Rand: src}             // want `^tls.Config.Rand hardly`
	cfg.Rand = src                    // want `^tls.Config.Rand hardly`
	cfg.MinVersion, cfg.Rand = 0, src // want `^tls.Config.Rand hardly`
}
