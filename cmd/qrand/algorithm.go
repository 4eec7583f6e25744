package main

import (
	"bytes"
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/cloudflare/circl/kem/mlkem/mlkem512"
	"github.com/cloudflare/circl/sign/slhdsa"

	"example.com/qrand/internal/keyfile"
	"example.com/qrand/keygen"
)

// An algorithm is one that qrand keygen makes keys for.
type algorithm struct {
	name     string
	use      string   // what its keys are for
	standard string   // which defines the algorithm
	bytes    int64    // that a key takes from the Source, if no candidate is rejected
	formats  []string // in which its keys can be written
	make     func(r io.Reader) (any, error)
}

const (
	forSigning   = "signatures"
	forAgreement = "key agreement"
	forKEM       = "key encapsulation"
)

var (
	allFormats  = []string{"pem", "der", "jwk", "ssh", "raw", "age", "wg"}
	withSSH     = []string{"pem", "der", "jwk", "ssh", "raw"}
	noSSH       = []string{"pem", "der", "jwk", "raw"}
	noJWKnorSSH = []string{"pem", "der", "raw"}
)

// making adapts a function of package keygen to algorithm.make.
func making[K any](f func(io.Reader) (K, error)) func(io.Reader) (any, error) {
	return func(r io.Reader) (any, error) { return f(r) }
}

// with does so for a function that takes a curve, a size or a parameter set.
func with[P, K any](f func(P, io.Reader) (K, error), p P) func(io.Reader) (any, error) {
	return func(r io.Reader) (any, error) { return f(p, r) }
}

// algorithms lists them all. For RSA, it lists the usual sizes.
func algorithms() []algorithm {
	all := []algorithm{
		{"ed25519", forSigning, "RFC 8032", 32, withSSH, making(keygen.Ed25519)},
		{"ed448", forSigning, "RFC 8032", 57, noSSH, making(keygen.Ed448)},
		{"ecdsa-p224", forSigning, "FIPS 186-5", 28, noJWKnorSSH, with(keygen.ECDSA, elliptic.P224())},
		{"ecdsa-p256", forSigning, "FIPS 186-5", 32, withSSH, with(keygen.ECDSA, elliptic.P256())},
		{"ecdsa-p384", forSigning, "FIPS 186-5", 48, withSSH, with(keygen.ECDSA, elliptic.P384())},
		{"ecdsa-p521", forSigning, "FIPS 186-5", 66, withSSH, with(keygen.ECDSA, elliptic.P521())},
		rsa(2048), rsa(3072), rsa(4096), rsa(8192),
		{"ml-dsa-44", forSigning, "FIPS 204", 32, noSSH, making(keygen.MLDSA44)},
		{"ml-dsa-65", forSigning, "FIPS 204", 32, noSSH, making(keygen.MLDSA65)},
		{"ml-dsa-87", forSigning, "FIPS 204", 32, noSSH, making(keygen.MLDSA87)},
	}
	for id := slhdsa.SHA2_128s; id <= slhdsa.SHAKE_256f; id++ {
		n := int64(id.Scheme().PublicKeySize() / 2)
		all = append(all, algorithm{strings.ToLower(id.String()), forSigning, "FIPS 205", 3 * n, noJWKnorSSH, with(keygen.SLHDSA, id)})
	}
	return append(all,
		algorithm{"x25519", forAgreement, "RFC 7748", 32, []string{"pem", "der", "jwk", "raw", "age", "wg"}, with(keygen.ECDH, ecdh.X25519())},
		algorithm{"ecdh-p256", forAgreement, "SP 800-56A", 32, noSSH, with(keygen.ECDH, ecdh.P256())},
		algorithm{"ecdh-p384", forAgreement, "SP 800-56A", 48, noSSH, with(keygen.ECDH, ecdh.P384())},
		algorithm{"ecdh-p521", forAgreement, "SP 800-56A", 66, noSSH, with(keygen.ECDH, ecdh.P521())},
		algorithm{"ml-kem-512", forKEM, "FIPS 203", 64, noJWKnorSSH, seededMLKEM512},
		algorithm{"ml-kem-768", forKEM, "FIPS 203", 64, noJWKnorSSH, making(keygen.MLKEM768)},
		algorithm{"ml-kem-1024", forKEM, "FIPS 203", 64, noJWKnorSSH, making(keygen.MLKEM1024)},
		algorithm{"x-wing", forKEM, "draft-connolly-cfrg-xwing-kem", 32, []string{"pem", "der", "raw", "age"}, making(keygen.XWing)},
	)
}

func rsa(bits int) algorithm {
	return algorithm{fmt.Sprintf("rsa-%d", bits), forSigning, "FIPS 186-5", 64, []string{"pem", "der", "jwk", "ssh"}, with(keygen.RSA, bits)}
}

// findAlgorithm finds an algorithm by its name, in upper or lower case. For RSA, it
// takes any size.
func findAlgorithm(name string) (algorithm, error) {
	name = strings.ToLower(name)
	var near []string
	for _, a := range algorithms() {
		if a.name == name {
			return a, nil
		}
		if strings.Contains(squeeze(a.name), squeeze(name)) {
			near = append(near, a.name)
		}
	}
	if bits, found := strings.CutPrefix(name, "rsa-"); found {
		if n, err := strconv.Atoi(bits); err == nil && n >= 2048 && n <= 8192 && n%16 == 0 && strconv.Itoa(n) == bits {
			return rsa(n), nil
		}
		return algorithm{}, fmt.Errorf("%q: RSA keys have 2048 to 8192 bits, a multiple of 16", name)
	}
	switch {
	case name == "":
		return algorithm{}, errors.New("which algorithm? qrand keygen --list lists them")
	case len(near) > 0:
		return algorithm{}, fmt.Errorf("no algorithm %q, did you mean %s?", name, strings.Join(near, ", "))
	}
	return algorithm{}, fmt.Errorf("no algorithm %q: qrand keygen --list lists them", name)
}

// squeeze makes ML_KEM768, ml-kem-768 and mlkem768 the same.
func squeeze(name string) string { return strings.NewReplacer("-", "", "_", "", " ", "").Replace(name) }

// A keyPair is a private key and its public key.
type keyPair struct {
	private, public any
	spki            []byte
}

func newKeyPair(private any) (*keyPair, error) {
	public, err := keyfile.Public(private)
	if err != nil {
		return nil, err
	}
	spki, err := keyfile.PublicDER(public)
	return &keyPair{private, public, spki}, err
}

// encode writes both keys in a format. The caller wipes the private one.
func (k *keyPair) encode(format string, passphrase []byte, comment string) (private, public []byte, err error) {
	switch format {
	case "jwk":
		private, err = keyfile.PrivateJWK(k.private)
		defer clear(private) // the line below is a copy
		if err == nil {
			public, err = keyfile.PublicJWK(k.public)
		}
		newline := []byte("\n")
		return slices.Concat(private, newline), slices.Concat(public, newline), err
	case "ssh":
		private, err = keyfile.PrivateSSH(k.private, comment, passphrase)
		if err == nil {
			public, err = keyfile.PublicSSH(k.public, comment)
		}
		return private, public, err
	case "raw":
		private, err = keyfile.PrivateRaw(k.private)
		if err == nil {
			public, err = keyfile.PublicRaw(k.public)
		}
		return private, public, err
	case "age":
		private, err = keyfile.PrivateAge(k.private)
		if err == nil {
			public, err = keyfile.PublicAge(k.public)
		}
		return private, public, err
	case "wg":
		private, err = keyfile.PrivateWG(k.private)
		if err == nil {
			public, err = keyfile.PublicWG(k.public)
		}
		return private, public, err
	}
	der, err := keyfile.PrivateDER(k.private)
	if err != nil || format == "der" {
		return der, k.spki, err
	}
	defer clear(der)
	if passphrase != nil {
		// Salt and IV are not secret, and not part of the key.
		private, err = keyfile.EncryptedPEM(der, passphrase, rand.Reader)
	} else {
		private = keyfile.PEM(keyfile.KindPrivate, der)
	}
	return private, keyfile.PEM(keyfile.KindPublic, k.spki), err
}

// seededMLKEM512 keeps the seed with the key: circl does not, and files contain
// only the seed.
func seededMLKEM512(r io.Reader) (any, error) {
	seed := bytes.NewBuffer(make([]byte, 0, mlkem512.KeySeedSize)) // never grows: growing would leave copies
	defer func() { clear(seed.Bytes()) }()
	key, err := keygen.CirclMLKEM512(io.TeeReader(r, seed))
	if err != nil {
		return nil, err
	}
	return keyfile.WithSeed(key, seed.Bytes())
}
