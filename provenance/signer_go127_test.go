//go:build go1.27

package provenance_test

import (
	"crypto/mldsa"
	"encoding/base64"
	"testing"
	"time"

	"example.com/qrand/provenance"
)

// TestStandardMLDSA: keys of crypto/mldsa sign, too.
func TestStandardMLDSA(t *testing.T) {
	for _, parameters := range []mldsa.Parameters{mldsa.MLDSA44(), mldsa.MLDSA65(), mldsa.MLDSA87()} {
		s, err := provenance.NewSigner(must(mldsa.GenerateKey(parameters)))
		if err != nil {
			t.Fatal(err)
		}
		e, err := statement("x-wing").Sign(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		trust := provenance.Trust{Signers: trusted("alice"), Threshold: 1}
		trust.Signers[0].PublicKey = base64.StdEncoding.EncodeToString(s.PublicKey())
		if _, err := trust.Verify(provenance.Evidence{Envelope: e, PublicKey: spki("x-wing")}, time.Now()); err != nil {
			t.Error(err)
		}
	}
}
