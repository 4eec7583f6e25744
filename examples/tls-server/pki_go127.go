//go:build go1.27

package main

import (
	"crypto"
	"crypto/mldsa"
	"io"

	"example.com/qrand/keygen"
)

func init() {
	newMLDSA = func(src io.Reader) (crypto.Signer, error) { return keygen.MLDSA(mldsa.MLDSA65(), src) }
}
