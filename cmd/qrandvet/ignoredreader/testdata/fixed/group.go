// Package fixed is about suggested fixes: each file is another case.
package fixed

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"io" // is last
)

func group(src io.Reader, bits int) {
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
	go rsa.GenerateKey(src, 3072)                             // want `rsa.GenerateKey`
	rsa.GenerateKey(io.LimitReader(src, 10), bits+ /* a */ 1) // want `rsa.GenerateKey`
	if _, err := rsa.GenerateKey(                             // want `rsa.GenerateKey`
		src,
		4096,
	); err != nil {
		return
	}
}
