//go:build go1.27

package reported

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/mldsa"
	"crypto/rand"
	"crypto/x509"
	"io"
)

func mldsaSignatures(src io.Reader, key *mldsa.PrivateKey, other *ecdsa.PrivateKey, ca *x509.Certificate) {
	key.Sign(src, nil, nil)                             // want `^\(\*mldsa.PrivateKey\).Sign ignores its reader under every setting: no byte of src goes into the signature; .* call SignDeterministic`
	(*mldsa.PrivateKey).Sign(key, src, nil, nil)        // want `no byte of src`
	crypto.SignMessage(key, src, nil, &mldsa.Options{}) // want `^crypto.SignMessage ignores its reader under every setting: .* into the signature of an ML-DSA key`
	x509.CreateCertificate(src, ca, ca, ca, key)        // want `^x509.CreateCertificate ignores its reader under every setting, except for a missing serial number: .* an ML-DSA key`
	x509.CreateCertificateRequest(src, nil, key)        // want `an ML-DSA key`
	key.Sign(rand.Reader, nil, nil)
	key.Sign(nil, nil, nil)
	key.SignDeterministic(nil, nil)

	var either crypto.Signer = key
	if src != nil {
		either = other
	}
	x509.CreateCertificateRequest(src, nil, either)
}
