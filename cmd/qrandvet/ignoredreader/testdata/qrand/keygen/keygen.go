// Package keygen stands for the real one, as far as the tests' files use it.
package keygen

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"io"
)

func ECDSA(c elliptic.Curve, r io.Reader) (*ecdsa.PrivateKey, error) { panic("keygen: not to be run") }

func ECDH(c ecdh.Curve, r io.Reader) (*ecdh.PrivateKey, error) { panic("keygen: not to be run") }

func RSA(bits int, r io.Reader) (*rsa.PrivateKey, error) { panic("keygen: not to be run") }
