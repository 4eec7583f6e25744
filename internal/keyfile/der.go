package keyfile

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// pemTypes are the labels of RFC 7468.
var pemTypes = map[Kind]string{
	KindPrivate:     "PRIVATE KEY",
	KindPublic:      "PUBLIC KEY",
	KindCertificate: "CERTIFICATE",
	KindRequest:     "CERTIFICATE REQUEST",
}

const encryptedType = "ENCRYPTED PRIVATE KEY"

// PEM is DER in PEM (RFC 7468).
func PEM(kind Kind, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemTypes[kind], Bytes: der})
}

// PrivateDER is a private key as PKCS #8, or OneAsymmetricKey (RFC 5958). Classical
// keys are as crypto/x509 writes them. The others follow RFC 8410 (Ed448), RFC 9881
// (ML-DSA) and RFC 9935 (ML-KEM), both in the seed form, RFC 9909 (SLH-DSA), and
// draft-connolly-cfrg-xwing-kem.
func PrivateDER(key any) ([]byte, error) {
	s, private, err := privateBytes(key)
	if err != nil {
		return nil, err
	}
	if s != nil {
		defer clear(private)
		return s.privateDER(private)
	}
	switch key.(type) {
	case *ecdsa.PrivateKey, *ecdh.PrivateKey, ed25519.PrivateKey, *rsa.PrivateKey:
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return der, wrap(err)
	}
	return nil, errType(key)
}

// publicBits is the content of the BIT STRING in a SubjectPublicKeyInfo.
func publicBits(public any) ([]byte, error) {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		b, err := k.Bytes()
		return b, wrap(err)
	case *ecdh.PublicKey:
		return k.Bytes(), nil
	case ed25519.PublicKey:
		return bytes.Clone(k), nil
	case *rsa.PublicKey:
		return x509.MarshalPKCS1PublicKey(k), nil
	}
	s, b, err := publicBytes(public)
	if s == nil && err == nil {
		err = errType(public)
	}
	return b, err
}

// PublicDER is a public key as a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
func PublicDER(public any) ([]byte, error) {
	s, b, err := publicBytes(public)
	if err != nil {
		return nil, err
	}
	if s != nil {
		return s.publicDER(b)
	}
	switch public.(type) {
	case *ecdsa.PublicKey, *ecdh.PublicKey, ed25519.PublicKey, *rsa.PublicKey:
		der, err := x509.MarshalPKIXPublicKey(public)
		return der, wrap(err)
	}
	return nil, errType(public)
}

func (s *scheme) privateDER(private []byte) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, len(private)+64)) // never grows: growing would leave copies
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		s.addIdentifier(b)
		b.AddASN1(cbasn1.OCTET_STRING, func(b *cryptobyte.Builder) {
			switch s.form {
			case bare:
				b.AddBytes(private)
			case nested:
				b.AddASN1OctetString(private)
			case seed:
				b.AddASN1(seedTag, func(b *cryptobyte.Builder) { b.AddBytes(private) })
			}
		})
	})
	der, err := b.Bytes()
	return der, wrap(err)
}

func (s *scheme) publicDER(public []byte) ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		s.addIdentifier(b)
		b.AddASN1BitString(public)
	})
	der, err := b.Bytes()
	return der, wrap(err)
}

// addIdentifier adds the AlgorithmIdentifier, whose parameters are absent.
func (s *scheme) addIdentifier(b *cryptobyte.Builder) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(s.oid) })
}

var (
	seedTag       = cbasn1.Tag(0).ContextSpecific()
	attributesTag = cbasn1.Tag(0).ContextSpecific().Constructed()
	publicTag     = cbasn1.Tag(1).ContextSpecific()
	curveTag      = cbasn1.Tag(0).ContextSpecific().Constructed()
	pointTag      = cbasn1.Tag(1).ContextSpecific().Constructed()
)

// maxPrivate bounds the DER of a private key, and so the work of checking one. An RSA
// key of 16,384 bits has 9.3 kB.
const maxPrivate = 16 << 10

var (
	errPKCS8 = errors.New("keyfile: malformed PKCS #8 private key")
	errSPKI  = errors.New("keyfile: malformed SubjectPublicKeyInfo")
)

// parsePrivateDER reads PKCS #8, and computes the public key.
func parsePrivateDER(der []byte) (public any, err error) {
	if len(der) > maxPrivate {
		return nil, fmt.Errorf("keyfile: a private key of %d bytes: at most %d are read", len(der), maxPrivate)
	}
	var version int
	var octets, copied cryptobyte.String
	var hasCopy bool
	input, ok := sequence(der)
	if !ok || !input.ReadASN1Integer(&version) || version < 0 || version > 1 {
		return nil, errPKCS8
	}
	oid, bareOID, ok := readIdentifier(&input)
	if !ok || !input.ReadASN1(&octets, cbasn1.OCTET_STRING) || !input.SkipOptionalASN1(attributesTag) ||
		!input.ReadOptionalASN1(&copied, &hasCopy, publicTag) || !input.Empty() {
		return nil, errPKCS8
	}
	if s := schemeByOID(oid); s != nil {
		if !bareOID {
			return nil, fmt.Errorf("keyfile: %s: the algorithm has parameters, and must have none", s.name)
		}
		public, err = s.parsePrivate(octets)
	} else {
		var key any
		if key, err = x509.ParsePKCS8PrivateKey(der); err != nil {
			return nil, wrap(err)
		}
		switch k := key.(type) {
		case *ecdsa.PrivateKey:
			public, err = &k.PublicKey, checkECPrivateKey(octets, &k.PublicKey)
		case *ecdh.PrivateKey, ed25519.PrivateKey, *rsa.PrivateKey:
			public, err = Public(key)
		default:
			err = errType(key)
		}
	}
	if err == nil && hasCopy {
		err = checkCopy(copied, public)
	}
	return public, err
}

// checkECPrivateKey compares the curve and the public key that an ECPrivateKey (RFC 5915
// section 3) may have. In PKCS #8, crypto/x509 looks at neither, and OpenSSL goes by this curve.
func checkECPrivateKey(der []byte, public *ecdsa.PublicKey) error {
	var curve, copied cryptobyte.String
	var hasCurve, hasCopy bool
	s, ok := sequence(der)
	if !ok || !s.SkipASN1(cbasn1.INTEGER) || !s.SkipASN1(cbasn1.OCTET_STRING) || !s.ReadOptionalASN1(&curve, &hasCurve, curveTag) ||
		!s.ReadOptionalASN1(&copied, &hasCopy, pointTag) || !s.Empty() || hasCopy && !copied.ReadASN1(&copied, cbasn1.BIT_STRING) {
		return errors.New("keyfile: malformed EC private key")
	}
	spki, err := PublicDER(public) // its AlgorithmIdentifier is id-ecPublicKey and the curve
	if err != nil {
		return err
	}
	info, _ := sequence(spki)
	var algorithm cryptobyte.String
	if !info.ReadASN1(&algorithm, cbasn1.SEQUENCE) || !algorithm.SkipASN1(cbasn1.OBJECT_IDENTIFIER) {
		return errSPKI
	}
	if hasCurve && !bytes.Equal(curve, algorithm) {
		return errors.New("keyfile: the file names two curves for its EC private key: it is damaged")
	}
	if !hasCopy {
		return nil
	}
	return checkCopy(copied, public)
}

// checkCopy compares the content of a BIT STRING with a public key. A point of a NIST
// curve may be compressed or hybrid, too (SEC 1 section 2.3.3, X9.62 section 4.3.6).
func checkCopy(copied []byte, public any) error {
	bits, err := publicBits(public)
	if err != nil {
		return err
	}
	forms := [][]byte{bits}
	if _, ok := public.(*ecdsa.PublicKey); ok {
		odd := bits[len(bits)-1] & 1
		forms = append(forms, append([]byte{2 | odd}, bits[1:1+len(bits)/2]...), append([]byte{6 | odd}, bits[1:]...))
	}
	for _, form := range forms {
		if bytes.Equal(copied, append([]byte{0}, form...)) { // no unused bits
			return nil
		}
	}
	return errMismatch
}

// sequence returns the content of a SEQUENCE, if data is one and nothing else.
func sequence(data []byte) (content cryptobyte.String, ok bool) {
	s := cryptobyte.String(data)
	ok = s.ReadASN1(&content, cbasn1.SEQUENCE) && s.Empty()
	return content, ok
}

// readIdentifier reads an AlgorithmIdentifier. It is bare if it has no parameters.
func readIdentifier(input *cryptobyte.String) (oid asn1.ObjectIdentifier, bare, ok bool) {
	var identifier cryptobyte.String
	ok = input.ReadASN1(&identifier, cbasn1.SEQUENCE) && identifier.ReadASN1ObjectIdentifier(&oid)
	return oid, identifier.Empty(), ok
}

// parsePrivate reads the privateKey of a OneAsymmetricKey. ML-KEM and ML-DSA have a
// form with the expanded key beside the seed: both are compared. In another form the
// expanded key is alone.
func (s *scheme) parsePrivate(octets cryptobyte.String) (public any, err error) {
	private, claimed := octets, cryptobyte.String(nil)
	ok := true
	switch {
	case s.form == nested:
		ok = octets.ReadASN1(&private, cbasn1.OCTET_STRING) && octets.Empty()
	case s.form == seed && octets.PeekASN1Tag(seedTag):
		ok = octets.ReadASN1(&private, seedTag) && octets.Empty()
	case s.form == seed && octets.PeekASN1Tag(cbasn1.SEQUENCE):
		var both cryptobyte.String
		ok = octets.ReadASN1(&both, cbasn1.SEQUENCE) && octets.Empty() && both.ReadASN1(&private, cbasn1.OCTET_STRING) &&
			both.ReadASN1(&claimed, cbasn1.OCTET_STRING) && both.Empty()
	case s.form == seed && octets.PeekASN1Tag(cbasn1.OCTET_STRING):
		if !octets.ReadASN1(&private, cbasn1.OCTET_STRING) || !octets.Empty() {
			return nil, errPKCS8
		}
		return s.publicOfExpanded(private)
	case s.form == seed:
		if seedSize, size := s.sizes(); len(octets) == seedSize || len(octets) == size {
			return nil, fmt.Errorf("%w: %s: it has the bare bytes of the key, without the tag of RFC 9881 and RFC 9935: convert it with a newer version of the program that wrote it, or give the file of the public key", errPKCS8, s.name)
		}
		ok = false
	}
	if !ok {
		return nil, errPKCS8
	}
	public, expanded, err := s.expand(private)
	defer clear(expanded)
	if err == nil && claimed != nil && subtle.ConstantTimeCompare(claimed, expanded) != 1 {
		return nil, fmt.Errorf("keyfile: %s: the seed and the expanded private key in the file do not belong together", s.name)
	}
	return public, err
}

// parsePublicDER reads a SubjectPublicKeyInfo.
func parsePublicDER(der []byte) (public any, err error) {
	der = bytes.Clone(der) // Ed25519 keys of crypto/x509 point into it
	var bits []byte
	input, ok := sequence(der)
	if !ok {
		return nil, errSPKI
	}
	oid, bareOID, ok := readIdentifier(&input)
	if !ok || !input.ReadASN1BitStringAsBytes(&bits) || !input.Empty() {
		return nil, errSPKI
	}
	if s := schemeByOID(oid); s != nil {
		if !bareOID {
			return nil, fmt.Errorf("keyfile: %s: the algorithm has parameters, and must have none", s.name)
		}
		return s.public(bits)
	}
	public, err = x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, wrap(err)
	}
	if Name(public) == "" {
		return nil, errType(public)
	}
	return public, nil
}
