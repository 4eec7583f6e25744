package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
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

// TestMountedSecret: Kubernetes renews a mounted Secret by another link, to another
// folder, above the files. The new certificate, list of clients and token are in use then.
func TestMountedSecret(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		at := func(name string) string { return filepath.Join(dir, name) }
		link := func(target, name string) {
			if err := os.Symlink(target, at(name)); err != nil {
				t.Skipf("links cannot be made: %v", err)
			}
		}
		for _, version := range []string{"..1", "..2"} {
			if err := os.Mkdir(at(version), 0o700); err != nil {
				t.Fatal(err)
			}
			name := "version" + version[2:]
			cert, key := pemPair(t, name)
			put(t, at(version+"/tls.crt"), cert)
			put(t, at(version+"/tls.key"), key)
			put(t, at(version+"/token"), name)
			if _, err := clients.Add(at(version+"/clients.json"), clients.Client{Name: name}); err != nil {
				t.Fatal(err)
			}
		}
		link("..1", "..data")
		for _, name := range []string{"tls.crt", "tls.key", "token", "clients.json"} {
			link("..data/"+name, name)
		}
		c, err := LoadCertificate(at("tls.crt"), at("tls.key"))
		if err != nil {
			t.Fatal(err)
		}
		list, err := clients.Open(at("clients.json"), at("usage"))
		if err != nil {
			t.Fatal(err)
		}
		defer list.Close()
		go c.Watch(t.Context(), func(error) {})
		go list.Watch(t.Context(), func(error) {})
		token := qrypt.TokenFromFile(at("token"))
		inUse := func(want string) {
			t.Helper()
			time.Sleep(2 * certificateInterval)
			synctest.Wait()
			pair, err := c.Get(nil)
			if err != nil {
				t.Fatal(err)
			}
			text, err := token(t.Context())
			if pair.Leaf.DNSNames[0] != want || list.Status()[0].Name != want || text != want || err != nil {
				t.Errorf("want %s everywhere: a certificate for %s, a client %s, a token %s, %v", want, pair.Leaf.DNSNames[0], list.Status()[0].Name, text, err)
			}
		}
		inUse("version1")
		link("..2", "..data_tmp")
		if err := os.Rename(at("..data_tmp"), at("..data")); err != nil {
			t.Fatal(err)
		}
		inUse("version2")
	})
}

// loadedCertificate is one that is valid now.
func loadedCertificate(t *testing.T) *Certificate {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	cert, key := pemPair(t, "one.example")
	put(t, certFile, cert)
	put(t, keyFile, key)
	c, err := LoadCertificate(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestExpiredRenewal: a certificate that is not valid now does not replace one that is. Any
// one replaces one that is not valid any more.
func TestExpiredRenewal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := loadedCertificate(t)
		first := c.Expires()
		replace := func(name string) error {
			t.Helper()
			cert, key := pemPair(t, name)
			put(t, c.certFile, cert)
			put(t, c.keyFile, key)
			_, err := c.reload()
			return err
		}
		now := time.Now()
		old, oldKey := pemPair(t, "old.example")
		time.Sleep(50 * time.Minute)
		if err := replace("two.example"); err != nil || !c.Expires().After(first) {
			t.Fatalf("a renewal: %v", err)
		}
		second := c.Expires()
		time.Sleep(20 * time.Minute) // the old one has expired, the second one has not
		put(t, c.certFile, old)
		put(t, c.keyFile, oldKey)
		if _, err := c.reload(); err == nil || !strings.Contains(err.Error(), "expired") || c.Expires() != second {
			t.Errorf("an expired one: %v; in use is one until %v", err, c.Expires())
		}
		if err := c.Check(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if err := c.Check(); err == nil {
			t.Error("it is in use though it has expired, and Check does not say so")
		}
		if _, err := c.reload(); err != nil || c.Expires() != now.Add(time.Hour).Truncate(time.Second).UTC() {
			t.Errorf("in place of one that has expired, too: %v; in use is one until %v", err, c.Expires())
		}
	})
}

func TestLoadCertificate(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadCertificate(filepath.Join(dir, "none"), filepath.Join(dir, "none")); err == nil || !strings.HasPrefix(err.Error(), "relay: ") {
		t.Errorf("%v", err)
	}
}

// TestWatchHangs: Watch reports once that the disk does not give a file, and does not wait for it
// to end.
func TestWatchHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := make(chan struct{})
		var reports []error
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			watch(ctx, func() (bool, error) { <-hangs; return false, nil }, func(err error) { reports = append(reports, err) })
			close(ended)
		}()
		time.Sleep(time.Hour)
		cancel()
		<-ended
		if !slices.Equal(reports, []error{errLate}) {
			t.Errorf("%v", reports)
		}
		close(hangs)
	})
}

// TestClientCARenewal: clients' certificates of a new CA are accepted once its file has
// changed, and those of the old one no longer. A useless file changes nothing.
func TestClientCARenewal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clients.pem")
	text := func(ca *testca.CA) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate.Raw}))
	}
	before, after := testca.New(t), testca.New(t)
	put(t, file, text(before))
	cas, err := LoadClientCAs(file)
	if err != nil {
		t.Fatal(err)
	}
	address, roots, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, len(r.TLS.VerifiedChains))
	}), ServerConfig{ClientCAs: cas})
	// Each client keeps its session tickets: that of a client of the old CA is not enough.
	caches := map[*testca.CA]tls.ClientSessionCache{nil: tls.NewLRUClientSessionCache(0), before: tls.NewLRUClientSessionCache(0), after: tls.NewLRUClientSessionCache(0)}
	ask := func(ca *testca.CA) string {
		var certificates []tls.Certificate
		if ca != nil {
			certificates = append(certificates, ca.Issue(t, "web"))
		}
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
			RootCAs: roots, ServerName: "relay", Certificates: certificates, ClientSessionCache: caches[ca],
		}}}
		res, err := client.Get("https://" + address)
		if err != nil {
			return "refused"
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	want := func(what, old, renewed string) {
		t.Helper()
		if got := [3]string{ask(nil), ask(before), ask(after)}; got != [3]string{"0", old, renewed} {
			t.Errorf("%s: without a certificate, with one of the old CA, of the new one: %q", what, got)
		}
	}
	want("at first", "1", "refused")
	put(t, file, "no certificate")
	if changed, err := cas.reload(); changed || err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("%v, %v", changed, err)
	}
	want("useless", "1", "refused")
	put(t, file, text(after))
	if changed, err := cas.reload(); !changed || err != nil {
		t.Errorf("%v, %v", changed, err)
	}
	want("renewed", "refused", "1")
}

// TestByteOrderMark: what is in PEM behind a byte order mark is read whole.
func TestByteOrderMark(t *testing.T) {
	dir := t.TempDir()
	cert, key := pemPair(t, "one.example")
	put(t, filepath.Join(dir, "cert"), "\ufeff"+cert)
	put(t, filepath.Join(dir, "key"), "\ufeff"+key)
	if _, err := LoadCertificate(filepath.Join(dir, "cert"), filepath.Join(dir, "key")); err != nil {
		t.Error(err)
	}
	first, second := testca.New(t), testca.New(t)
	text := "\ufeff"
	for _, ca := range []*testca.CA{first, second} {
		text += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate.Raw}))
	}
	put(t, filepath.Join(dir, "cas"), text)
	cas, err := LoadClientCAs(filepath.Join(dir, "cas"))
	if err != nil {
		t.Fatal(err)
	}
	want := x509.NewCertPool()
	want.AddCert(first.Certificate)
	want.AddCert(second.Certificate)
	if !cas.current.Load().Equal(want) {
		t.Error("not both CAs are trusted")
	}
}
