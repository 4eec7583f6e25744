package fixed

import (
	"crypto/ecdh"
	. "crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"io"
)

type own struct{ ecdh.Curve }

// refused has nothing that keygen could do, or nothing that would compile.
func refused(src io.Reader, o own) {
	GenerateKey(elliptic.P256(), src)        // want `ecdsa.GenerateKey`
	rsa.GenerateKey(src, 1024)               // want `rsa.GenerateKey`
	rsa.GenerateKey(src, 2056)               // want `rsa.GenerateKey`
	rsa.GenerateKey(src, 1<<20)              // want `rsa.GenerateKey`
	rsa.GenerateMultiPrimeKey(src, 3, 2048)  // want `rsa.GenerateMultiPrimeKey`
	rand.Prime(src, 1024)                    // want `rand.Prime`
	o.GenerateKey(src)                       // want `ecdh.Curve`
	ecdh.Curve.GenerateKey(ecdh.P256(), src) // want `ecdh.Curve`
	SignASN1(src, nil, nil)                  // want `ecdsa.SignASN1`
}
