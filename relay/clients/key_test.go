package clients

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestKeyOf: the expected bytes are those of an HKDF that was written from RFC 5869 in
// another language.
func TestKeyOf(t *testing.T) {
	k := KeyOf("qrelay_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	if got := hex.EncodeToString(k.ID[:]); got != "efba053cc418e07ee180f667b8fe79e7" {
		t.Errorf("the ID is %s", got)
	}
	if got := hex.EncodeToString(k.MAC[:]); got != "cdb372715b983037d515a1eb1154b24e272cd9285fd7a0f5708b98c79a7be32b" {
		t.Error("the MAC key is another one")
	}
	if text := fmt.Sprintf("%v %+v %x %s", k, &k, k, struct{ K Key }{k}); strings.Contains(strings.ReplaceAll(text, "redacted", ""), "cd") || strings.Contains(text, "205") {
		t.Errorf("it prints %s", text)
	}
}

// TestIdentifyKey: a key finds its client as long as that is in the list and has not
// expired, and only if the request was made with it.
func TestIdentifyKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "clients.json")
		var keys [2]Key
		for i, c := range []Client{{Name: "app"}, {Name: "short", Expires: time.Now().Add(time.Hour)}} {
			token, err := Add(path, c)
			if err != nil {
				t.Fatal(err)
			}
			keys[i] = KeyOf(token)
		}
		if _, err := Add(path, Client{Name: "db", Certificate: "db.example"}); err != nil {
			t.Fatal(err)
		}
		l, err := Open(path, "")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		identify := func(k Key, good bool) (*Member, error) {
			return l.IdentifyKey(k.ID, func(_ *Member, got Key) bool {
				if got != k {
					t.Error("verify got another key")
				}
				return good
			})
		}
		for i, name := range []string{"app", "short"} {
			m, err := identify(keys[i], true)
			if err != nil || m.Name != name {
				t.Errorf("%s: %v, %v", name, m, err)
			}
			if m, err := identify(keys[i], false); !errors.Is(err, ErrNotVerified) || m != nil {
				t.Errorf("%s, not verified: %v, %v", name, m, err)
			}
		}
		if st := l.Status(); !st[0].LastUsed.Equal(time.Now().Truncate(time.Second)) {
			t.Errorf("app was last used at %v", st[0].LastUsed)
		}
		if _, err := identify(KeyOf("nobody's"), true); !errors.Is(err, errUnknown) {
			t.Errorf("an unknown key: %v", err)
		}
		time.Sleep(time.Hour)
		if _, err := identify(keys[1], true); !errors.Is(err, errExpired) {
			t.Errorf("an expired client: %v", err)
		}
		if err := Revoke(path, "app"); err != nil {
			t.Fatal(err)
		}
		if _, err := l.reload(); err != nil {
			t.Fatal(err)
		}
		if _, err := identify(keys[0], true); !errors.Is(err, errUnknown) {
			t.Errorf("a revoked client: %v", err)
		}
	})
}
