package keyfile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ssh"

	"example.com/qrand/internal/pemfile"
)

// ParseSigner returns the private key in a PEM file, to sign with: one for Ed25519, ECDSA
// P-256, P-384, P-521, RSA or ML-DSA, in PKCS #8, SEC 1, PKCS #1 or OpenSSH's format. It reads
// the files that Parse reads, with the same errors. The key itself cannot be wiped.
func ParseSigner(data, passphrase []byte) (crypto.Signer, error) {
	data = pemfile.Text(data)            // as Parse does
	file, err := Parse(data, passphrase) // compares the public key in the file with the private one
	if err != nil {
		return nil, err
	}
	if file.Kind != KindPrivate {
		return nil, fmt.Errorf("keyfile: a %v cannot sign: give the private key", file.Kind)
	}
	name := Name(file.Public)
	switch public := file.Public.(type) {
	case ed25519.PublicKey, *rsa.PublicKey:
	case *ecdsa.PublicKey:
		if public.Curve == elliptic.P224() {
			return nil, errNoSigner(name)
		}
	default:
		if !strings.HasPrefix(name, "ml-dsa-") {
			return nil, errNoSigner(name)
		}
	}
	block, rest := pem.Decode(data)
	if block != nil && block.Type == "EC PARAMETERS" {
		block, _ = pem.Decode(rest)
	}
	if block == nil {
		return nil, errors.New("keyfile: a key to sign with must be in PEM: openssl pkey converts it")
	}
	defer func() { clear(block.Bytes) }()
	key, err := signerIn(block, data, passphrase)
	if err != nil {
		return nil, err
	}
	if spki, err := PublicDER(key.Public()); err != nil || !bytes.Equal(spki, file.SPKI) {
		return nil, errMismatch
	}
	return key, nil
}

func errNoSigner(name string) error {
	return fmt.Errorf("keyfile: a key for %s does not sign for a person: use ed25519, ecdsa-p256, -p384, -p521, rsa or ml-dsa", name)
}

// signerIn reads a block that Parse accepted.
func signerIn(block *pem.Block, data, passphrase []byte) (key crypto.Signer, err error) {
	var parsed any
	der := block.Bytes
	switch block.Type {
	case "OPENSSH PRIVATE KEY":
		parsed, err = ssh.ParseRawPrivateKey(data)
		if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) {
			parsed, err = ssh.ParseRawPrivateKeyWithPassphrase(data, passphrase)
		}
	case "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(der)
	case "RSA PRIVATE KEY":
		parsed, err = x509.ParsePKCS1PrivateKey(der)
	case encryptedType:
		if der, err = decrypt(der, passphrase); err != nil {
			return nil, err
		}
		defer clear(der)
		fallthrough
	default:
		if s, octets := schemeIn(der); s != nil {
			return s.signer(octets)
		}
		parsed, err = x509.ParsePKCS8PrivateKey(der)
	}
	if err != nil {
		return nil, wrap(err)
	}
	switch k := parsed.(type) {
	case *ed25519.PrivateKey: // as x/crypto/ssh returns it
		return *k, nil
	case crypto.Signer:
		return k, nil
	}
	return nil, errType(parsed)
}

// schemeIn finds the scheme of a private key in PKCS #8, and its octets.
func schemeIn(der []byte) (s *scheme, octets cryptobyte.String) {
	input, ok := sequence(der)
	if !ok || !input.SkipASN1(cbasn1.INTEGER) {
		return nil, nil
	}
	oid, _, ok := readIdentifier(&input)
	if !ok || !input.ReadASN1(&octets, cbasn1.OCTET_STRING) {
		return nil, nil
	}
	return schemeByOID(oid), octets
}

// signer returns the private key of ML-DSA in one of the three forms of RFC 9881 section 6.
func (s *scheme) signer(octets cryptobyte.String) (crypto.Signer, error) {
	private := cryptobyte.String(nil)
	switch {
	case octets.PeekASN1Tag(seedTag):
		octets.ReadASN1(&private, seedTag)
	case octets.PeekASN1Tag(cbasn1.SEQUENCE): // the seed, and the expanded key
		octets.ReadASN1(&octets, cbasn1.SEQUENCE)
		octets.ReadASN1(&private, cbasn1.OCTET_STRING)
	default: // the expanded key alone
		octets.ReadASN1(&private, cbasn1.OCTET_STRING)
		key, err := s.sign.UnmarshalBinaryPrivateKey(private)
		return key, wrap(err)
	}
	if len(private) != s.sign.SeedSize() {
		return nil, errPKCS8
	}
	_, key := s.sign.DeriveKey(private)
	return key, nil
}
