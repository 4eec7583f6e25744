package keyfile_test

import (
	"bytes"
	"crypto/ecdh"
	"encoding/base64"
	"testing"

	"example.com/qrand/internal/keyfile"
	"example.com/qrand/keygen"
)

// TestWireGuard: the private key is clamped as wg genkey clamps it, which changes nothing in
// the public key. lab/recipes asks wg itself.
func TestWireGuard(t *testing.T) {
	seed := bytes.Repeat([]byte{0xff}, 32)
	private := must(keygen.ECDH(ecdh.X25519(), bytes.NewReader(seed)))(t)
	got, public := must(keyfile.PrivateWG(private))(t), must(keyfile.PublicWG(private.PublicKey()))(t)
	seed[0], seed[31] = 0xf8, 0x7f
	if want := base64.StdEncoding.EncodeToString(seed) + "\n"; string(got) != want {
		t.Errorf("%swant\n%s", got, want)
	}
	if private.Bytes()[0] != 0xff {
		t.Error("the key itself was changed")
	}
	for kind, text := range map[keyfile.Kind][]byte{keyfile.KindPrivate: got, keyfile.KindPublic: public} {
		file, err := keyfile.ParseWG(kind, text)
		if err != nil || file.Kind != kind || !bytes.Equal(file.SPKI, must(keyfile.PublicDER(private.PublicKey()))(t)) {
			t.Errorf("%v: not read back: %v", kind, err)
		}
	}
	for _, text := range []string{"", "AAAA\n", string(got[:43]), string(got) + string(got), "!" + string(got[1:])} {
		if _, err := keyfile.ParseWG(keyfile.KindPublic, []byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}
