package fixed

import (
	"crypto/ecdh"
	"io"

	"example.com/qrand/keygen/other"
	keygen "strings"
)

var _ = keygen.ToUpper

func taken(src io.Reader) {
	ecdh.P256().GenerateKey(src) // want `ecdh.Curve`
	{
		const qrandkeygen = other.None // both names are taken
		ecdh.P384().GenerateKey(src)   // want `ecdh.Curve`
	}
}
