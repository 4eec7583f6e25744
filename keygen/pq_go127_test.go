//go:build go1.27

package keygen_test

import (
	"bytes"
	"crypto"
	"crypto/mldsa"
	"testing"

	"github.com/cloudflare/circl/sign"

	"example.com/qrand/keygen"
)

// init adds the keys of crypto/mldsa to those of the other tests.
func init() {
	go127Algorithms = []algorithm{
		entry("standard ML-DSA-44", 32, pointer, on(keygen.MLDSA, mldsa.MLDSA44())),
		entry("standard ML-DSA-65", 32, pointer, on(keygen.MLDSA, mldsa.MLDSA65())),
		entry("standard ML-DSA-87", 32, pointer, on(keygen.MLDSA, mldsa.MLDSA87())),
	}
	verifyMLDSA = func(public crypto.PublicKey, message, sig []byte) bool {
		return mldsa.Verify(public.(*mldsa.PublicKey), message, sig, nil) == nil
	}
}

// TestOtherMLDSA: circl and the standard library make the same ML-DSA key from the same
// seed and the same signature where it has no randomness, and each verifies what the other
// signs, with a context and without one. TestPublished of internal/keyfile compares both with
// the keys in RFC 9881.
func TestOtherMLDSA(t *testing.T) {
	message := []byte("a message")
	for _, c := range []struct {
		parameters mldsa.Parameters
		circl      func(seed byte) (sign.PrivateKey, error)
	}{
		{mldsa.MLDSA44(), func(seed byte) (sign.PrivateKey, error) { return keygen.MLDSA44(newStream(seed)) }},
		{mldsa.MLDSA65(), func(seed byte) (sign.PrivateKey, error) { return keygen.MLDSA65(newStream(seed)) }},
		{mldsa.MLDSA87(), func(seed byte) (sign.PrivateKey, error) { return keygen.MLDSA87(newStream(seed)) }},
	} {
		for seed := range byte(3) {
			std, err := keygen.MLDSA(c.parameters, newStream(seed))
			if err != nil {
				t.Fatal(err)
			}
			circl, err := c.circl(seed)
			if err != nil {
				t.Fatal(err)
			}
			want := make([]byte, mldsa.PrivateKeySize)
			newStream(seed).Read(want)
			if !bytes.Equal(std.Bytes(), want) {
				t.Errorf("%v: the key's seed is not what was read", c.parameters)
			}
			public := circl.Public().(sign.PublicKey)
			if encoded, err := public.MarshalBinary(); err != nil || !bytes.Equal(encoded, std.PublicKey().Bytes()) {
				t.Errorf("%v: the public keys differ: %v", c.parameters, err)
			}
			for _, context := range []string{"", "a context"} {
				circlOptions, stdOptions := &sign.SignatureOpts{Context: context}, &mldsa.Options{Context: context}
				theirs := circl.Scheme().Sign(circl, message, circlOptions)
				if err := mldsa.Verify(std.PublicKey(), message, theirs, stdOptions); err != nil {
					t.Errorf("%v, context %q: the standard library does not verify what circl signed: %v", c.parameters, context, err)
				}
				hedged, err := std.Sign(nil, message, stdOptions)
				if err != nil || !circl.Scheme().Verify(public, message, hedged, circlOptions) {
					t.Errorf("%v, context %q: circl does not verify what the standard library signed: %v", c.parameters, context, err)
				}
				same, err := std.SignDeterministic(message, stdOptions)
				if err != nil || !bytes.Equal(same, theirs) {
					t.Errorf("%v, context %q: the signatures without randomness differ: %v", c.parameters, context, err)
				}
			}
		}
	}
	r := newStream(1)
	if key, err := keygen.MLDSA(mldsa.Parameters{}, r); key != nil || err == nil || r.taken != 0 {
		t.Errorf("no parameter set: %v, and %d bytes were taken", err, r.taken)
	}
}
