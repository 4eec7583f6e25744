package keyfile

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"

	"github.com/cloudflare/circl/sign"
	"github.com/cloudflare/circl/sign/ed448"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
	"github.com/cloudflare/circl/sign/slhdsa"
)

// SelfSigned is a certificate of the key, signed by it, in DER. It is what
// x509.CreateCertificate makes of the template, but for SubjectKeyId, which is
// set (RFC 7093 section 2, method 1), and that keys for Ed448 (RFC 8410), ML-DSA
// (RFC 9881) and SLH-DSA (RFC 9909) sign too: these ignore the template's
// SignatureAlgorithm.
//
// From rand come 20 bytes if the template has no SerialNumber, and those of the
// signature: for SLH-DSA 16, 24 or 32 (its n; FIPS 205 section 9.2), for RSA-PSS
// the salt, otherwise none. ECDSA (by default, on Go 1.26) and ML-DSA, in its
// hedged variant (FIPS 204 section 3.4), take theirs from crypto/rand whatever
// they are passed; the others need none.
func SelfSigned(key any, template *x509.Certificate, rand io.Reader) ([]byte, error) {
	public, identifier, err := checkSigner(key, rand)
	if err != nil {
		return nil, err
	}
	bits, err := publicBits(public)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(bits)
	t := *template
	t.SubjectKeyId = id[:20]
	t.PublicKey = nil // CreateCertificate would compare it with the signer's
	if identifier == nil {
		der, err := x509.CreateCertificate(rand, &t, &t, public, key)
		return der, wrap(err)
	}
	t.SignatureAlgorithm = 0
	der, err := x509.CreateCertificate(rand, &t, &t, standIn.Public(), standIn)
	if err != nil {
		return nil, wrap(err)
	}
	// TBSCertificate (RFC 5280 section 4.1): version, serialNumber, signature,
	// issuer, validity, subject, subjectPublicKeyInfo, extensions.
	return graft(der, key, public, identifier, 6, 2, rand)
}

// Request is a PKCS #10 certificate request for the key (RFC 2986), in DER, and is
// to x509.CreateCertificateRequest what SelfSigned is to CreateCertificate.
func Request(key any, template *x509.CertificateRequest, rand io.Reader) ([]byte, error) {
	public, identifier, err := checkSigner(key, rand)
	if err != nil {
		return nil, err
	}
	if identifier == nil {
		der, err := x509.CreateCertificateRequest(rand, template, key)
		return der, wrap(err)
	}
	t := *template
	t.SignatureAlgorithm = 0
	der, err := x509.CreateCertificateRequest(rand, &t, standIn)
	if err != nil {
		return nil, wrap(err)
	}
	// CertificationRequestInfo: version, subject, subjectPKInfo, attributes.
	return graft(der, key, public, identifier, 2, -1, rand)
}

// standIn signs where crypto/x509 needs a key that it knows. Everybody can know
// it: no byte of its key or signatures remains.
var standIn = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// checkSigner returns the public key, and the AlgorithmIdentifier of the
// signatures unless crypto/x509 makes them.
func checkSigner(key any, rand io.Reader) (public any, identifier []byte, err error) {
	if rand == nil {
		return nil, nil, errNilReader
	}
	public, err = Public(key)
	if err != nil {
		return nil, nil, err
	}
	switch key.(type) {
	case *ecdsa.PrivateKey, *rsa.PrivateKey, ed25519.PrivateKey:
		return public, nil, nil
	}
	s := schemeOf(key)
	if s == nil || s.sign == nil {
		return nil, nil, fmt.Errorf("keyfile: an %s key does not sign, so it cannot sign a certificate or request of its own: ecdsa, rsa, ed25519, ed448, ml-dsa and slh-dsa keys can; a certificate for this key is issued by a CA, with the CA's signing key", Name(key))
	}
	identifier, err = asn1.Marshal(pkix.AlgorithmIdentifier{Algorithm: s.oid})
	return public, identifier, wrap(err)
}

// graft takes a certificate or request that standIn signed, puts the real key
// and, if index signature is not negative, the real algorithm into what is signed,
// and signs that.
func graft(der []byte, key, public any, identifier []byte, spki, signature int, rand io.Reader) ([]byte, error) {
	var signed struct{ TBS, Identifier, Signature asn1.RawValue }
	if _, err := asn1.Unmarshal(der, &signed); err != nil {
		return nil, wrap(err)
	}
	var parts []asn1.RawValue
	if _, err := asn1.Unmarshal(signed.TBS.FullBytes, &parts); err != nil {
		return nil, wrap(err)
	}
	info, err := PublicDER(public)
	if err != nil {
		return nil, err
	}
	parts[spki] = asn1.RawValue{FullBytes: info}
	if signature >= 0 {
		parts[signature] = asn1.RawValue{FullBytes: identifier}
	}
	tbs, err := asn1.Marshal(parts)
	if err != nil {
		return nil, wrap(err)
	}
	sig, err := signMessage(key, tbs, rand)
	if err != nil {
		return nil, err
	}
	// A fault while signing can give the key away: let nothing out that is wrong.
	if p := public.(sign.PublicKey); !p.Scheme().Verify(p, tbs, sig, nil) {
		return nil, errors.New("keyfile: the signature that was made does not verify")
	}
	bits, err := asn1.Marshal(asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)})
	if err != nil {
		return nil, wrap(err)
	}
	der, err = asn1.Marshal([]asn1.RawValue{{FullBytes: tbs}, {FullBytes: identifier}, {FullBytes: bits}})
	return der, wrap(err)
}

// signMessage signs with one of circl's keys, with the empty context that the
// RFCs ask for.
func signMessage(key any, message []byte, rand io.Reader) (sig []byte, err error) {
	switch k := key.(type) {
	case ed448.PrivateKey:
		return ed448.Sign(k, message, ""), nil
	case *mldsa44.PrivateKey:
		sig = make([]byte, mldsa44.SignatureSize)
		err = mldsa44.SignTo(k, message, nil, true, sig)
	case *mldsa65.PrivateKey:
		sig = make([]byte, mldsa65.SignatureSize)
		err = mldsa65.SignTo(k, message, nil, true, sig)
	case *mldsa87.PrivateKey:
		sig = make([]byte, mldsa87.SignatureSize)
		err = mldsa87.SignTo(k, message, nil, true, sig)
	case slhdsa.PrivateKey:
		sig, err = slhdsa.SignRandomized(&k, rand, slhdsa.NewMessage(message), nil)
	default:
		err = errType(key)
	}
	return sig, wrap(err)
}
