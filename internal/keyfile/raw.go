package keyfile

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"
)

var errRSARaw = errors.New("keyfile: RSA has no raw form: use der")

// PrivateRaw is a private key without any wrapping: the scalar of a NIST curve
// in big-endian order, the bytes of X25519 (RFC 7748), the seed of Ed25519, Ed448,
// ML-KEM, ML-DSA and X-Wing, the four values of SLH-DSA. The bytes do not tell which
// algorithm it is, nor whether the key is private or public.
func PrivateRaw(key any) ([]byte, error) {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		b, err := k.Bytes()
		return b, wrap(err)
	case *ecdh.PrivateKey:
		return k.Bytes(), nil
	case ed25519.PrivateKey:
		return k.Seed(), nil
	case *rsa.PrivateKey:
		return nil, errRSARaw
	}
	s, private, err := privateBytes(key)
	if s == nil && err == nil {
		err = errType(key)
	}
	return private, err
}

// PublicRaw is the content of a SubjectPublicKeyInfo: for NIST curves the uncompressed
// point (SEC 1 section 2.3.3), for others the encoded public key.
func PublicRaw(public any) ([]byte, error) {
	if _, ok := public.(*rsa.PublicKey); ok {
		return nil, errRSARaw
	}
	return publicBits(public)
}

var (
	ecdsaCurves = map[string]elliptic.Curve{
		"ecdsa-p224": elliptic.P224(), "ecdsa-p256": elliptic.P256(), "ecdsa-p384": elliptic.P384(), "ecdsa-p521": elliptic.P521(),
	}
	ecdhCurves = map[string]ecdh.Curve{
		"ecdh-p256": ecdh.P256(), "ecdh-p384": ecdh.P384(), "ecdh-p521": ecdh.P521(), "x25519": ecdh.X25519(),
	}
)

// ParseRaw reads what PrivateRaw or PublicRaw wrote. Because the bytes do not tell
// what they are, name gives the algorithm, as Name does.
func ParseRaw(name string, kind Kind, data []byte) (*File, error) {
	if kind != KindPrivate && kind != KindPublic {
		return nil, fmt.Errorf("keyfile: a %v has no raw form", kind)
	}
	if strings.HasPrefix(name, "rsa-") {
		return nil, errRSARaw
	}
	var public any
	var err error
	s := schemeNamed(name)
	private := kind == KindPrivate
	switch {
	case s != nil:
		public, err = s.parse(private, data)
	case name == "ed25519":
		public, err = parseEd25519(private, data)
	case ecdsaCurves[name] != nil:
		public, err = parseECDSA(ecdsaCurves[name], private, data)
	case ecdhCurves[name] != nil:
		public, err = parseECDH(ecdhCurves[name], private, data)
	default:
		err = fmt.Errorf("keyfile: %q is not the name of an algorithm", name)
	}
	if err != nil {
		return nil, err
	}
	return newFile(kind, public)
}

func parseEd25519(private bool, data []byte) (any, error) {
	if len(data) != ed25519.PublicKeySize { // the seed has the same size
		return nil, fmt.Errorf("keyfile: ed25519: %d bytes, want %d", len(data), ed25519.PublicKeySize)
	}
	if private {
		return ed25519.NewKeyFromSeed(data).Public().(ed25519.PublicKey), nil
	}
	return ed25519.PublicKey(bytes.Clone(data)), nil
}

func parseECDSA(c elliptic.Curve, private bool, data []byte) (any, error) {
	if private {
		key, err := ecdsa.ParseRawPrivateKey(c, data)
		if err != nil {
			return nil, wrap(err)
		}
		return &key.PublicKey, nil
	}
	key, err := ecdsa.ParseUncompressedPublicKey(c, data)
	return key, wrap(err)
}

func parseECDH(c ecdh.Curve, private bool, data []byte) (any, error) {
	if private {
		key, err := c.NewPrivateKey(data)
		if err != nil {
			return nil, wrap(err)
		}
		return key.PublicKey(), nil
	}
	key, err := c.NewPublicKey(data)
	return key, wrap(err)
}
