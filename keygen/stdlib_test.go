package keygen_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"io"
	"math/big"
	"slices"
	"sync"
	"time"

	"github.com/cloudflare/circl/kem/mlkem/mlkem768"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/slhdsa"
	"golang.org/x/crypto/nacl/box"

	"example.com/qrand/keygen"
)

// A group is calls that answer alike: a row of the README's table.
type group struct {
	label string    // the row's first cell; without one it is not in the README
	lead  string    // before the first answer
	want  [2]answer // by default, and under GODEBUG=cryptocustomrand=1
	calls []call
}

// A call calls a function with a reader and returns what that made.
type call struct {
	name string
	make func(r io.Reader) (any, error)
}

// standardLibrary is what functions of Go, and some that are not Go's, do with
// a reader. TestStandardLibrary fails where a Go release changes an answer:
// correct it here, and let "go generate ./keygen" correct the README.
//
//qrandvet:ignore finds out which of them ignore it
func standardLibrary() []group {
	k := keys()
	generate := []call{
		{"ecdsa.GenerateKey(elliptic.P224(), r)", func(r io.Reader) (any, error) { return ecdsa.GenerateKey(elliptic.P224(), r) }},
		{"ecdsa.GenerateKey(elliptic.P256(), r)", func(r io.Reader) (any, error) { return ecdsa.GenerateKey(elliptic.P256(), r) }},
		{"ecdsa.GenerateKey(elliptic.P384(), r)", func(r io.Reader) (any, error) { return ecdsa.GenerateKey(elliptic.P384(), r) }},
		{"ecdsa.GenerateKey(elliptic.P521(), r)", func(r io.Reader) (any, error) { return ecdsa.GenerateKey(elliptic.P521(), r) }},
		{"ecdh.P256().GenerateKey(r)", func(r io.Reader) (any, error) { return ecdh.P256().GenerateKey(r) }},
		{"ecdh.X25519().GenerateKey(r)", func(r io.Reader) (any, error) { return ecdh.X25519().GenerateKey(r) }},
		{"rsa.GenerateKey(r, 2048)", func(r io.Reader) (any, error) { return rsa.GenerateKey(r, 2048) }},
		{"rand.Prime(r, 256)", func(r io.Reader) (any, error) { return rand.Prime(r, 256) }},
	}
	sign := []call{
		{"ecdsa.SignASN1(r, ...)", func(r io.Reader) (any, error) { return ecdsa.SignASN1(r, k.ecdsa, digest) }},
		{"(*ecdsa.PrivateKey).Sign(r, ...)", func(r io.Reader) (any, error) { return k.ecdsa.Sign(r, digest, crypto.SHA256) }},
		{"x509.CreateCertificate(r, ...) with an ECDSA key", func(r io.Reader) (any, error) { return certificate(r, k.ecdsa, one) }},
		{"x509.CreateCertificateRequest(r, ...) with an ECDSA key", func(r io.Reader) (any, error) {
			return x509.CreateCertificateRequest(r, new(x509.CertificateRequest), k.ecdsa)
		}},
		//lint:ignore SA1019 programs still call it
		{"rsa.EncryptPKCS1v15(r, ...)", func(r io.Reader) (any, error) { return rsa.EncryptPKCS1v15(r, &k.rsa.PublicKey, digest) }},
	}
	replaced := []call{
		global("ed25519.GenerateKey(nil)", func() (any, error) { return second(ed25519.GenerateKey)(nil) }),
	}
	for _, c := range slices.Concat(generate, sign) {
		replaced = append(replaced, global(c.name, func() (any, error) { return c.make(rand.Reader) }))
	}
	ignored := [2]answer{none, all}
	honoured := [2]answer{all, all}
	return []group{{
		label: "`ecdsa.GenerateKey`, `ecdh` `GenerateKey`, `rsa.GenerateKey`, `rand.Prime`",
		want:  ignored,
		calls: generate,
	}, {
		label: "`ecdsa.SignASN1`, `x509.CreateCertificate` (ECDSA), `rsa.EncryptPKCS1v15`",
		want:  ignored,
		calls: sign,
	}, {
		label: "`ed25519.GenerateKey(src)`, `rsa.SignPSS`, `rsa.EncryptOAEP`, `rand.Int`, the serial number of `x509.CreateCertificate`",
		want:  honoured,
		calls: []call{
			{"ed25519.GenerateKey(r)", second(ed25519.GenerateKey)},
			{"rsa.SignPSS(r, ...)", func(r io.Reader) (any, error) {
				return rsa.SignPSS(r, k.rsa, crypto.SHA256, digest, nil)
			}},
			{"x509.CreateCertificate(r, ...) with an RSA key, PSS", func(r io.Reader) (any, error) { return certificate(r, k.rsa, one) }},
			{"rsa.EncryptOAEP(..., r, ...)", func(r io.Reader) (any, error) {
				return rsa.EncryptOAEP(sha256.New(), r, &k.rsa.PublicKey, digest, nil)
			}},
			{"rand.Int(r, ...)", func(r io.Reader) (any, error) { return rand.Int(r, huge) }},
			{"x509.CreateCertificate(r, ...), its serial number", func(r io.Reader) (any, error) {
				der, err := certificate(r, k.ecdsa, nil)
				if err != nil {
					return nil, err
				}
				c, err := x509.ParseCertificate(der)
				if err != nil {
					return nil, err
				}
				return c.SerialNumber, nil
			}},
		},
	}, {
		label: "circl's `mlkem768`, `mldsa65`, `slhdsa`; `nacl/box`",
		want:  honoured,
		calls: []call{
			{"circl's mlkem768.GenerateKeyPair(r)", second(mlkem768.GenerateKeyPair)},
			{"circl's mldsa65.GenerateKey(r)", second(mldsa65.GenerateKey)},
			{"circl's slhdsa.GenerateKey(r, slhdsa.SHA2_128f)", second(func(r io.Reader) (slhdsa.PublicKey, slhdsa.PrivateKey, error) {
				return slhdsa.GenerateKey(r, slhdsa.SHA2_128f)
			})},
			{"box.GenerateKey(r)", second(box.GenerateKey)},
		},
	}, {
		label: "`rand.Reader = src`, then `rand.Read`, `rand.Text`, `rand.Int`; `uuid.New` (Go 1.27)",
		want:  honoured,
		calls: append([]call{
			global("rand.Read(p)", func() (any, error) {
				p := make([]byte, 32)
				_, err := rand.Read(p)
				return p, err
			}),
			global("rand.Text()", func() (any, error) { return rand.Text(), nil }),
			global("rand.Int(rand.Reader, ...)", func() (any, error) { return rand.Int(rand.Reader, huge) }),
		}, newUUID...),
	}, {
		label: "`rand.Reader = src`, then `ed25519.GenerateKey(nil)`, or any call of the first two rows with `rand.Reader`",
		want:  ignored,
		calls: replaced,
	}, {
		label: "`Sign` of `crypto/mldsa` (Go 1.27), `x509.CreateCertificate` (ML-DSA)",
		want:  [2]answer{none, none},
		calls: signMLDSA,
	}, {
		label: "`mlkem.GenerateKey768`; `crypto/hpke`: keys, `NewSender`; `mldsa.GenerateKey` (Go 1.27)",
		lead:  "takes no reader: ",
		want:  [2]answer{none, none},
		calls: append([]call{
			global("mlkem.GenerateKey768()", func() (any, error) { return mlkem.GenerateKey768() }),
			global("mlkem.GenerateKey1024()", func() (any, error) { return mlkem.GenerateKey1024() }),
			global("hpke.DHKEM(ecdh.P256()).GenerateKey()", func() (any, error) { return hpkeKey(hpke.DHKEM(ecdh.P256())) }),
			global("hpke.MLKEM768X25519().GenerateKey()", func() (any, error) { return hpkeKey(hpke.MLKEM768X25519()) }),
			global("hpke.MLKEM1024().GenerateKey()", func() (any, error) { return hpkeKey(hpke.MLKEM1024()) }),
			global("hpke.NewSender(...) to a P-256 key", func() (any, error) { return encapsulated(hpke.DHKEM(ecdh.P256())) }),
			global("hpke.NewSender(...) to an ML-KEM key", func() (any, error) { return encapsulated(hpke.MLKEM768()) }),
		}, generateMLDSA...),
	}, {
		want: [2]answer{nothing, nothing},
		calls: []call{
			{"x509.CreateCertificate(r, ...) with an Ed25519 key", func(r io.Reader) (any, error) { return certificate(r, k.ed25519, one) }},
			{"rsa.SignPKCS1v15(r, ...)", func(r io.Reader) (any, error) { return rsa.SignPKCS1v15(r, k.rsa, crypto.SHA256, digest) }},
		},
	}}
}

// The calls of crypto/mldsa and uuid, which are new in Go 1.27.
var signMLDSA, generateMLDSA, newUUID []call

func hpkeKey(kem hpke.KEM) ([]byte, error) {
	key, err := kem.GenerateKey()
	if err != nil {
		return nil, err
	}
	return key.Bytes()
}

// encapsulated returns the key that hpke.NewSender encapsulates.
func encapsulated(kem hpke.KEM) ([]byte, error) {
	key, err := kem.GenerateKey()
	if err != nil {
		return nil, err
	}
	enc, _, err := hpke.NewSender(key.PublicKey(), hpke.HKDFSHA256(), hpke.AES256GCM(), nil)
	return enc, err
}

// What the calls sign, encrypt and draw.
var (
	digest = make([]byte, sha256.Size)
	one    = big.NewInt(1)
	huge   = new(big.Int).Lsh(one, 256)
)

// keys are what the calls sign with.
var keys = sync.OnceValue(func() (k struct {
	ecdsa   *ecdsa.PrivateKey
	rsa     *rsa.PrivateKey
	ed25519 ed25519.PrivateKey
}) {
	var err [3]error
	k.ecdsa, err[0] = keygen.ECDSA(elliptic.P256(), newStream(1))
	k.rsa, err[1] = keygen.RSA(2048, newStream(1))
	k.ed25519, err[2] = keygen.Ed25519(newStream(1))
	if err != [3]error{} {
		panic(err)
	}
	return k
})

// certificate makes a self-signed one, in which nothing is random but the
// signature and, where none is given, the serial number.
func certificate(r io.Reader, key crypto.Signer, serial *big.Int) ([]byte, error) {
	template := &x509.Certificate{SerialNumber: serial, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0)}
	if _, ok := key.(*rsa.PrivateKey); ok {
		template.SignatureAlgorithm = x509.SHA256WithRSAPSS
	}
	return x509.CreateCertificate(r, template, template, key.Public(), key)
}

// second is a function that makes a public key and the private one.
func second[P, K any](f func(io.Reader) (P, K, error)) func(io.Reader) (any, error) {
	return func(r io.Reader) (any, error) {
		_, key, err := f(r)
		return key, err
	}
}

// global is a call of a function that sees the reader in rand.Reader only.
func global(name string, f func() (any, error)) call {
	return call{"with r = rand.Reader = src: " + name, func(r io.Reader) (any, error) {
		defer func(saved io.Reader) { rand.Reader = saved }(rand.Reader)
		rand.Reader = r
		return f()
	}}
}
