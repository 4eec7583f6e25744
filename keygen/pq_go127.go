//go:build go1.27

package keygen

import (
	"crypto/mldsa"
	"errors"
	"io"
)

// MLDSA makes an ML-DSA key of the standard library, which has them since Go 1.27, from the
// 32-byte seed xi (FIPS 204 section 6.1). It is the key that MLDSA44, MLDSA65 or MLDSA87
// makes from the same bytes, in the type that crypto/x509 and crypto/tls sign with. Its Bytes
// method returns the seed.
//
// The parameters are mldsa.MLDSA44(), MLDSA65() or MLDSA87(). A program that is built with
// GOFIPS140=v1.0.0 has no ML-DSA of the standard library, and gets an error.
func MLDSA(parameters mldsa.Parameters, r io.Reader) (*mldsa.PrivateKey, error) {
	if parameters == (mldsa.Parameters{}) {
		return nil, errors.New("keygen: ML-DSA: no parameter set: use mldsa.MLDSA44(), MLDSA65() or MLDSA87()")
	}
	return fromSeed(r, parameters.String(), mldsa.PrivateKeySize, func(seed []byte) (*mldsa.PrivateKey, error) {
		return mldsa.NewPrivateKey(parameters, seed)
	})
}
