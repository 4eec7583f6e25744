package keyfile_test

import (
	"bytes"
	"crypto/ecdh"
	"io"
	"strings"
	"testing"

	"filippo.io/age"

	"example.com/qrand/internal/keyfile"
	"example.com/qrand/keygen"
)

// TestAge: age itself takes our identities for what it writes, gets the same recipient of
// them, and decrypts with the one what was encrypted to the other.
func TestAge(t *testing.T) {
	for name, private := range map[string]any{
		"x25519": must(keygen.ECDH(ecdh.X25519(), new(counting)))(t),
		"x-wing": must(keygen.XWing(new(counting)))(t),
	} {
		public := must(keyfile.Public(private))(t)
		identity, recipient := must(keyfile.PrivateAge(private))(t), must(keyfile.PublicAge(public))(t)
		identities := must(age.ParseIdentities(bytes.NewReader(identity)))(t)
		var want string
		switch i := identities[0].(type) {
		case *age.X25519Identity:
			want = i.String() + "\n" + i.Recipient().String() + "\n"
		case *age.HybridIdentity:
			want = i.String() + "\n" + i.Recipient().String() + "\n"
		}
		if got := string(identity) + string(recipient); got != want {
			t.Errorf("%s:\n%sage writes:\n%s", name, got, want)
		}
		var sealed bytes.Buffer
		w := must(age.Encrypt(&sealed, must(age.ParseRecipients(bytes.NewReader(recipient)))(t)...))(t)
		io.WriteString(w, "hello")
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if text := must(io.ReadAll(must(age.Decrypt(&sealed, identities...))(t)))(t); string(text) != "hello" {
			t.Errorf("%s: decrypted to %q", name, text)
		}

		spki := must(keyfile.PublicDER(public))(t)
		commented := "# created: 2026-01-01T00:00:00Z\n# public key: " + string(recipient) + string(identity) // as age-keygen does it
		for what, test := range map[string]struct {
			text string
			kind keyfile.Kind
		}{
			"identity":                  {string(identity), keyfile.KindPrivate},
			"identity after comments":   {commented, keyfile.KindPrivate},
			"recipient without newline": {strings.TrimSpace(string(recipient)), keyfile.KindPublic},
		} {
			file, err := keyfile.Parse([]byte(test.text), nil)
			if err != nil || file.Kind != test.kind || !bytes.Equal(file.SPKI, spki) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		for i := range len(identity) - 1 { // no character can be changed, none left out
			for _, text := range []string{
				string(identity[:i]) + "Q" + string(identity[i+1:]), string(identity[:i]) + "q" + string(identity[i+1:]),
				string(identity[:i]) + string(identity[i+1:]), string(identity[:i]) + "\xff" + string(identity[i+1:]),
			} {
				if text == string(identity) {
					continue
				}
				if _, err := keyfile.Parse([]byte(text), nil); err == nil {
					t.Errorf("%s: read with another character at %d", name, i)
				} else if len(text) > 100 && strings.Contains(err.Error(), text[40:60]) {
					t.Errorf("%s: the error shows the key: %v", name, err)
				}
			}
		}
	}
	for text, want := range map[string]string{
		"age1q":                                "checksum",
		"AGE-PLUGIN-YUBIKEY-1QQPQQQQ":          "type that is not read",
		"age1qqqqqq\nage1qqqqqq":               "more than one",
		"age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq": "checksum",
		"age19l388n":                           "invalid public key", // nothing, with a checksum that is right
		"age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqpfwgqrs": "checksum", // so it is here, but the bits after the last byte are not 0
	} {
		if _, err := keyfile.Parse([]byte(text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
