// Package keyfile writes the keys of package keygen into files that other
// programs read, and reads such files back for their public key.
//
// It is for the command line. Programs that know the type of their key should use
// crypto/x509, circl or x/crypto/ssh. Start with [PrivateDER], [PublicDER] and
// [Parse].
//
// A private key is written in its shortest form: the scalar, the seed, or for SLH-DSA
// the four values of FIPS 205. Parse computes the public key from that, and compares
// it with any copy in the file. So the public key that it returns belongs to the
// private key in the file.
//
// The caller should wipe slices with private keys that the functions return.
package keyfile

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/fips140"
	"crypto/mlkem"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"

	"github.com/cloudflare/circl/kem"
	"github.com/cloudflare/circl/sign"
)

// A Kind is what a file holds.
type Kind int

const (
	KindPrivate     Kind = iota + 1 // a private key
	KindPublic                      // a public key
	KindCertificate                 // an X.509 certificate
	KindRequest                     // a PKCS #10 certificate request
)

var kindNames = map[Kind]string{
	KindPrivate:     "private key",
	KindPublic:      "public key",
	KindCertificate: "certificate",
	KindRequest:     "certificate request",
}

func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// The errors of Parse that a caller may want to tell apart.
var (
	ErrEncrypted  = errors.New("keyfile: the private key is encrypted: give its passphrase, or the file of the public key")
	ErrPassphrase = errors.New("keyfile: the passphrase does not open the private key")
)

// errMismatch is the error for a file with the private key of one pair and the public
// key of another.
var errMismatch = errors.New("keyfile: the public key in the file does not belong to the private key")

// Name is the name that the command line has for the algorithm of a private or public
// key, such as ecdsa-p256, rsa-3072 or ml-dsa-65. It is empty for other types of key.
// Files do not tell ECDH keys on NIST curves from ECDSA keys, so Parse takes both for
// ecdsa.
func Name(key any) string {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		return Name(&k.PublicKey)
	case *ecdsa.PublicKey:
		return "ecdsa-" + curveName(k.Curve.Params().Name)
	case *ecdh.PrivateKey:
		return Name(k.PublicKey())
	case *ecdh.PublicKey:
		if k.Curve() == ecdh.X25519() {
			return "x25519"
		}
		return "ecdh-" + curveName(fmt.Sprint(k.Curve()))
	case ed25519.PrivateKey, ed25519.PublicKey:
		return "ed25519"
	case *rsa.PrivateKey:
		return Name(&k.PublicKey)
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa-%d", k.N.BitLen())
	}
	if s := schemeOf(key); s != nil {
		return s.name
	}
	return ""
}

// curveName turns P-256 into p256.
func curveName(name string) string {
	return strings.ToLower(strings.ReplaceAll(name, "-", ""))
}

// Public returns the public key of a private key.
func Public(key any) (any, error) {
	if Name(key) == "" {
		return nil, errType(key)
	}
	switch k := key.(type) {
	case *mlkem.DecapsulationKey768:
		return k.EncapsulationKey(), nil
	case *mlkem.DecapsulationKey1024:
		return k.EncapsulationKey(), nil
	case interface{ Public() kem.PublicKey }:
		return k.Public(), nil
	case interface{ Public() crypto.PublicKey }:
		return k.Public(), nil
	}
	return nil, errType(key)
}

func errType(key any) error {
	return fmt.Errorf("keyfile: a key of type %T is not one that qrand writes", key)
}

// wrap puts the name of this package before an error of another one. The standard library
// does not say which setting forbids something.
func wrap(err error) error {
	if err == nil {
		return nil
	}
	if fips140.Enforced() && strings.HasSuffix(err.Error(), "FIPS 140-only mode") {
		return fmt.Errorf("keyfile: %w (GODEBUG=fips140=only)", err)
	}
	return fmt.Errorf("keyfile: %w", err)
}

// schemeOf finds the scheme of a key that crypto/x509 does not encode.
func schemeOf(key any) *scheme {
	switch k := key.(type) {
	case *mlkem.DecapsulationKey768, *mlkem.EncapsulationKey768:
		return schemeNamed("ml-kem-768")
	case *mlkem.DecapsulationKey1024, *mlkem.EncapsulationKey1024:
		return schemeNamed("ml-kem-1024")
	case interface{ Scheme() sign.Scheme }:
		return schemeNamed(strings.ToLower(k.Scheme().Name()))
	case interface{ Scheme() kem.Scheme }:
		return schemeNamed(strings.ToLower(k.Scheme().Name()))
	}
	return nil
}
