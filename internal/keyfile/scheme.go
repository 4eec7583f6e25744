package keyfile

import (
	"bytes"
	"crypto/mlkem"
	"crypto/sha3"
	"crypto/subtle"
	"encoding/asn1"
	"fmt"

	"github.com/cloudflare/circl/kem"
	"github.com/cloudflare/circl/kem/mlkem/mlkem1024"
	"github.com/cloudflare/circl/kem/mlkem/mlkem512"
	"github.com/cloudflare/circl/kem/mlkem/mlkem768"
	"github.com/cloudflare/circl/kem/xwing"
	"github.com/cloudflare/circl/sign"
	"github.com/cloudflare/circl/sign/ed448"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
	"github.com/cloudflare/circl/sign/slhdsa"
)

// A scheme is an algorithm with keys that crypto/x509 of Go 1.26 does not encode. Its
// AlgorithmIdentifier is an OID without parameters, both for keys and for signatures.
// Its private bytes are a seed, or the four values of SLH-DSA.
type scheme struct {
	name string
	oid  asn1.ObjectIdentifier
	form form
	sign sign.Scheme // one of these two
	kem  kem.Scheme  // is not nil
}

// A form is how the privateKey of a OneAsymmetricKey (RFC 5958) holds the
// private bytes.
type form int

const (
	bare   form = iota // as they are: RFC 9909 section 7
	nested             // in an OCTET STRING: RFC 8410 section 7
	seed               // as [0] IMPLICIT OCTET STRING: RFC 9881 section 6, RFC 9935 section 6
)

// The object identifiers of NIST are in these two arcs.
func sigOID(n int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, n}
}
func kemOID(n int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, n}
}

var schemes = []scheme{
	{"ed448", asn1.ObjectIdentifier{1, 3, 101, 113}, nested, ed448.Scheme(), nil}, // RFC 8410 section 3

	{"ml-kem-512", kemOID(1), seed, nil, mlkem512.Scheme()}, // RFC 9935 section 3
	{"ml-kem-768", kemOID(2), seed, nil, mlkem768.Scheme()},
	{"ml-kem-1024", kemOID(3), seed, nil, mlkem1024.Scheme()},

	// A draft, which may change: draft-connolly-cfrg-xwing-kem section 5.8.
	{"x-wing", asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 62253, 25722}, bare, nil, xwing.Scheme()},

	{"ml-dsa-44", sigOID(17), seed, mldsa44.Scheme(), nil}, // RFC 9881 section 2
	{"ml-dsa-65", sigOID(18), seed, mldsa65.Scheme(), nil},
	{"ml-dsa-87", sigOID(19), seed, mldsa87.Scheme(), nil},

	{"slh-dsa-sha2-128s", sigOID(20), bare, slhdsa.SHA2_128s.Scheme(), nil}, // RFC 9909 section 3
	{"slh-dsa-sha2-128f", sigOID(21), bare, slhdsa.SHA2_128f.Scheme(), nil},
	{"slh-dsa-sha2-192s", sigOID(22), bare, slhdsa.SHA2_192s.Scheme(), nil},
	{"slh-dsa-sha2-192f", sigOID(23), bare, slhdsa.SHA2_192f.Scheme(), nil},
	{"slh-dsa-sha2-256s", sigOID(24), bare, slhdsa.SHA2_256s.Scheme(), nil},
	{"slh-dsa-sha2-256f", sigOID(25), bare, slhdsa.SHA2_256f.Scheme(), nil},
	{"slh-dsa-shake-128s", sigOID(26), bare, slhdsa.SHAKE_128s.Scheme(), nil},
	{"slh-dsa-shake-128f", sigOID(27), bare, slhdsa.SHAKE_128f.Scheme(), nil},
	{"slh-dsa-shake-192s", sigOID(28), bare, slhdsa.SHAKE_192s.Scheme(), nil},
	{"slh-dsa-shake-192f", sigOID(29), bare, slhdsa.SHAKE_192f.Scheme(), nil},
	{"slh-dsa-shake-256s", sigOID(30), bare, slhdsa.SHAKE_256s.Scheme(), nil},
	{"slh-dsa-shake-256f", sigOID(31), bare, slhdsa.SHAKE_256f.Scheme(), nil},
}

func schemeNamed(name string) *scheme {
	for i := range schemes {
		if schemes[i].name == name {
			return &schemes[i]
		}
	}
	return nil
}

func schemeByOID(oid asn1.ObjectIdentifier) *scheme {
	for i := range schemes {
		if schemes[i].oid.Equal(oid) {
			return &schemes[i]
		}
	}
	return nil
}

// sizes are the numbers of private bytes and of bytes of the expanded private key. For
// SLH-DSA they are the same.
func (s *scheme) sizes() (private, expanded int) {
	if s.kem != nil {
		return s.kem.SeedSize(), s.kem.PrivateKeySize()
	}
	return s.sign.SeedSize(), s.sign.PrivateKeySize()
}

// expand computes the public key of private bytes, and the private key in the expanded
// form of FIPS 203, 204 and 205. The caller wipes that.
func (s *scheme) expand(private []byte) (public any, expanded []byte, err error) {
	size, _ := s.sizes()
	if len(private) != size {
		return nil, nil, fmt.Errorf("keyfile: %s: a private key of %d bytes, want %d", s.name, len(private), size)
	}
	if s.kem != nil {
		public, key := s.kem.DeriveKeyPair(private)
		expanded, err = key.MarshalBinary()
		return public, expanded, wrap(err)
	}
	if id, err := slhdsa.IDByName(s.name); err == nil {
		// The last quarter, PK.root, is computed from the others (FIPS 205 section
		// 9.1). DeriveKey of circl does something else: it stretches a seed.
		public, key, err := slhdsa.GenerateKey(bytes.NewReader(private[:size/4*3]), id)
		if err != nil {
			return nil, nil, wrap(err)
		}
		expanded, err = key.MarshalBinary()
		if err == nil && subtle.ConstantTimeCompare(expanded, private) != 1 {
			err = errMismatch
		}
		return public, expanded, err
	}
	public, key := s.sign.DeriveKey(private)
	expanded, err = key.MarshalBinary()
	return public, expanded, wrap(err)
}

// publicOfExpanded returns the public key that an expanded private key of ML-KEM has in it
// (FIPS 203 section 7.1), or that of ML-DSA makes (FIPS 204 section 6.1). Either also has its
// hash, which is compared. That ties nothing to the decryption key of ML-KEM, so the pair is
// tried, too (FIPS 203 section 7.1, pair-wise consistency check). The t0 of ML-DSA is not
// looked at: a damaged one makes bad signatures, but no other public key.
func (s *scheme) publicOfExpanded(expanded []byte) (public any, err error) {
	seedSize, size := s.sizes()
	switch {
	case len(expanded) == seedSize:
		return nil, fmt.Errorf("keyfile: %s: the seed is an OCTET STRING within the OCTET STRING, where RFC 9881 and RFC 9935 have [0]: convert the file with a newer version of the program that wrote it", s.name)
	case len(expanded) != size:
		return nil, fmt.Errorf("keyfile: %s: an expanded private key of %d bytes, want %d", s.name, len(expanded), size)
	}
	var encoded, got, want []byte
	if s.kem != nil {
		after := size - 64 // dk is dk_PKE, ek, H(ek), z
		encoded, want = expanded[after-s.kem.PublicKeySize():after], expanded[after:after+32]
		sum := sha3.Sum256(encoded)
		got = sum[:]
	} else {
		key, err := s.sign.UnmarshalBinaryPrivateKey(expanded)
		if err != nil {
			return nil, fmt.Errorf("keyfile: %s: %w", s.name, err)
		}
		if encoded, err = key.Public().(sign.PublicKey).MarshalBinary(); err != nil {
			return nil, wrap(err)
		}
		got, want = sha3.SumSHAKE256(encoded, 64), expanded[64:128] // sk is rho, K, tr, s1, s2, t0
	}
	if subtle.ConstantTimeCompare(got, want) != 1 {
		return nil, fmt.Errorf("keyfile: %s: the expanded private key has the hash of another public key", s.name)
	}
	if public, err = s.public(encoded); err != nil || s.kem == nil {
		return public, err
	}
	key, err := s.kem.UnmarshalBinaryPrivateKey(expanded)
	if err != nil {
		return nil, fmt.Errorf("keyfile: %s: %w", s.name, err)
	}
	ciphertext, sent, err := s.kem.Encapsulate(public.(kem.PublicKey))
	if err != nil {
		return nil, wrap(err)
	}
	received, err := s.kem.Decapsulate(key, ciphertext)
	if err != nil || subtle.ConstantTimeCompare(sent, received) != 1 {
		return nil, errMismatch
	}
	return public, nil
}

// derive computes the public key of private bytes.
func (s *scheme) derive(private []byte) (public any, err error) {
	public, expanded, err := s.expand(private)
	clear(expanded)
	return public, err
}

// public decodes a public key.
func (s *scheme) public(b []byte) (any, error) {
	if s.kem != nil {
		key, err := s.kem.UnmarshalBinaryPublicKey(b)
		if err != nil {
			return nil, fmt.Errorf("keyfile: %s: public key: %w", s.name, err)
		}
		return key, nil
	}
	key, err := s.sign.UnmarshalBinaryPublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("keyfile: %s: public key: %w", s.name, err)
	}
	return key, nil
}

// parse computes the public key of private bytes, or decodes a public key.
func (s *scheme) parse(private bool, b []byte) (any, error) {
	if private {
		return s.derive(b)
	}
	return s.public(b)
}

// privateBytes returns the scheme of a private key and its private bytes, which the
// caller wipes. There is no scheme for a key that crypto/x509 encodes.
func privateBytes(key any) (*scheme, []byte, error) {
	s := schemeOf(key)
	if s == nil {
		return nil, nil, nil
	}
	var private []byte
	var err error
	switch k := key.(type) {
	case *mlkem.DecapsulationKey768:
		private = k.Bytes()
	case *mlkem.DecapsulationKey1024:
		private = k.Bytes()
	case *SeededKey:
		private = bytes.Clone(k.seed)
	case *xwing.PrivateKey:
		private, err = k.MarshalBinary()
	case slhdsa.PrivateKey:
		private, err = k.MarshalBinary()
	case interface {
		sign.PrivateKey
		Seed() []byte
	}: // Ed448, ML-DSA
		if private = k.Seed(); private == nil {
			err = fmt.Errorf("this %s key does not keep its seed, and files contain seeds", s.name)
		}
	case kem.PrivateKey:
		err = fmt.Errorf("circl's %s keys do not keep their seed, and files contain seeds: use WithSeed", s.name)
	default:
		return nil, nil, errType(key)
	}
	return s, private, wrap(err)
}

// publicBytes returns the scheme of a public key and its bytes. There is no scheme for
// a key that crypto/x509 encodes.
func publicBytes(public any) (*scheme, []byte, error) {
	s := schemeOf(public)
	if s == nil {
		return nil, nil, nil
	}
	switch k := public.(type) {
	case *mlkem.EncapsulationKey768:
		return s, k.Bytes(), nil
	case *mlkem.EncapsulationKey1024:
		return s, k.Bytes(), nil
	case sign.PublicKey:
		b, err := k.MarshalBinary()
		return s, b, wrap(err)
	case kem.PublicKey:
		b, err := k.MarshalBinary()
		return s, b, wrap(err)
	}
	return nil, nil, errType(public)
}

// A SeededKey is an ML-KEM key of circl with the seed that made it. circl does not keep
// seeds, and files contain only seeds.
type SeededKey struct {
	kem.PrivateKey
	seed []byte
}

// WithSeed joins an ML-KEM key of circl and the 64-byte seed d || z (FIPS 203
// section 7.1) that made it. The standard library's keys need none.
func WithSeed(key kem.PrivateKey, seed []byte) (*SeededKey, error) {
	s := schemeOf(key)
	if s == nil || s.kem == nil {
		return nil, errType(key)
	}
	public, err := s.derive(seed)
	if err != nil {
		return nil, err
	}
	if !key.Public().Equal(public.(kem.PublicKey)) {
		return nil, fmt.Errorf("keyfile: the seed makes another %s key", s.name)
	}
	return &SeededKey{key, bytes.Clone(seed)}, nil
}
