package keyfile_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"example.com/qrand/internal/keyfile"
)

// TestParseSigner: a key that signs for a person is read from every form in PEM, and is the
// same key. Other keys and forms are refused with the reason.
func TestParseSigner(t *testing.T) {
	signs := []string{"ed25519", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-", "ml-dsa-", "ecdh-"} // files do not tell ECDH from ECDSA
	forEach(t, all, func(t *testing.T, name string, key any) {
		public := must(keyfile.Public(key))(t)
		spki := must(keyfile.PublicDER(public))(t)
		files := map[string][]byte{}
		for _, f := range forms {
			if data, err := f.make(key, public); err == nil {
				files[f.name] = data
			}
		}
		switch k := key.(type) {
		case *ecdsa.PrivateKey:
			files["SEC 1 PEM"] = append([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"),
				pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(k))(t)})...)
		case *rsa.PrivateKey:
			files["PKCS #1 PEM"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)})
		}
		files["marked PEM"] = append([]byte("\ufeff"), files["private PEM"]...)
		if strings.HasPrefix(name, "ml-dsa-") {
			var p struct {
				Version   int
				Algorithm pkix.AlgorithmIdentifier
				Key       []byte
			}
			must(asn1.Unmarshal(must(keyfile.PrivateDER(key))(t), &p))(t)
			expanded := must(key.(encoding.BinaryMarshaler).MarshalBinary())(t)
			both := struct{ Seed, Expanded []byte }{p.Key[2:], expanded}
			for form, content := range map[string]any{"expanded PEM": expanded, "both PEM": both} {
				p.Key = must(asn1.Marshal(content))(t)
				files[form] = keyfile.PEM(keyfile.KindPrivate, must(asn1.Marshal(p))(t))
			}
		}
		for form, data := range files {
			signer, err := keyfile.ParseSigner(data, passphrase)
			want := ""
			switch {
			case strings.HasPrefix(form, "public"):
				want = "a public key cannot sign"
			case !hasPrefix(name, signs):
				want = "does not sign for a person"
			case strings.HasSuffix(form, "DER"), strings.HasSuffix(form, "JWK"):
				want = "must be in PEM"
			}
			switch {
			case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("%s: %v, want %q", form, err, want)
			case want == "" && err != nil:
				t.Errorf("%s: %v", form, err)
			case want == "" && !bytes.Equal(must(keyfile.PublicDER(signer.Public()))(t), spki):
				t.Errorf("%s: another key", form)
			}
			if strings.HasPrefix(form, "encrypted") {
				if _, err := keyfile.ParseSigner(data, nil); !errors.Is(err, keyfile.ErrEncrypted) {
					t.Errorf("%s, without the passphrase: %v", form, err)
				}
			}
		}
	})
}
