package main

import (
	"bytes"
	"crypto/rand"
	"io"
	"slices"

	"github.com/cloudflare/circl/kem/mlkem/mlkem512"

	"example.com/qrand/internal/keyfile"
	"example.com/qrand/keygen"
)

// A keyPair is a key that was made, with its public half.
type keyPair struct {
	private, public any
	spki            []byte
}

func newKeyPair(private any) (*keyPair, error) {
	public, err := keyfile.Public(private)
	if err != nil {
		return nil, err
	}
	spki, err := keyfile.PublicDER(public)
	return &keyPair{private, public, spki}, err
}

// encode writes both halves in a format. The caller wipes the private one.
func (k *keyPair) encode(format string, passphrase []byte, comment string) (private, public []byte, err error) {
	switch format {
	case "jwk":
		private, err = keyfile.PrivateJWK(k.private)
		defer clear(private) // the line is a copy
		if err == nil {
			public, err = keyfile.PublicJWK(k.public)
		}
		newline := []byte("\n")
		return slices.Concat(private, newline), slices.Concat(public, newline), err
	case "ssh":
		private, err = keyfile.PrivateSSH(k.private, comment, passphrase)
		if err == nil {
			public, err = keyfile.PublicSSH(k.public, comment)
		}
		return private, public, err
	case "raw":
		private, err = keyfile.PrivateRaw(k.private)
		if err == nil {
			public, err = keyfile.PublicRaw(k.public)
		}
		return private, public, err
	}
	der, err := keyfile.PrivateDER(k.private)
	if err != nil || format == "der" {
		return der, k.spki, err
	}
	defer clear(der)
	if passphrase != nil {
		// Salt and IV are no secrets, and no part of the key.
		private, err = keyfile.EncryptedPEM(der, passphrase, rand.Reader)
	} else {
		private = keyfile.PEM(keyfile.KindPrivate, der)
	}
	return private, keyfile.PEM(keyfile.KindPublic, k.spki), err
}

// seededMLKEM512 keeps the seed with the key, because circl does not, and files
// hold nothing else.
func seededMLKEM512(r io.Reader) (any, error) {
	seed := bytes.NewBuffer(make([]byte, 0, mlkem512.KeySeedSize)) // does not grow, which would leave copies
	defer func() { clear(seed.Bytes()) }()
	key, err := keygen.CirclMLKEM512(io.TeeReader(r, seed))
	if err != nil {
		return nil, err
	}
	return keyfile.WithSeed(key, seed.Bytes())
}
