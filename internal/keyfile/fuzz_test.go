package keyfile_test

import (
	"bytes"
	"crypto/rand"
	"encoding/pem"
	"strings"
	"testing"

	"example.com/qrand/internal/keyfile"
)

// FuzzParse: Parse does not panic. A key that it reads has a name, and is the same key
// when it is written and read again. Its errors are errors of this package.
func FuzzParse(f *testing.F) {
	for _, k := range testKeys {
		if k.slow || strings.HasPrefix(k.name, "slh-") && k.name != "slh-dsa-sha2-128f" {
			continue
		}
		key := keyNamed(f, k.name)
		public := must(keyfile.Public(key))(f)
		for _, form := range forms {
			if strings.HasPrefix(form.name, "encrypted") {
				continue
			}
			if data, err := form.make(key, public); err == nil {
				f.Add(data)
			}
		}
	}
	for _, name := range []string{"ed25519", "ed448", "ecdsa-p256"} { // short ones
		f.Add(must(keyfile.SelfSigned(keyNamed(f, name), template, rand.Reader))(f))
		f.Add(must(keyfile.Request(keyNamed(f, name), requestTemplate, rand.Reader))(f))
	}
	f.Add(must(keyfile.PrivateSSH(keyNamed(f, "ed25519"), "", passphrase))(f))
	block, _ := pem.Decode(must(keyfile.EncryptedPEM(make([]byte, 48), passphrase, rand.Reader))(f))
	f.Add(block.Bytes)
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := keyfile.Parse(data, nil)
		if err != nil {
			if file != nil || !strings.HasPrefix(err.Error(), "keyfile: ") || strings.Count(err.Error(), "keyfile: ") > 1 || len(err.Error()) > 400 {
				t.Errorf("a file: %v, with the error: %v", file != nil, err)
			}
			return
		}
		if keyfile.Name(file.Public) == "" || file.Kind < keyfile.KindPrivate || file.Kind > keyfile.KindRequest {
			t.Errorf("a %v of %q", file.Kind, keyfile.Name(file.Public))
		}
		if der := must(keyfile.PublicDER(file.Public))(t); !bytes.Equal(der, file.SPKI) {
			t.Error("SPKI is not that of Public")
		}
		for _, again := range [][]byte{file.SPKI, keyfile.PEM(keyfile.KindPublic, file.SPKI)} {
			second := must(keyfile.Parse(again, nil))(t)
			if second.Kind != keyfile.KindPublic || !bytes.Equal(second.SPKI, file.SPKI) {
				t.Errorf("written as a public key it is another %v", second.Kind)
			}
		}
	})
}
