// Package far is imported by another module only.
package far

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
)

func Key() { ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }
