package fixed

import "crypto/ecdsa" // for the call
import "crypto/elliptic"
import "io"

// single has no parentheses.
func single(src io.Reader) {
	ecdsa.GenerateKey(elliptic.P521(), src) // want `ecdsa.GenerateKey`
}
