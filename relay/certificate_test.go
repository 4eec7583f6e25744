package relay

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pairPEM makes a certificate and its key.
func pairPEM(t *testing.T, serial int64) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "relay"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// TestRenewal: a renewed certificate is taken over, and one that is broken, or
// whose key is not there yet, leaves the old one in use and is told once.
func TestRenewal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		cert1, key1 := pairPEM(t, 1)
		cert2, key2 := pairPEM(t, 2)
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
		serial := func() int64 {
			time.Sleep(2 * certificateInterval)
			synctest.Wait()
			pair, err := c.Get(nil)
			if err != nil {
				t.Fatal(err)
			}
			return pair.Leaf.SerialNumber.Int64()
		}
		put(t, certFile, cert2) // its key comes later
		if got := serial(); got != 1 {
			t.Errorf("certificate %d is in use", got)
		}
		put(t, keyFile, key2)
		if got := serial(); got != 2 {
			t.Errorf("certificate %d is in use", got)
		}
		put(t, keyFile, "no key")
		if got := serial(); got != 2 {
			t.Errorf("certificate %d is in use", got)
		}
		put(t, certFile, cert1)
		put(t, keyFile, key1)
		if got := serial(); got != 1 {
			t.Errorf("certificate %d is in use", got)
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
