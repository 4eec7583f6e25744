package provenance

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.SHA256
	_ "crypto/sha512" // for crypto.SHA384, crypto.SHA512
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/cloudflare/circl/sign"

	"example.com/qrand/internal/keyfile"
)

// A Signer has a private key, perhaps in a device or a service. The type of the key fixes the
// algorithm of its signatures:
//
//   - Ed25519: pure, of the message (RFC 8032).
//   - ECDSA: ASN.1, with SHA-256 for P-256, SHA-384 for P-384, SHA-512 for P-521.
//   - RSA of 2048 bits or more: RSASSA-PSS with SHA-256, MGF1 with SHA-256, and a salt of 32
//     bytes (RFC 8017 section 8.1).
//   - ML-DSA-44, -65, -87: pure, of the message, with an empty context (FIPS 204 section 5.2).
//
// A key that signs only the statement about itself may also be for ECDSA P-224 (with
// SHA-256), Ed448 or SLH-DSA, both pure and with an empty context.
type Signer interface {
	// PublicKey returns the DER SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
	PublicKey() []byte

	// Sign returns a signature of the message, which is not hashed yet. It need not verify
	// it: whoever calls Sign does.
	Sign(ctx context.Context, message []byte) ([]byte, error)
}

// NewSigner returns the Signer of a key of the standard library, of circl, of a PKCS#11
// module, of a cloud's KMS and so on. The Sign of that key cannot be interrupted.
func NewSigner(key crypto.Signer) (Signer, error) {
	spki, err := keyfile.PublicDER(key.Public())
	if err != nil {
		if spki, err = x509.MarshalPKIXPublicKey(key.Public()); err != nil { // crypto/mldsa of Go 1.27
			return nil, fmt.Errorf("provenance: a key of type %T signs no statement: give one for Ed25519, ECDSA, RSA or ML-DSA", key)
		}
	}
	public, err := parsePublicKey(spki)
	if err != nil {
		return nil, fmt.Errorf("provenance: %w", err)
	}
	if public.verify == nil {
		return nil, fmt.Errorf("provenance: a key for %s signs no statement", public.algorithm)
	}
	return &keySigner{key, public}, nil
}

type keySigner struct {
	key    crypto.Signer
	public publicKey
}

func (s *keySigner) PublicKey() []byte { return bytes.Clone(s.public.spki) }

// Sign takes its randomness from crypto/rand, not from a Source: since Go 1.26 ECDSA ignores
// the reader that it is passed, and the hedged ML-DSA of circl has none.
func (s *keySigner) Sign(_ context.Context, message []byte) ([]byte, error) {
	if _, ok := s.key.(sign.PrivateKey); ok {
		return keyfile.SignMessage(s.key, message, rand.Reader) // the method Sign would not hedge
	}
	return s.key.Sign(rand.Reader, s.public.digest(message), s.public.opts)
}

// A publicKey verifies signatures of the one algorithm that its type has.
type publicKey struct {
	spki      []byte
	id        string // the SHA-256 of spki in hex
	algorithm string // as qrand keygen names it
	opts      crypto.SignerOpts
	verify    func(digest, sig []byte) bool // nil: the key cannot sign
}

// parsePublicKey reads a SubjectPublicKeyInfo in the one encoding that this project writes:
// a key has one keyid.
func parsePublicKey(spki []byte) (k publicKey, err error) {
	file, err := keyfile.Parse(spki, nil)
	switch {
	case err != nil || file.Kind != keyfile.KindPublic:
		return k, errors.New("not a public key that is known here, in DER: give a SubjectPublicKeyInfo (openssl pkey -pubout writes it)")
	case !bytes.Equal(file.SPKI, spki):
		return k, errors.New("the public key is not in the usual encoding: write it again with openssl pkey -pubin")
	}
	k = publicKey{spki: file.SPKI, id: Digest(file.SPKI), algorithm: keyfile.Name(file.Public), opts: crypto.Hash(0)}
	switch p := file.Public.(type) {
	case ed25519.PublicKey:
		k.verify = func(message, sig []byte) bool { return ed25519.Verify(p, message, sig) }
	case *ecdsa.PublicKey:
		switch p.Curve {
		case elliptic.P384():
			k.opts = crypto.SHA384
		case elliptic.P521():
			k.opts = crypto.SHA512
		default:
			k.opts = crypto.SHA256
		}
		k.verify = func(digest, sig []byte) bool { return ecdsa.VerifyASN1(p, digest, sig) }
	case *rsa.PublicKey:
		if n := p.N.BitLen(); n < minRSA || n > maxRSA {
			return publicKey{}, fmt.Errorf("an RSA key of %d bits: it must have %d to %d", n, minRSA, maxRSA)
		}
		opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
		k.opts = opts
		k.verify = func(digest, sig []byte) bool { return rsa.VerifyPSS(p, opts.Hash, digest, sig, opts) == nil }
	case sign.PublicKey:
		k.verify = func(message, sig []byte) bool { return p.Scheme().Verify(p, message, sig, nil) }
	}
	return k, nil
}

const (
	minRSA = 2048  // SP 800-131A Rev. 2, section 3
	maxRSA = 16384 // larger ones take long to verify, and nobody has them
)

// digest returns what the key signs of a message: its hash, or all of it.
func (k *publicKey) digest(message []byte) []byte {
	hash := k.opts.HashFunc()
	if hash == 0 {
		return message
	}
	h := hash.New()
	h.Write(message)
	return h.Sum(nil)
}

// signed reports whether sig is this key's signature of the message.
func (k *publicKey) signed(message, sig []byte) bool { return k.verify(k.digest(message), sig) }

// namedAlgorithms are those of the keys of people. The others sign only for themselves: few
// programs could verify them.
var namedAlgorithms = []string{"ed25519", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87"} // and RSA
