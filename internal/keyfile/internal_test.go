package keyfile

import (
	"bytes"
	"testing"
)

// TestNoCopies: the buffers for private keys do not grow, because that would leave
// copies behind. The values of the secret members of a JWK are wiped.
func TestNoCopies(t *testing.T) {
	for i := range schemes {
		s := &schemes[i]
		size, _ := s.sizes()
		der, err := s.privateDER(make([]byte, size))
		if err != nil || cap(der) != size+64 {
			t.Errorf("%s: a buffer of %d bytes for %d, which began with %d: %v", s.name, cap(der), len(der), size+64, err)
		}
	}
	value := []byte("a secret")
	m := secret("d", value)
	if !bytes.Equal(value, make([]byte, len(value))) {
		t.Errorf("%q is still there", value)
	}
	if jwk := encode([]member{m, m}); string(jwk) != `{"d":"YSBzZWNyZXQ","d":"YSBzZWNyZXQ"}` || cap(jwk) > len(jwk)+16 {
		t.Errorf("%s, in a buffer of %d bytes", jwk, cap(jwk))
	}
}

// FuzzPBES2: no DER makes the parser or the decryption panic. What is parsed is
// within the limits, and is the same bytes when it is written again.
func FuzzPBES2(f *testing.F) {
	for _, keySize := range []int{16, 24, 32} {
		e := pbes2{salt: []byte("some salt"), iterations: 3, keySize: keySize, iv: make([]byte, 16), ciphertext: make([]byte, 48)}
		der, err := e.marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
		e.keyLength = keySize
		if der, err = e.marshal(); err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		e, err := parsePBES2(der)
		if (e == nil) == (err == nil) {
			t.Fatal("both or neither of a result and an error")
		}
		if err != nil {
			return
		}
		if e.iterations < 1 || e.iterations > maxIterations || len(e.iv) != 16 || len(e.ciphertext)%16 != 0 || len(e.ciphertext) > maxPrivate {
			t.Errorf("out of bounds: %d iterations, an IV of %d bytes, %d bytes encrypted", e.iterations, len(e.iv), len(e.ciphertext))
		}
		if again, err := e.marshal(); err != nil || !bytes.Equal(again, der) {
			t.Errorf("written again it is another: %x, %v", again, err)
		}
		if e.iterations < 100 {
			if plain, err := decrypt(der, []byte("a passphrase")); (plain == nil) == (err == nil) {
				t.Error("both or neither of a plaintext and an error")
			}
		}
	})
}
