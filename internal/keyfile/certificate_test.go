package keyfile_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"go/build"
	"io"
	"math/big"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/cloudflare/circl/sign"

	"example.com/qrand/internal/keyfile"
)

// The templates have something in every part of a certificate or request.
var (
	template = &x509.Certificate{
		SerialNumber:          big.NewInt(0x1234567890),
		Subject:               pkix.Name{CommonName: "a test", Organization: []string{"qränd"}, Country: []string{"CH"}},
		NotBefore:             time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		NotAfter:              time.Date(2066, 1, 2, 3, 4, 5, 0, time.UTC), // a GeneralizedTime
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		DNSNames:              []string{"test.example"},
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: "test.example"}},
		SubjectKeyId:          []byte("not the key's"),
		SignatureAlgorithm:    0,
	}
	requestTemplate = &x509.CertificateRequest{
		Subject:         pkix.Name{CommonName: "a test", Organization: []string{"qränd"}},
		DNSNames:        []string{"test.example"},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Value: []byte{5, 0}}},
	}
)

// TestCertificates: crypto/x509 reads a certificate of each signing key. It has the
// content of the template and the identifier of the key, and is signed by the key.
// Parse finds the key in it. If the key is circl's, circl verifies the signature over the
// part that crypto/x509 calls signed. Since Go 1.27 crypto/x509 verifies ML-DSA, too.
func TestCertificates(t *testing.T) {
	forEach(t, thatSign, func(t *testing.T, name string, key any) {
		public := must(keyfile.Public(key))(t)
		spki := must(keyfile.PublicDER(public))(t)
		der := must(keyfile.SelfSigned(key, template, rand.Reader))(t)
		c := must(x509.ParseCertificate(der))(t)

		var info struct {
			Algorithm pkix.AlgorithmIdentifier
			Key       asn1.BitString
		}
		if _, err := asn1.Unmarshal(c.RawSubjectPublicKeyInfo, &info); err != nil {
			t.Fatal(err)
		}
		if id := sha256.Sum256(info.Key.Bytes); !bytes.Equal(c.SubjectKeyId, id[:20]) {
			t.Errorf("subject key identifier %x", c.SubjectKeyId)
		}
		if !bytes.Equal(c.RawSubjectPublicKeyInfo, spki) {
			t.Error("another public key")
		}
		if c.SerialNumber.Cmp(template.SerialNumber) != 0 || c.Subject.String() != template.Subject.String() ||
			c.Issuer.String() != template.Subject.String() || !c.NotBefore.Equal(template.NotBefore) || !c.NotAfter.Equal(template.NotAfter) ||
			c.KeyUsage != template.KeyUsage || !c.IsCA || !reflect.DeepEqual(c.DNSNames, template.DNSNames) || c.URIs[0].String() != "spiffe://test.example" {
			t.Errorf("not what the template says: %+v", c)
		}
		checkSigned(t, key, c.RawTBSCertificate, c.Signature, der, c.CheckSignatureFrom(c))

		file := must(keyfile.Parse(keyfile.PEM(keyfile.KindCertificate, der), nil))(t)
		if file.Kind != keyfile.KindCertificate || !bytes.Equal(file.SPKI, spki) || keyfile.Name(file.Public) != name {
			t.Errorf("Parse says it is a %v of %s", file.Kind, keyfile.Name(file.Public))
		}
	})
	if string(template.SubjectKeyId) != "not the key's" {
		t.Error("the template was changed")
	}
}

// TestRequests: the same for certificate requests. Only TestCertificates tests the slow
// parameter sets of SLH-DSA.
func TestRequests(t *testing.T) {
	forEach(t, thatSign, func(t *testing.T, name string, key any) {
		if strings.HasPrefix(name, "slh-dsa") && strings.HasSuffix(name, "s") {
			t.Skip("its signatures take a second or so, and its certificate has one")
		}
		spki := must(keyfile.PublicDER(must(keyfile.Public(key))(t)))(t)
		der := must(keyfile.Request(key, requestTemplate, rand.Reader))(t)
		r := must(x509.ParseCertificateRequest(der))(t)
		if !bytes.Equal(r.RawSubjectPublicKeyInfo, spki) {
			t.Error("another public key")
		}
		if r.Subject.String() != requestTemplate.Subject.String() || !reflect.DeepEqual(r.DNSNames, requestTemplate.DNSNames) || len(r.Extensions) != 2 {
			t.Errorf("not what the template says: %+v", r)
		}
		checkSigned(t, key, r.RawTBSCertificateRequest, r.Signature, der, r.CheckSignature())
		for _, data := range [][]byte{der, keyfile.PEM(keyfile.KindRequest, der)} {
			file := must(keyfile.Parse(data, nil))(t)
			if file.Kind != keyfile.KindRequest || !bytes.Equal(file.SPKI, spki) || keyfile.Name(file.Public) != name {
				t.Errorf("Parse says it is a %v of %s", file.Kind, keyfile.Name(file.Public))
			}
		}
	})
}

// go127 says that this is Go 1.27 or newer, whose crypto/x509 knows ML-DSA.
var go127 = slices.Contains(build.Default.ReleaseTags, "go1.27")

// checkSigned checks the signature over tbs in whole, and that it names the algorithm
// of the key.
func checkSigned(t *testing.T, key any, tbs, signature, whole []byte, checked error) {
	t.Helper()
	k, ok := key.(sign.PrivateKey)
	if !ok {
		if checked != nil {
			t.Error(checked)
		}
		return
	}
	if verifies := go127 && strings.HasPrefix(keyfile.Name(key), "ml-dsa-"); verifies != (checked == nil) {
		t.Errorf("crypto/x509: %v", checked)
	}
	public := k.Public().(sign.PublicKey)
	if !k.Scheme().Verify(public, tbs, signature, nil) {
		t.Error("the signature does not verify")
	}
	if k.Scheme().Verify(public, append(bytes.Clone(tbs), 0), signature, nil) {
		t.Error("the signature verifies for something else")
	}
	// RFC 8410, 9881 and 9909: the same OID for the key and its signatures, and no
	// parameters. A certificate has it twice.
	var info struct{ Algorithm asn1.RawValue }
	if _, err := asn1.Unmarshal(must(keyfile.PublicDER(k.Public()))(t), &info); err != nil {
		t.Fatal(err)
	}
	want := 2 // the SPKI and the outer one
	if !bytes.Contains(tbs[:40], []byte{0x02, 0x01, 0x00, 0x30}) {
		want = 3
	}
	if n := bytes.Count(whole, info.Algorithm.FullBytes); n != want {
		t.Errorf("its AlgorithmIdentifier is there %d times, want %d", n, want)
	}
}

// TestTemplates: if a template is a certificate for another key, its key and
// identifier are not copied. The algorithm of its signature is copied only for RSA:
// the other keys have only one.
func TestTemplates(t *testing.T) {
	other := *template
	other.PublicKey = must(keyfile.Public(keyNamed(t, "ecdsa-p256")))(t)
	for _, name := range []string{"ed25519", "ed448", "ml-dsa-44"} {
		if name != "ed25519" {
			other.SignatureAlgorithm = x509.ECDSAWithSHA256
		}
		key := keyNamed(t, name)
		file := must(keyfile.Parse(must(keyfile.SelfSigned(key, &other, rand.Reader))(t), nil))(t)
		if keyfile.Name(file.Public) != name {
			t.Errorf("a certificate of %s", keyfile.Name(file.Public))
		}
		request := *requestTemplate
		request.SignatureAlgorithm = other.SignatureAlgorithm
		must(keyfile.Request(key, &request, rand.Reader))(t)
	}
	pss := *template
	pss.SignatureAlgorithm = x509.SHA256WithRSAPSS
	var c counter
	der := must(keyfile.SelfSigned(keyNamed(t, "rsa-2048"), &pss, &c))(t)
	if got := must(x509.ParseCertificate(der))(t); got.SignatureAlgorithm != x509.SHA256WithRSAPSS || c.n != 32 {
		t.Errorf("signed with %v, which took %d bytes, want 32", got.SignatureAlgorithm, c.n)
	}
}

// TestNoSignature: for keys that do not sign, the error says so and what to do.
func TestNoSignature(t *testing.T) {
	forEach(t, []string{"ecdh", "x", "ml-kem"}, func(t *testing.T, name string, key any) {
		_, err1 := keyfile.SelfSigned(key, template, rand.Reader)
		_, err2 := keyfile.Request(key, requestTemplate, rand.Reader)
		for _, err := range []error{err1, err2} {
			if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "ask a CA for a certificate") {
				t.Error(err)
			}
		}
	})
}

// counter counts the bytes that are read from crypto/rand.
type counter struct{ n int }

func (c *counter) Read(p []byte) (int, error) {
	c.n += len(p)
	return rand.Read(p)
}

// TestSignatureRandomness: a certificate takes as many bytes from the reader as the
// comment of SelfSigned says. A reader that fails or is nil yields an error.
func TestSignatureRandomness(t *testing.T) {
	want := map[string]int{"slh-dsa-sha2-128f": 16, "slh-dsa-sha2-192f": 24, "slh-dsa-sha2-256f": 32, "ml-dsa-65": 0, "ed448": 0, "ed25519": 0}
	for name, n := range want {
		key := keyNamed(t, name)
		var c counter
		must(keyfile.SelfSigned(key, template, &c))(t)
		if c.n != n {
			t.Errorf("%s: took %d bytes, want %d", name, c.n, n)
		}
		without := *template
		without.SerialNumber = nil
		c.n = 0
		must(keyfile.SelfSigned(key, &without, &c))(t)
		if c.n != n+20 {
			t.Errorf("%s, with a serial number: took %d bytes, want %d", name, c.n, n+20)
		}
		c.n = 0
		must(keyfile.Request(key, requestTemplate, &c))(t)
		if c.n != n {
			t.Errorf("%s, a request: took %d bytes, want %d", name, c.n, n)
		}
		for _, broken := range []io.Reader{nil, iotest.ErrReader(errBroken)} {
			_, err := keyfile.SelfSigned(key, template, broken)
			if (n > 0 || broken == nil) && (err == nil || broken != nil && !errors.Is(err, errBroken)) {
				t.Errorf("%s, from a broken reader: %v", name, err)
			}
		}
	}
	// Two signatures of a hedged algorithm differ.
	for _, name := range []string{"ml-dsa-44", "ml-dsa-65", "ml-dsa-87", "slh-dsa-sha2-128f"} {
		a := must(keyfile.SelfSigned(keyNamed(t, name), template, rand.Reader))(t)
		b := must(keyfile.SelfSigned(keyNamed(t, name), template, rand.Reader))(t)
		if bytes.Equal(a, b) {
			t.Errorf("%s: the same signature twice", name)
		}
	}
}

var errBroken = errors.New("the reader broke")
