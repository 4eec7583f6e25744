//go:build go1.27

package keygen_test

import (
	"crypto"
	"crypto/mldsa"
	"crypto/x509"
	"io"
	"sync"
	"time"
	"uuid"
)

// mldsaKey is what the calls sign with.
var mldsaKey = sync.OnceValue(func() *mldsa.PrivateKey {
	key, err := mldsa.GenerateKey(mldsa.MLDSA65())
	if err != nil {
		panic(err)
	}
	return key
})

// init adds what only Go 1.27 has to the table.
//
//qrandvet:ignore finds out that it is ignored
func init() {
	signMLDSA = []call{
		{"(*mldsa.PrivateKey).Sign(r, ...)", func(r io.Reader) (any, error) { return mldsaKey().Sign(r, digest, nil) }},
		{"crypto.SignMessage(..., r, ...) with an ML-DSA key", func(r io.Reader) (any, error) {
			return crypto.SignMessage(mldsaKey(), r, digest, &mldsa.Options{})
		}},
		{"x509.CreateCertificate(r, ...) with an ML-DSA key", func(r io.Reader) (any, error) {
			template := &x509.Certificate{SerialNumber: one, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0)}
			return x509.CreateCertificate(r, template, template, mldsaKey().Public(), mldsaKey())
		}},
		global("(*mldsa.PrivateKey).Sign(nil, ...)", func() (any, error) { return mldsaKey().Sign(nil, digest, nil) }),
	}
	generateMLDSA = []call{
		global("mldsa.GenerateKey(mldsa.MLDSA65())", func() (any, error) {
			key, err := mldsa.GenerateKey(mldsa.MLDSA65())
			if err != nil {
				return nil, err
			}
			return key.Bytes(), nil
		}),
	}
	newUUID = []call{global("uuid.New()", func() (any, error) { id := uuid.New(); return id[:], nil })}
}
