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

// SelfSigned is a certificate for the key, signed by the key, in DER. It is what
// x509.CreateCertificate makes of the template, with two differences. SubjectKeyId is
// set (RFC 7093 section 2, method 1). And keys for Ed448 (RFC 8410), ML-DSA (RFC
// 9881) and SLH-DSA (RFC 9909) can sign, too; they ignore the SignatureAlgorithm of
// the template.
//
// SelfSigned reads 20 bytes from rand if the template has no SerialNumber. For the
// signature it reads 16, 24 or 32 bytes for SLH-DSA (its n; FIPS 205 section 9.2), the
// salt for RSA-PSS, and otherwise nothing. ECDSA (by default, on Go 1.26) and ML-DSA,
// in its hedged variant (FIPS 204 section 3.4), always read from crypto/rand. The
// others need no randomness.
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

// Request is a PKCS #10 certificate request for the key (RFC 2986), in DER. It extends
// x509.CreateCertificateRequest as SelfSigned extends CreateCertificate.
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

// standIn signs where crypto/x509 needs a type of key that it knows. The key is not
// secret: no byte of it or of its signatures remains.
var standIn = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// checkSigner returns the public key, and the AlgorithmIdentifier of the signatures
// if crypto/x509 does not make them.
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
		return nil, nil, fmt.Errorf("keyfile: a key for %s does not sign, so it cannot sign a certificate or request for itself: keys for ecdsa, rsa, ed25519, ed448, ml-dsa and slh-dsa can; ask a CA for a certificate", Name(key))
	}
	identifier, err = asn1.Marshal(pkix.AlgorithmIdentifier{Algorithm: s.oid})
	return public, identifier, wrap(err)
}

// graft takes a certificate or request that standIn signed, and replaces in its signed
// part the key and, if index signature is not negative, the algorithm. Then it signs
// that part with the real key.
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
	sig, err := SignMessage(key, tbs, rand)
	if err != nil {
		return nil, err
	}
	// A fault while signing can reveal the key: return no signature that is wrong.
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

// SignMessage signs with a key of circl for Ed448, ML-DSA or SLH-DSA, and the empty context
// that the RFCs ask for. ML-DSA is hedged, with crypto/rand (FIPS 204 section 3.4). From rand
// it reads only for SLH-DSA.
func SignMessage(key any, message []byte, rand io.Reader) (sig []byte, err error) {
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
