package fixed

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	nist "crypto/elliptic"
	"io"
)

// variables have only values that keygen takes.
func variables(src io.Reader, strong bool) {
	c, exchange := nist.P256(), ecdh.X25519()
	if strong {
		c, exchange = (nist.P521()), ecdh.Curve(ecdh.P521())
	}
	var switched nist.Curve
	switch {
	case strong:
		switched = nist.P384()
	default:
		switched = c
	}
	ecdsa.GenerateKey(c, src)              // want `use keygen.ECDSA\(c, src\)`
	ecdsa.GenerateKey(switched, src)       // want `use keygen.ECDSA\(switched, src\)`
	func() { exchange.GenerateKey(src) }() // want `use keygen.ECDH\(exchange, src\)`
}
