package keyfile

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"example.com/qrand/internal/pemfile"
)

// A File is what Parse found in one.
type File struct {
	Kind   Kind
	Public any    // the public key, computed if the file has a private key
	SPKI   []byte // Public as a SubjectPublicKeyInfo, to compare keys in different formats
	DER    []byte // a certificate or request; nil for keys
}

func newFile(kind Kind, public any) (*File, error) {
	spki, err := PublicDER(public)
	if err != nil {
		return nil, err
	}
	return &File{Kind: kind, Public: public, SPKI: spki}, nil
}

// MaxSize is the largest file that Parse reads, in bytes.
const MaxSize = 1 << 20

var errUnknown = errors.New("keyfile: not a key, certificate or request in PEM, DER, JWK, or the formats of OpenSSH and age (for a raw key, name the algorithm)")

// Parse finds the public key of a private or public key, of a certificate or of a
// certificate request, in PEM or DER, of a JWK, an OpenSSH private key, a line of
// authorized_keys, or an identity or recipient of age. Besides what this package writes it reads RSA and EC keys in PKCS #1
// and SEC 1. It ignores certificates after a certificate or a private key. It does not
// verify the signatures of certificates and requests.
//
// Without a passphrase, the error for an encrypted private key is ErrEncrypted. With
// a wrong one it is ErrPassphrase. For other files the passphrase is not used.
func Parse(data, passphrase []byte) (*File, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("keyfile: the file has more than %d bytes", MaxSize)
	}
	data = pemfile.Text(data)
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return nil, errors.New("keyfile: the file is in UTF-16: save it in UTF-8")
	}
	if _, ok := sequence(data); ok {
		return parseDER(data, passphrase)
	}
	text := bytes.TrimSpace(data)
	switch {
	case bytes.Contains(data, []byte("-----BEGIN ")):
		return parsePEM(data, passphrase)
	case bytes.HasPrefix(text, []byte("{")):
		return parseJWK(text)
	case bytes.HasPrefix(text, []byte("ssh-")), bytes.HasPrefix(text, []byte("ecdsa-sha2-")), bytes.HasPrefix(text, []byte("sk-")):
		public, err := parsePublicSSH(text)
		if err != nil {
			return nil, err
		}
		return newFile(KindPublic, public)
	case ageLine.Match(text):
		return parseAge(text)
	}
	return nil, errUnknown
}

func parsePEM(data, passphrase []byte) (*File, error) {
	block, rest := pem.Decode(data)
	if block == nil {
		return nil, errors.New("keyfile: malformed PEM")
	}
	defer func() { clear(block.Bytes) }()
	if next, others := pem.Decode(rest); block.Type == "EC PARAMETERS" && next != nil { // openssl ecparam -genkey writes them first
		block, rest = next, others
	}
	for next, rest := pem.Decode(rest); next != nil; next, rest = pem.Decode(rest) {
		behind := next.Type == pemTypes[KindCertificate] || next.Type == pemTypes[KindRequest]
		if block.Type == pemTypes[KindPublic] || !behind {
			return nil, errors.New("keyfile: more than one key in the file: give one")
		}
	}
	switch block.Type {
	case pemTypes[KindPrivate]:
		return parseKind(KindPrivate, block.Bytes)
	case encryptedType:
		return parseEncrypted(block.Bytes, passphrase)
	case pemTypes[KindPublic]:
		return parseKind(KindPublic, block.Bytes)
	case pemTypes[KindCertificate]:
		return parseKind(KindCertificate, block.Bytes)
	case pemTypes[KindRequest], "NEW CERTIFICATE REQUEST": // RFC 7468 section 7
		return parseKind(KindRequest, block.Bytes)
	case "EC PRIVATE KEY", "RSA PRIVATE KEY", "RSA PUBLIC KEY":
		if block.Headers["DEK-Info"] != "" {
			return nil, errors.New("keyfile: the private key is encrypted in the way of RFC 1423, which protects little: convert it with openssl pkcs8 -topk8")
		}
		kind := KindPrivate
		if block.Type == "RSA PUBLIC KEY" {
			kind = KindPublic
		}
		file, err := parseDER(block.Bytes, nil)
		if err == nil && file.Kind != kind {
			return nil, fmt.Errorf("keyfile: PEM of type %s has a %v in it: the file is damaged", block.Type, file.Kind)
		}
		return file, err
	case "OPENSSH PRIVATE KEY":
		public, err := parsePrivateSSH(block, passphrase)
		if err != nil {
			return nil, err
		}
		return newFile(KindPrivate, public)
	}
	return nil, fmt.Errorf("keyfile: PEM of type %.40q is not read (for a private key, openssl pkey converts it)", block.Type)
}

// parseDER tells the kinds of DER apart by how they begin. A private key begins with a
// version: after it comes an AlgorithmIdentifier in PKCS #8, an OCTET STRING in SEC 1 (RFC
// 5915), and an INTEGER in PKCS #1 (RFC 8017 appendix A.1). A public key begins with an
// AlgorithmIdentifier and a BIT STRING, an encrypted private key with an
// AlgorithmIdentifier and an OCTET STRING. Certificates and requests begin with the part
// that is signed; in a request that begins with the version 0.
func parseDER(der, passphrase []byte) (*File, error) {
	s, ok := sequence(der)
	if ok && s.PeekASN1Tag(cbasn1.INTEGER) {
		var integer cryptobyte.String
		s.ReadASN1(&integer, cbasn1.INTEGER)
		switch {
		case s.PeekASN1Tag(cbasn1.OCTET_STRING):
			return parseTraditional(KindPrivate, der, func() (any, error) { return x509.ParseECPrivateKey(der) })
		case s.SkipASN1(cbasn1.INTEGER) && s.Empty():
			return parseTraditional(KindPublic, der, func() (any, error) { return x509.ParsePKCS1PublicKey(der) })
		case s.PeekASN1Tag(cbasn1.INTEGER):
			return parseTraditional(KindPrivate, der, func() (any, error) { return x509.ParsePKCS1PrivateKey(der) })
		case bytes.Equal(integer, []byte{3}): // its version, RFC 7292 section 4
			return nil, errors.New("keyfile: PKCS #12 is not read: convert it with openssl pkcs12")
		}
		return parseKind(KindPrivate, der)
	}
	var first cryptobyte.String
	if !ok || !s.ReadASN1(&first, cbasn1.SEQUENCE) {
		return nil, errUnknown
	}
	switch {
	case s.PeekASN1Tag(cbasn1.BIT_STRING):
		return parseKind(KindPublic, der)
	case s.PeekASN1Tag(cbasn1.OCTET_STRING):
		return parseEncrypted(der, passphrase)
	}
	var version int
	if first.ReadASN1Integer(&version) && version == 0 {
		return parseKind(KindRequest, der)
	}
	return parseKind(KindCertificate, der)
}

// parseTraditional reads a key in a format older than PKCS #8.
func parseTraditional(kind Kind, der []byte, parse func() (any, error)) (*File, error) {
	if len(der) > maxPrivate {
		return nil, fmt.Errorf("keyfile: a key of %d bytes: at most %d are read", len(der), maxPrivate)
	}
	key, err := parse()
	if err != nil {
		return nil, wrap(err)
	}
	if kind == KindPublic {
		return newFile(kind, key)
	}
	public, err := Public(key)
	if k, ok := key.(*ecdsa.PrivateKey); ok && err == nil {
		err = checkECPrivateKey(der, &k.PublicKey)
	}
	if err != nil {
		return nil, err
	}
	return newFile(kind, public)
}

func parseKind(kind Kind, der []byte) (*File, error) {
	var public any
	var err error
	switch kind {
	case KindPrivate:
		public, err = parsePrivateDER(der)
	case KindPublic:
		public, err = parsePublicDER(der)
	case KindCertificate:
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(der); err != nil {
			return nil, wrap(err)
		}
		public, err = parsePublicDER(c.RawSubjectPublicKeyInfo)
	case KindRequest:
		var r *x509.CertificateRequest
		if r, err = x509.ParseCertificateRequest(der); err != nil {
			return nil, wrap(err)
		}
		public, err = parsePublicDER(r.RawSubjectPublicKeyInfo)
	}
	if err != nil {
		return nil, err
	}
	f, err := newFile(kind, public)
	if err == nil && (kind == KindCertificate || kind == KindRequest) {
		f.DER = bytes.Clone(der)
	}
	return f, err
}

func parseEncrypted(der, passphrase []byte) (*File, error) {
	pkcs8, err := decrypt(der, passphrase)
	if err != nil {
		return nil, err
	}
	defer clear(pkcs8)
	if _, ok := sequence(pkcs8); !ok { // with a wrong passphrase the padding is right once in 256 times
		return nil, ErrPassphrase
	}
	return parseKind(KindPrivate, pkcs8)
}
