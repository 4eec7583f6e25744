package relaynats

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"testing"
)

func encodePEM(kind string, der []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// TestParseKeys: keys of Ed25519 in PEM are read, and nothing else is.
func TestParseKeys(t *testing.T) {
	key, relays := newSigner(t)
	_, more := newSigner(t)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return encodePEM("PRIVATE KEY", der, err)
	}
	public := func(key any) []byte {
		der, err := x509.MarshalPKIXPublicKey(key)
		return encodePEM("PUBLIC KEY", der, err)
	}
	got, err := ParseKey(append([]byte("a comment\n"), private(key)...))
	if err != nil || !got.Equal(key) {
		t.Errorf("the private key: %v", err)
	}
	for name, text := range map[string][]byte{
		"nothing": nil, "a public key": public(key.Public()), "two keys": bytes.Repeat(private(key), 2), "ECDSA": private(other),
		"no DER": encodePEM("PRIVATE KEY", []byte("?"), nil), "text after it": append(private(key), "?"...),
	} {
		if _, err := ParseKey(text); err == nil {
			t.Errorf("a private key: %s is accepted", name)
		}
	}
	all, err := ParsePublicKeys(slices.Concat([]byte("\ufeff"), public(key.Public()), public(more[0]))) // an editor may write the mark
	if err != nil || len(all) != 2 || !all[0].Equal(relays[0]) || !all[1].Equal(more[0]) {
		t.Errorf("the public keys: %v", err)
	}
	for name, text := range map[string][]byte{
		"nothing": nil, "a private key": private(key), "ECDSA": public(other.Public()), "no DER": encodePEM("PUBLIC KEY", []byte("?"), nil),
		"text after it": append(public(key.Public()), "?"...), "half of one": public(key.Public())[:60],
	} {
		if keys, err := ParsePublicKeys(text); err == nil || keys != nil {
			t.Errorf("public keys: %s is accepted", name)
		}
	}
}
