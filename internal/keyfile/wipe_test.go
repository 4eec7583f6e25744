package keyfile

import (
	"bytes"
	"testing"
)

// TestNoCopies: the buffers that private keys are written into do not grow, which
// would leave copies behind, and what a JWK's members are made of is wiped.
func TestNoCopies(t *testing.T) {
	for i := range schemes {
		s := &schemes[i]
		size := 0
		if s.kem != nil {
			size = s.kem.SeedSize()
		} else {
			size = s.sign.SeedSize()
		}
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
