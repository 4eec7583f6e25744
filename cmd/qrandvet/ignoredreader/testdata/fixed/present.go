package fixed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"io"

	made "example.com/qrand/keygen"
)

var _, _ = made.ECDSA(nil, nil)

func present(src io.Reader) (key *ecdsa.PrivateKey, err error) {
	key, err = ecdsa.GenerateKey(elliptic.P224(), src) // want `ecdsa.GenerateKey`
	{
		made := 1 // not the package
		_ = made
		key, err = ecdsa.GenerateKey(elliptic.P224(), src) // want `ecdsa.GenerateKey`
	}
	return
}
