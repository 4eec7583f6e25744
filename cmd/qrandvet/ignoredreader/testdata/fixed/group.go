// Package fixed is about suggested fixes: each file is another case.
package fixed

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"io" // is last
)

const bits = 1024

func group(src io.Reader) {
	ecdsa.GenerateKey(elliptic.P256(), src)     // want `ecdsa.GenerateKey`
	_, _ = (ecdsa.GenerateKey)(elliptic.P384(), // want `ecdsa.GenerateKey`
		src)
	ecdh.X25519().GenerateKey(src)             // want `ecdh.Curve`
	(ecdh.P256()).GenerateKey( /* from */ src) // want `ecdh.Curve`
	(ecdh.P521().GenerateKey)(src)             // want `ecdh.Curve`
	ecdh.P521().                               // want `ecdh.Curve`
							GenerateKey(
			src,
		)
	go rsa.GenerateKey(src, 3072)                                 // want `rsa.GenerateKey`
	rsa.GenerateKey(io.MultiReader(src, src), bits+ /* a */ bits) // want `rsa.GenerateKey`
	if _, err := rsa.GenerateKey(                                 // want `rsa.GenerateKey`
		src,
		4096,
	); err != nil {
		return
	}
}
