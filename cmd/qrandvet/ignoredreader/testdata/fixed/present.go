package fixed

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"io"

	made "example.com/qrand/keygen"
)

var (
	curve            = ecdh.P256()
	source io.Reader = file{}
	_, _             = made.ECDSA(nil, nil)
)

type file struct{}

func (file) Read([]byte) (int, error) { return 0, nil }

func present(src io.Reader) (key *ecdsa.PrivateKey, err error) {
	key, err = ecdsa.GenerateKey(elliptic.P224(), src) // want `ecdsa.GenerateKey`
	{
		made := 1 // not the package
		_ = made
		key, err = ecdsa.GenerateKey(elliptic.P224(), src) // want `ecdsa.GenerateKey`
	}
	return
}
