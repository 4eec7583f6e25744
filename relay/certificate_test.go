package relay

import (
	"crypto/x509"
	"encoding/pem"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/relay/internal/testca"
)

// pemPair makes a certificate for name, and its key.
func pemPair(t *testing.T, name string) (cert, key string) {
	t.Helper()
	pair := testca.New(t).Issue(t, name)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// TestRenewal: a renewed certificate comes into use. One that is broken, or whose key
// is not there yet, leaves the old one in use and is reported once.
func TestRenewal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		cert1, key1 := pemPair(t, "one.example")
		cert2, key2 := pemPair(t, "two.example")
		put(t, certFile, cert1)
		put(t, keyFile, key1)
		c, err := LoadCertificate(certFile, keyFile)
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		go c.Watch(t.Context(), func(err error) {
			if err != nil {
				told = append(told, err.Error())
				return
			}
			told = append(told, "new")
		})
		name := func() string {
			time.Sleep(2 * certificateInterval)
			synctest.Wait()
			pair, err := c.Get(nil)
			if err != nil {
				t.Fatal(err)
			}
			return pair.Leaf.DNSNames[0]
		}
		put(t, certFile, cert2) // its key comes later
		if got := name(); got != "one.example" {
			t.Errorf("the certificate of %s is in use", got)
		}
		put(t, keyFile, key2)
		if got := name(); got != "two.example" {
			t.Errorf("the certificate of %s is in use", got)
		}
		put(t, keyFile, "no key")
		if got := name(); got != "two.example" {
			t.Errorf("the certificate of %s is in use", got)
		}
		put(t, certFile, cert1)
		put(t, keyFile, key1)
		if got := name(); got != "one.example" {
			t.Errorf("the certificate of %s is in use", got)
		}
		if len(told) != 4 || !strings.Contains(told[0], certFile) || told[1] != "new" || !strings.Contains(told[2], keyFile) || told[3] != "new" {
			t.Errorf("told %q", told)
		}
		if slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, "PRIVATE") }) {
			t.Error("a key was told")
		}
	})
}

func TestLoadCertificate(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadCertificate(filepath.Join(dir, "none"), filepath.Join(dir, "none")); err == nil || !strings.HasPrefix(err.Error(), "relay: ") {
		t.Errorf("%v", err)
	}
}
