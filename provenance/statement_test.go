package provenance_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/slhdsa"

	"example.com/qrand"
	"example.com/qrand/internal/keyfile"
	"example.com/qrand/keygen"
	"example.com/qrand/provenance"
	"example.com/qrand/qrypt"
)

// made has private keys for all kinds of algorithms, made when a test first needs them.
var made = map[string]func() any{
	"alice":              lazy(keygen.Ed25519),
	"bob":                lazy(on(keygen.ECDSA, elliptic.P256())),
	"mallory":            lazy(keygen.Ed25519),
	"ed25519":            lazy(keygen.Ed25519),
	"ed448":              lazy(keygen.Ed448),
	"ecdsa-p224":         lazy(on(keygen.ECDSA, elliptic.P224())),
	"ecdsa-p256":         lazy(on(keygen.ECDSA, elliptic.P256())),
	"ecdsa-p384":         lazy(on(keygen.ECDSA, elliptic.P384())),
	"ecdsa-p521":         lazy(on(keygen.ECDSA, elliptic.P521())),
	"rsa-2048":           lazy(on(keygen.RSA, 2048)),
	"ml-dsa-44":          lazy(keygen.MLDSA44),
	"ml-dsa-65":          lazy(keygen.MLDSA65),
	"ml-dsa-87":          lazy(keygen.MLDSA87),
	"slh-dsa-sha2-128f":  lazy(on(keygen.SLHDSA, slhdsa.SHA2_128f)),
	"slh-dsa-shake-256f": lazy(on(keygen.SLHDSA, slhdsa.SHAKE_256f)), // the largest signatures
	"x25519":             lazy(on(keygen.ECDH, ecdh.X25519())),
	"ecdh-p256":          lazy(on(keygen.ECDH, ecdh.P256())),
	"ml-kem-768":         lazy(keygen.MLKEM768),
	"x-wing":             lazy(keygen.XWing),
}

func lazy[K any](make func(io.Reader) (K, error)) func() any {
	return sync.OnceValue(func() any {
		key, err := make(rand.Reader)
		if err != nil {
			panic(err)
		}
		return key
	})
}

func on[P, K any](f func(P, io.Reader) (K, error), p P) func(io.Reader) (K, error) {
	return func(r io.Reader) (K, error) { return f(p, r) }
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func spki(name string) []byte { return must(keyfile.PublicDER(must(keyfile.Public(made[name]())))) }

func signer(name string) provenance.Signer {
	return must(provenance.NewSigner(made[name]().(crypto.Signer)))
}

func trusted(names ...string) (keys []provenance.TrustedKey) {
	for _, name := range names {
		keys = append(keys, provenance.TrustedKey{Name: name, PublicKey: base64.StdEncoding.EncodeToString(spki(name))})
	}
	return keys
}

var keyMade = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// statement is one about a key, which signs if it can.
func statement(key string) provenance.Statement {
	_, signs := made[key]().(crypto.Signer)
	s := provenance.Statement{
		Record: provenance.Record{
			Version: provenance.Version, Algorithm: key, PublicKey: provenance.Digest(spki(key)), Time: keyMade, Bytes: 32, Entropy: provenance.Quantum,
			State: qrand.Seeded, Mix: qrand.MixXOR, Policy: qrand.Augment,
			Blocks: 1, Fingerprints: []string{"01234567:0123456789abcdef0123456789abcdef"},
			LastBlock: keyMade.Add(-time.Second), LastReceived: keyMade.Add(-2 * time.Second), AgeSeconds: 2, Endpoint: qrypt.EndpointEUS,
			Software: "example.com/qrand v0.1.0 <test>", GoVersion: "go1.26.0",
		},
		SelfSigned: signs,
	}
	return s
}

// fullStatement is one with all that there can be.
func fullStatement(key string) provenance.Statement {
	s := statement(key)
	s.Record.Certificate = &provenance.Certificate{Kind: "request", SHA256: provenance.Digest([]byte("request")), Bytes: 32}
	s.Ceremony = &provenance.Ceremony{ID: "2026-1", Place: "Genève", ScriptSHA256: provenance.Digest(nil), Operators: []provenance.Operator{
		{Name: "A", KeyID: provenance.Digest(spki("alice"))}, {Name: "B", KeyID: provenance.Digest(spki("bob"))}}, Witnesses: []string{"W"}}
	s.Record.Policy, s.Record.MaxAgeSeconds = qrand.RequireFresh, 600
	s.Record.EndpointCertificate, s.Record.EndpointPublicKey = provenance.Digest([]byte("certificate")), provenance.Digest([]byte("key"))
	s.After = "log.example\n1\nhash\n\n— log.example AAAA\n"
	s.Receipts = []provenance.Envelope{{PayloadType: "a", Payload: []byte{1}, Signatures: []provenance.Signature{{KeyID: provenance.Digest(nil), Sig: []byte{1}}}}}
	return s
}

// signed signs a statement with the keys named, and its own.
func signed(t *testing.T, s provenance.Statement, names ...string) provenance.Envelope {
	t.Helper()
	var signers []provenance.Signer
	for _, name := range names {
		signers = append(signers, signer(name))
	}
	if s.SelfSigned && !slices.Contains(names, s.Record.Algorithm) {
		signers = append(signers, signer(s.Record.Algorithm))
	}
	e, err := s.Sign(t.Context(), signers...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestEveryKey: each kind of key gets a statement, and each that can sign signs it itself.
// What comes back from the file is what was written, and another JSON parser finds the
// subjects where in-toto wants them.
func TestEveryKey(t *testing.T) {
	trust := provenance.Trust{Signers: trusted("alice", "bob"), Threshold: 1}
	for key := range maps.Keys(made) {
		if key == "alice" || key == "bob" || key == "mallory" {
			continue
		}
		t.Run(key, func(t *testing.T) {
			s := fullStatement(key)
			file := must(signed(t, s, "alice").Encode())
			e, err := provenance.ParseEnvelope(file)
			if err != nil {
				t.Fatal(err)
			}
			r, err := trust.Verify(provenance.Evidence{Envelope: e, PublicKey: spki(key), Certificate: []byte("request")}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			got, _ := json.Marshal(r.Statement)
			if want, _ := json.Marshal(s); !bytes.Equal(got, want) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			wantFinding(t, r, provenance.Follows, "it is signed by 1 of 2 signers, and 1 must have signed; not by bob")
			wantFinding(t, r, provenance.Follows, `its operator "A" signed, with the key of alice`)
			wantFinding(t, r, provenance.Open, `its operator "B" did not sign`)
			wantFinding(t, r, provenance.Follows, "about this request")
			wantFinding(t, r, provenance.Open, "1 receipts of relays were not verified")
			if s.SelfSigned {
				wantFinding(t, r, provenance.Follows, "the key itself signed it")
			} else {
				wantFinding(t, r, provenance.Open, "a key for "+key+" cannot sign: the signers state who has the private key")
			}
			var payload map[string]any
			if err := json.Unmarshal(e.Payload, &payload); err != nil {
				t.Fatal(err)
			}
			subjects, _ := json.Marshal(payload["subject"])
			want := fmt.Sprintf(`[{"digest":{"sha256":"%x"},"name":"%s"},{"digest":{"sha256":"%x"},"name":"request"}]`, sha256.Sum256(spki(key)), key, sha256.Sum256([]byte("request")))
			if string(subjects) != want || payload["_type"] != "https://in-toto.io/Statement/v1" || payload["predicateType"] != "https://example.com/qrand/key-provenance/v1" {
				t.Errorf("the payload is %s", e.Payload)
			}
		})
	}
}

func wantFinding(t *testing.T, r provenance.Report, v provenance.Verdict, text string) {
	t.Helper()
	if !slices.ContainsFunc(r.Findings, func(f provenance.Finding) bool { return f.Verdict == v && strings.Contains(f.Text, text) }) {
		t.Errorf("no line %q that %s in %+v", text, v, r.Findings)
	}
}

// TestSigners: a person may have a key of each kind that is documented, in PEM or in base64,
// and no signature of it passes for another's.
func TestSigners(t *testing.T) {
	for _, kind := range []string{"ed25519", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87"} {
		t.Run(kind, func(t *testing.T) {
			e := signed(t, statement("x-wing"), kind)
			trust := provenance.Trust{Signers: []provenance.TrustedKey{{Name: "P", PublicKey: string(keyfile.PEM(keyfile.KindPublic, spki(kind)))}}, Threshold: 1}
			r, err := trust.Verify(provenance.Evidence{Envelope: e, PublicKey: spki("x-wing")}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			wantFinding(t, r, provenance.Follows, "P signed it, with a key for "+kind)
			sig := e.Signatures[0].Sig
			pae := provenance.PAE(e.PayloadType, e.Payload)
			if again := must(signer(kind).Sign(t.Context(), pae)); bytes.Equal(again, sig) != (kind == "ed25519") { // RFC 8032; the others are randomized
				t.Errorf("two signatures of one message: equal is %v", bytes.Equal(again, sig))
			}
			other := must(signer(kind).Sign(t.Context(), append(pae, ' ')))
			for _, bad := range [][]byte{sig[:len(sig)-1], append(bytes.Clone(sig), 0), make([]byte, len(sig)), {0}, other} {
				e.Signatures[0].Sig = bad
				if _, err := trust.Verify(provenance.Evidence{Envelope: e, PublicKey: spki("x-wing")}, time.Now()); err == nil || !strings.Contains(err.Error(), "P, "+e.Signatures[0].KeyID+", is wrong") {
					t.Errorf("a signature of %d bytes: %v", len(bad), err)
				}
			}
		})
	}
	for kind, want := range map[string]string{"ecdsa-p224": "is for ecdsa-p224: it must be for rsa, ed25519", "ed448": "is for ed448", "slh-dsa-sha2-128f": "is for slh-dsa", "ml-kem-768": "is for ml-kem-768"} {
		trust := provenance.Trust{Signers: trusted(kind), Threshold: 1}
		if _, err := trust.Verify(provenance.Evidence{}, time.Now()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for bits, want := range map[int]string{2047: "an RSA key of 2047 bits: it must have 2048 to 16384", 2048: "", 16384: "", 16385: "an RSA key of 16385 bits"} {
		n := new(big.Int).SetBit(big.NewInt(1), bits-1, 1)
		key := base64.StdEncoding.EncodeToString(must(x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n, E: 65537})))
		trust := provenance.Trust{Signers: []provenance.TrustedKey{{Name: "a", PublicKey: key}}, Threshold: 1}
		_, err := trust.Verify(provenance.Evidence{Envelope: signed(t, statement("x-wing"), "alice"), PublicKey: spki("x-wing")}, time.Now())
		if got := strings.Contains(err.Error(), "an RSA key"); got != (want != "") || !strings.Contains(err.Error(), want) {
			t.Errorf("%d bits: %v, want %q", bits, err, want)
		}
	}
	for want, public := range map[string]crypto.PublicKey{
		"a key of type provenance_test.stub signs no statement": "none",
		"a key for x25519 signs no statement":                   made["x25519"]().(*ecdh.PrivateKey).PublicKey(),
		"an RSA key of 1024 bits":                               &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537},
	} {
		if s, err := provenance.NewSigner(stub{public: public}); err == nil || !strings.Contains(err.Error(), want) || s != nil {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for _, kind := range []string{"x25519", "ecdh-p256", "ml-kem-768", "x-wing"} {
		if _, ok := made[kind]().(crypto.Signer); ok {
			t.Errorf("a key for %s says that it signs", kind)
		}
	}
}

// A stub is a crypto.Signer of any public key.
type stub struct {
	crypto.Signer
	public crypto.PublicKey
}

func (s stub) Public() crypto.PublicKey { return s.public }

// TestReport: all that a report says of a statement, in its order and its words.
func TestReport(t *testing.T) {
	trust := provenance.Trust{Signers: trusted("alice", "bob"), Threshold: 1}
	s := fullStatement("ed25519")
	r, err := trust.Verify(provenance.Evidence{Envelope: signed(t, s, "alice"), PublicKey: spki("ed25519")}, keyMade)
	if err != nil {
		t.Fatal(err)
	}
	id := func(name string) string { return provenance.Digest(spki(name)) }
	want := `key follows the statement is about this key for ed25519, whose SHA-256 is ` + id("ed25519") + `
certificate open a request was made with the key, and it was not compared: its SHA-256 is ` + provenance.Digest([]byte("request")) + `
signer follows alice signed it, with a key for ed25519, keyid ` + id("alice") + `
threshold follows it is signed by 1 of 2 signers, and 1 must have signed; not by bob
possession follows the key itself signed it: whoever made the statement had the private key
ceremony open it was made in the ceremony "2026-1", by the signers' word
operator follows its operator "A" signed, with the key of alice
operator open its operator "B" did not sign, or is no signer that counts: keyid ` + id("bob") + `
entropy open that the entropy was quantum is the word of the service at "https://api-eus.qrypt.com"
endpoint follows the last block came from "https://api-eus.qrypt.com", which is trusted
time open it was made at 2026-03-01T12:00:00Z, by the signers' word
receipts open 1 receipts of relays were not verified: no relay's key is given
log open nothing shows when the statement was made, nor that there is no other one: no log is given
`
	if got := lines(r); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	s = statement("ed25519")
	s.SelfSigned = false
	s.Record.Entropy, s.Record.Blocks, s.Record.Fingerprints, s.Record.AgeSeconds, s.Record.Endpoint = provenance.OSOnly, 0, nil, 0, ""
	s.Record.LastBlock, s.Record.LastReceived = time.Time{}, time.Time{}
	if r, err = trust.Verify(provenance.Evidence{Envelope: signed(t, s, "alice", "bob"), PublicKey: spki("ed25519")}, keyMade); err != nil {
		t.Fatal(err)
	}
	wantFinding(t, r, provenance.Follows, "it is signed by 2 of 2 signers, and 1 must have signed")
	s.Record.Version, s.Record.Time = 1, keyMade.In(time.FixedZone("", 3600)) // one encoding of a time is written
	if r, err = trust.Verify(provenance.Evidence{Envelope: signed(t, s, "alice", "bob"), PublicKey: spki("ed25519")}, keyMade); err != nil {
		t.Fatal(err)
	}
	want = `possession open the key itself did not sign it: the signers state who has the private key
entropy open no block was in the key: it is as good as crypto/rand, and no better
time open it was made at 2026-03-01T12:00:00Z, by the signers' word
record open the record has version 1: it does not say which TLS certificate the endpoint had, nor how old RequireFresh let a block be
log open nothing shows when the statement was made, nor that there is no other one: no log is given
`
	if got := lines(r); !strings.HasSuffix(got, "1 must have signed\n"+want) {
		t.Errorf("got\n%s\nwant at the end\n%s", got, want)
	}
}

// TestRehearsal: a report never says that a key of a rehearsal is more than that.
func TestRehearsal(t *testing.T) {
	s := statement("ed25519")
	s.Record.Entropy, s.Record.Endpoint = provenance.Emulated, "http://127.0.0.1:1"
	trust := provenance.Trust{Signers: trusted("alice"), Threshold: 1, Emulated: true}
	r, err := trust.Verify(provenance.Evidence{Envelope: signed(t, s, "alice"), PublicKey: spki("ed25519")}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	wantFinding(t, r, provenance.Open, "the entropy was EMULATED, not quantum: the key is for rehearsals only")
	if got := lines(r); strings.Contains(got, "endpoint") || strings.Contains(got, "was quantum") {
		t.Error(got)
	}
}

func lines(r provenance.Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintln(&b, f.About, f.Verdict, f.Text)
	}
	return b.String()
}

// TestRefused: what was changed is refused, with the cause.
func TestRefused(t *testing.T) {
	const key = "ecdsa-p384"
	id := func(name string) string { return provenance.Digest(spki(name)) }
	type all struct {
		s           provenance.Statement // signed by alice and itself
		e           provenance.Envelope
		trust       provenance.Trust
		key         string
		certificate []byte
		now         time.Time
	}
	without := func(e *provenance.Envelope, name string) {
		e.Signatures = slices.DeleteFunc(e.Signatures, func(s provenance.Signature) bool { return s.KeyID == id(name) })
	}
	for _, test := range []struct {
		name   string
		before func(*all) // before it is signed
		after  func(*all)
		want   string
	}{
		{"nothing", nil, nil, ""},
		{"a stranger's signature", nil, func(a *all) { without(&a.e, "alice"); a.e = must(a.e.Add(t.Context(), signer("mallory"))) }, "it is signed by 0 of 1 signers, and 1 must have signed; not by alice"},
		{"a known keyid on a stranger's signature", nil, func(a *all) {
			for i, s := range a.e.Signatures {
				if s.KeyID == id("alice") {
					a.e.Signatures[i].Sig = must(signer("mallory").Sign(t.Context(), provenance.PAE(a.e.PayloadType, a.e.Payload)))
				}
			}
		}, "the signature with the keyid of alice, " + id("alice") + ", is wrong"},
		{"a wrong signature beside enough good ones", nil, func(a *all) {
			a.trust.Signers = trusted("alice", "bob")
			a.e.Signatures = append(a.e.Signatures, provenance.Signature{KeyID: id("bob"), Sig: []byte{0x30, 0}})
			sortSignatures(a.e)
		}, "the keyid of bob, " + id("bob") + ", is wrong"},
		{"a signature of another statement", nil, func(a *all) {
			a.s.Record.Bytes++
			a.e.Signatures = signed(t, a.s, "alice").Signatures
		}, "is wrong"},
		{"another payload type", nil, func(a *all) { a.e.PayloadType = "application/json" }, `the envelope has a payload of type "application/json", and no statement`},
		{"beside another key", nil, func(a *all) { a.key = "ecdsa-p256" }, "the record is that of another key"},
		{"beside no key", nil, func(a *all) { a.key = "" }, "the key: not a public key"},
		{"the self-signature removed", nil, func(a *all) { without(&a.e, key) }, "the key itself must have signed it, and there is no good signature of that key"},
		{"a self-signature by another key", nil, func(a *all) {
			for i, s := range a.e.Signatures {
				if s.KeyID == id(key) {
					a.e.Signatures[i].Sig = must(signer("ecdsa-p256").Sign(t.Context(), provenance.PAE(a.e.PayloadType, a.e.Payload)))
				}
			}
		}, "the signature with the keyid of the key itself, " + id(key) + ", is wrong"},
		{"the self-signature does not count", nil, func(a *all) { without(&a.e, "alice") }, "it is signed by 0 of 1 signers"},
		{"a self-signature that the statement denies", func(a *all) { a.s.SelfSigned = false }, func(a *all) {
			sig := must(signer(key).Sign(t.Context(), provenance.PAE(a.e.PayloadType, a.e.Payload)))
			a.e.Signatures = append(a.e.Signatures, provenance.Signature{KeyID: id(key), Sig: sig})
			sortSignatures(a.e)
		}, "the statement says that its own key did not sign it"},
		{"a self-signature of a key that cannot sign", func(a *all) { a.s = statement("x-wing"); a.key = "x-wing" }, func(a *all) {
			a.e.Payload = bytes.Replace(a.e.Payload, []byte(`"self_signed":false`), []byte(`"self_signed":true`), 1)
			pae := provenance.PAE(a.e.PayloadType, a.e.Payload)
			a.e.Signatures = []provenance.Signature{{KeyID: id("x-wing"), Sig: []byte{0}}, {KeyID: id("alice"), Sig: must(signer("alice").Sign(t.Context(), pae))}}
			sortSignatures(a.e)
		}, "the signature of the statement's own key cannot be verified with the key that was given"},
		{"a signature twice", nil, func(a *all) { a.e.Signatures = append(a.e.Signatures, a.e.Signatures[1]) }, "the envelope: the keyid"},
		{"1 of 2 signers", nil, func(a *all) { a.trust = provenance.Trust{Signers: trusted("alice", "bob"), Threshold: 2} }, "it is signed by 1 of 2 signers, and 2 must have signed; not by bob"},
		{"one person's two keys", nil, func(a *all) {
			a.e = must(a.e.Add(t.Context(), signer("bob")))
			a.trust = provenance.Trust{Signers: trusted("alice", "bob", "mallory"), Threshold: 2}
			a.trust.Signers[1].Name = "alice"
		}, "it is signed by 1 of 2 signers, and 2 must have signed; not by mallory"},
		{"another algorithm", func(a *all) { a.s.Record.Algorithm = "ml-dsa-65" }, nil, "it is a key for ecdsa-p384, but the statement says \"ml-dsa-65\""},
		{"an endpoint that is not trusted", func(a *all) { a.s.Record.Endpoint = "https://blocks.example" }, nil, `the block came from "https://blocks.example", which is not trusted: only https://api-eus.qrypt.com, https://api-weu.qrypt.com`},
		{"the service, which is not trusted", nil, func(a *all) { a.trust.Endpoints = []string{"https://blocks.example"} }, `"https://api-eus.qrypt.com", which is not trusted: only https://blocks.example`},
		{"plain HTTP", func(a *all) { a.s.Record.Endpoint = "http://127.0.0.1:1" }, nil, "not over HTTPS"},
		{"plain HTTP, said to be trusted", func(a *all) { a.s.Record.Endpoint = "http://127.0.0.1:1" }, func(a *all) { a.trust.Endpoints = []string{"http://127.0.0.1:1"} }, "endpoint 1 of 1 is not the base URL"},
		{"emulated", func(a *all) { a.s.Record.Entropy = provenance.Emulated }, nil, "the entropy was EMULATED, not quantum"},
		{"emulated, in a rehearsal", func(a *all) { a.s.Record.Entropy, a.s.Record.Endpoint = provenance.Emulated, "http://127.0.0.1:1" }, func(a *all) { a.trust.Emulated = true }, ""},
		{"a key of the future", nil, func(a *all) { a.now = keyMade.Add(-5*time.Minute - time.Second) }, "the record's time is 2026-03-01T12:00:00Z, and now it is 2026-03-01T11:54:59Z"},
		{"a clock that is a little behind", nil, func(a *all) { a.now = keyMade.Add(-5 * time.Minute) }, ""},
		{"a certificate that it does not name", nil, func(a *all) { a.certificate = []byte("x") }, "the statement is about no certificate"},
		{"another certificate", func(a *all) {
			a.s.Record.Certificate = &provenance.Certificate{Kind: "certificate", SHA256: provenance.Digest([]byte("y"))}
		}, func(a *all) { a.certificate = []byte("x") }, "it is another certificate than the one made with the key"},
		{"receipts are wanted", nil, func(a *all) { a.trust.Receipts = relays("bob") }, "no receipt of a trusted relay is for the block 01234567:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := all{s: statement(key), trust: provenance.Trust{Signers: trusted("alice"), Threshold: 1}, key: key, now: time.Now()}
			if test.before != nil {
				test.before(&a)
			}
			signers := []provenance.Signer{signer("alice")}
			if a.s.SelfSigned {
				signers = append(signers, signer(key))
			}
			a.e = must(a.s.Sign(t.Context(), signers...))
			if test.after != nil {
				test.after(&a)
			}
			var given []byte
			if a.key != "" {
				given = spki(a.key)
			}
			r, err := a.trust.Verify(provenance.Evidence{Envelope: a.e, PublicKey: given, Certificate: a.certificate}, a.now)
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "provenance: ") {
				t.Errorf("%v, want %q", err, test.want)
			}
			refused := slices.ContainsFunc(r.Findings, func(f provenance.Finding) bool { return f.Verdict == "refused" })
			if len(r.Findings) > 0 && refused != (err != nil) {
				t.Errorf("%v, and the report says %+v", err, r.Findings)
			}
		})
	}
}

func sortSignatures(e provenance.Envelope) {
	slices.SortFunc(e.Signatures, func(x, y provenance.Signature) int { return strings.Compare(x.KeyID, y.KeyID) })
}

// TestOwnKeyCounts: a key that signs for itself counts if it is also a signer's, and a
// signature by an unknown key is told.
func TestOwnKeyCounts(t *testing.T) {
	e := signed(t, statement("ed25519"), "mallory")
	trust := provenance.Trust{Signers: trusted("ed25519"), Threshold: 1}
	r, err := trust.Verify(provenance.Evidence{Envelope: e, PublicKey: spki("ed25519")}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	wantFinding(t, r, provenance.Follows, "ed25519 signed it, with a key for ed25519")
	wantFinding(t, r, provenance.Follows, "signed by 1 of 1")
	wantFinding(t, r, provenance.Follows, "the key itself signed it")
	wantFinding(t, r, provenance.Open, "an unknown key with keyid "+provenance.Digest(spki("mallory")))
}

// TestPayloads: of all texts that say the same, or nearly, one is read, even if the signers
// signed another.
func TestPayloads(t *testing.T) {
	const key = "ed25519"
	trust := provenance.Trust{Signers: trusted("alice"), Threshold: 1}
	s := statement(key)
	s.Ceremony = &provenance.Ceremony{ID: "1", Place: "P"}
	good := string(signed(t, s, "alice").Payload)
	sum := provenance.Digest(spki(key))
	for name, change := range map[string]struct{ old, new, want string }{
		"nothing":             {"{", "{", ""},
		"member twice":        {`"entropy":"quantum"`, `"entropy":"crypto/rand","entropy":"quantum"`, fmt.Sprintf(`not as qrand writes it: from byte %d on it is "crypto/rand\",`, strings.Index(good, "quantum\""))},
		"other case":          {`"entropy":"quantum"`, `"ENTROPY":"quantum"`, "not as qrand writes it"},
		"twice in other case": {`"entropy":"quantum"`, `"entropy":"quantum","Entropy":"quantum"`, "not as qrand writes it"},
		"unknown member":      {`"self_signed":true`, `"self_signed":true,"logged":true`, `unknown field "logged"`},
		"unknown subject":     {`"digest":{`, `"uri":"x","digest":{`, `unknown field "uri"`},
		"a byte behind":       {`"self_signed":true}}`, `"self_signed":true}} `, "not as qrand writes it"},
		"an object behind":    {`"self_signed":true}}`, `"self_signed":true}}{}`, "not as qrand writes it"},
		"a space":             {`"predicateType":`, `"predicateType": `, "not as qrand writes it"},
		"an escape":           {`"quantum"`, `"quantu\u006d"`, "not as qrand writes it"},
		"no escape":           {`\u003c`, `<`, "not as qrand writes it"},
		"null":                {`"ceremony":{"id":"1","place":"P"},`, `"ceremony":null,`, "not as qrand writes it"},
		"an empty list":       {`"place":"P"`, `"place":"P","operators":[]`, "not as qrand writes it"},
		"a time zone":         {`"time":"2026-03-01T12:00:00Z"`, `"time":"2026-03-01T13:00:00+01:00"`, "not as qrand writes it"},
		"another number":      {`"bytes":32`, `"bytes":3.2e1`, `"predicate.record.bytes" cannot be a JSON number 3.2e1`},
		"another order":       {`"_type":"https://in-toto.io/Statement/v1","subject"`, `"subject"`, "of type \"\""},
		"another type":        {`in-toto.io/Statement/v1`, `in-toto.io/Statement/v0.1`, "it is of type \"https://in-toto.io/Statement/v0.1\""},
		"another predicate":   {`key-provenance/v1`, `key-provenance/v2`, "/key-provenance/v2\", not"},
		"another subject":     {sum, strings.Repeat("0", 64), "not as qrand writes it"},
		"a third subject":     {`"subject":[`, `"subject":[{"name":"x","digest":{"sha256":"` + sum + `"}},`, "not as qrand writes it"},
		"another version":     {`"version":2`, `"version":9`, "its record: the record contradicts itself: unknown version 9"},
		"a bad record":        {`"entropy":"quantum"`, `"entropy":"certain"`, `unknown entropy "certain"`},
		"a newer block":       {`"last_block":"2026-03-01T11:59:59Z"`, `"last_block":"2026-03-01T12:00:01Z"`, "after the key was made"},
		"too old a block":     {`"policy":"Augment"`, `"policy":"RequireFresh","max_age_seconds":1`, "the last block was 2 seconds old, and RequireFresh allowed 1"},
		"an older block":      {`"blocks":1`, `"blocks":0`, "its record: the record contradicts itself"},
		"no ceremony's id":    {`"id":"1"`, `"id":""`, "its ceremony: it has no id"},
		"two lines":           {`"place":"P"`, `"place":"P\nentropy quantum"`, "is not text of one line"},
		"a control in after":  {`"self_signed"`, `"after":"\u001b[2K","self_signed"`, "after is not the text of a checkpoint"},
	} {
		if !strings.Contains(good, change.old) {
			t.Fatalf("%s: no %s in %s", name, change.old, good)
		}
		e := provenance.Envelope{PayloadType: "application/vnd.in-toto+json", Payload: []byte(strings.Replace(good, change.old, change.new, 1))}
		for _, who := range []string{"alice", key} {
			sig := must(signer(who).Sign(t.Context(), provenance.PAE(e.PayloadType, e.Payload)))
			e.Signatures = append(e.Signatures, provenance.Signature{KeyID: provenance.Digest(spki(who)), Sig: sig})
		}
		sortSignatures(e)
		_, err := trust.Verify(provenance.Evidence{Envelope: e, PublicKey: spki(key)}, time.Now())
		if change.want == "" && err != nil || change.want != "" && (err == nil || !strings.Contains(err.Error(), change.want)) {
			t.Errorf("%s: %v, want %q", name, err, change.want)
		}
	}
}

// TestEnvelopes: one encoding of an envelope is read.
func TestEnvelopes(t *testing.T) {
	e := signed(t, statement("ed25519"), "alice")
	good := string(must(e.Encode()))
	first, second := e.Signatures[0], e.Signatures[1]
	text := func(s ...provenance.Signature) string { return string(must(json.Marshal(s))) }
	sigs := text(first, second)
	payload := base64.StdEncoding.EncodeToString(e.Payload)
	for name, change := range map[string]struct{ old, new, want string }{
		"no newline":          {"}\n", "}", "not as qrand writes it"},
		"two newlines":        {"}\n", "}\n\n", "not as qrand writes it"},
		"a space":             {`,"payload":`, `, "payload":`, "not as qrand writes it"},
		"a line in base64":    {`"payload":"`, `"payload":"\n`, "not as qrand writes it"},
		"no padding":          {payload, strings.TrimRight(payload[:len(payload)-2], "="), "illegal base64"},
		"base64 of URLs":      {payload, "_" + payload[1:], "illegal base64"},
		"unknown member":      {`"payload":`, `"x":1,"payload":`, `unknown field "x"`},
		"unknown in sig":      {`"sig":`, `"cert":"","sig":`, `unknown field "cert"`},
		"member twice":        {`"payload":`, `"payload":"","payload":`, "not as qrand writes it"},
		"other case":          {`"payload":`, `"PAYLOAD":`, "not as qrand writes it"},
		"not sorted":          {sigs, text(second, first), "its signatures are not sorted"},
		"a keyid twice":       {sigs, text(first, first, second), "the keyid " + first.KeyID + " is there twice"},
		"keyid in upper case": {first.KeyID, strings.ToUpper(first.KeyID), "is not a SHA-256 in hex"},
		"no keyid":            {`"keyid":"` + first.KeyID + `",`, ``, `its keyid "" is not`},
		"an empty signature":  {text(second), text(provenance.Signature{KeyID: second.KeyID, Sig: []byte{}}), "is empty"},
		"no signature":        {sigs, "[]", "it has 0 signatures"},
		"too many":            {sigs, text(make([]provenance.Signature, 33)...), "it has 33 signatures"},
		"no payload":          {payload, "", "it has no payload"},
		"a payload type":      {"application/vnd.in-toto+json", `\u001b`, "payload type"},
		"no payload type":     {"application/vnd.in-toto+json", ``, "payload type"},
		"no JSON":             {good, "-----BEGIN", "not an envelope: invalid character"},
		"nothing":             {good, "", "not an envelope: it is empty"},
		"too large":           {good, strings.Repeat(" ", 1<<20) + good, "too many"},
	} {
		if name == "an empty signature" {
			change.old, change.new = strings.Trim(change.old, "[]"), strings.Trim(change.new, "[]")
		}
		if !strings.Contains(good, change.old) {
			t.Fatalf("%s: no %s in %s", name, change.old, good)
		}
		if _, err := provenance.ParseEnvelope([]byte(strings.Replace(good, change.old, change.new, 1))); err == nil || !strings.Contains(err.Error(), change.want) {
			t.Errorf("%s: %v, want %q", name, err, change.want)
		}
	}
}

// TestEncode: what ParseEnvelope would refuse is not written.
func TestEncode(t *testing.T) {
	e := signed(t, statement("ed25519"), "alice")
	e.Payload = make([]byte, 3<<18) // 1 MiB in base64
	for want, e := range map[string]provenance.Envelope{
		"provenance: the envelope: it has no payload": {PayloadType: "x"},
		"bytes, more than 1048576":                    e,
	} {
		if text, err := e.Encode(); err == nil || !strings.Contains(err.Error(), want) || text != nil {
			t.Errorf("%d bytes, %v, want %q", len(text), err, want)
		}
	}
}

// TestFlips: whatever byte of the payload or of the file is changed, no statement is accepted.
func TestFlips(t *testing.T) {
	const key = "ecdsa-p256"
	trust := provenance.Trust{Signers: trusted("alice", "bob"), Threshold: 2}
	e := signed(t, statement(key), "alice", "bob")
	file := must(e.Encode())
	if _, err := trust.Verify(provenance.Evidence{Envelope: must(provenance.ParseEnvelope(file)), PublicKey: spki(key)}, time.Now()); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, mask := range []byte{0x01, 0x02, 0x20, 0x80, 0xff} {
		for i := range e.Payload {
			changed := e
			changed.Payload = bytes.Clone(e.Payload)
			changed.Payload[i] ^= mask
			if _, err := trust.Verify(provenance.Evidence{Envelope: changed, PublicKey: spki(key)}, time.Now()); err == nil {
				t.Errorf("byte %d of the payload, xor %#x: accepted", i, mask)
			}
			tried++
		}
		for i := range file {
			changed := bytes.Clone(file)
			changed[i] ^= mask
			e, err := provenance.ParseEnvelope(changed)
			if err == nil {
				_, err = trust.Verify(provenance.Evidence{Envelope: e, PublicKey: spki(key)}, time.Now())
			}
			if err == nil {
				t.Errorf("byte %d of the file, xor %#x: accepted", i, mask)
			}
			tried++
		}
	}
	for i := range file {
		if _, err := provenance.ParseEnvelope(file[:i]); err == nil {
			t.Errorf("the first %d bytes of the file: accepted", i)
		}
	}
	t.Logf("%d changes of a file of %d bytes, with a payload of %d", tried, len(file), len(e.Payload))
}

// device is a Signer of a stranger.
type device struct {
	spki []byte
	sign func(ctx context.Context, message []byte) ([]byte, error)
}

func (d device) PublicKey() []byte { return d.spki }
func (d device) Sign(ctx context.Context, message []byte) ([]byte, error) {
	return d.sign(ctx, message)
}

// TestSign: who may sign, and what a Signer returns is verified before it is taken.
func TestSign(t *testing.T) {
	const key = "ed25519"
	errLost := errors.New("lost")
	alice, bob, own := signer("alice"), signer("bob"), signer(key)
	denied := statement(key)
	denied.SelfSigned = false
	kem := statement("ecdh-p256")
	kem.SelfSigned = true
	bad := statement(key)
	bad.Record.Bytes = 0
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		s       provenance.Statement
		signers []provenance.Signer
		want    string
	}{
		"no signer":       {denied, nil, "nobody signs"},
		"without its own": {statement(key), []provenance.Signer{alice}, "pass its Signer, too"},
		"with its own":    {denied, []provenance.Signer{alice, own}, "its own key does not sign it"},
		"twice":           {denied, []provenance.Signer{alice, bob, alice}, "has signed already"},
		"a key of DH":     {kem, []provenance.Signer{alice}, "a key for ecdh-p256 does not sign"},
		"a bad record":    {bad, []provenance.Signer{alice, own}, "its record: the record contradicts itself: no key is made of 0 bytes"},
		"another key":     {denied, []provenance.Signer{device{alice.PublicKey(), bob.Sign}}, "is not its signature: the device or agent signs with another key or algorithm (wanted: ed25519)"},
		"a message that it changes": {denied, []provenance.Signer{device{alice.PublicKey(), func(ctx context.Context, m []byte) ([]byte, error) {
			m[0]++
			return alice.Sign(ctx, m)
		}}}, "is not its signature"},
		"an error": {denied, []provenance.Signer{device{alice.PublicKey(), func(context.Context, []byte) ([]byte, error) { return nil, errLost }}}, "signing with keyid " + provenance.Digest(spki("alice")) + ": lost"},
		"an end":   {denied, []provenance.Signer{device{alice.PublicKey(), func(ctx context.Context, _ []byte) ([]byte, error) { return nil, ctx.Err() }}}, "context canceled"},
		"no key":   {denied, []provenance.Signer{device{nil, alice.Sign}}, "a signer's key: not a public key"},
		"PEM":      {denied, []provenance.Signer{device{keyfile.PEM(keyfile.KindPublic, alice.PublicKey()), alice.Sign}}, "not in the usual encoding"},
		"a KEM":    {denied, []provenance.Signer{device{spki("x-wing"), alice.Sign}}, "a key for x-wing signs no statement"},
	} {
		if e, err := test.s.Sign(canceled, test.signers...); err == nil || !strings.Contains(err.Error(), test.want) || e.Payload != nil {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	if _, err := (provenance.Envelope{PayloadType: "x"}).Add(t.Context(), alice); err == nil || !strings.Contains(err.Error(), "no statement") {
		t.Errorf("a co-signature of something else: %v", err)
	}
	// The second person signs what the first one wrote, on another machine.
	e := must(provenance.ParseEnvelope(must(must(statement(key).Sign(t.Context(), alice, own)).Encode())))
	both, err := e.Add(t.Context(), bob)
	if err != nil {
		t.Fatal(err)
	}
	trust := provenance.Trust{Signers: trusted("alice", "bob"), Threshold: 2}
	if _, err := trust.Verify(provenance.Evidence{Envelope: must(provenance.ParseEnvelope(must(both.Encode()))), PublicKey: spki(key)}, time.Now()); err != nil {
		t.Error(err)
	}
	for range 29 {
		if both, err = both.Add(t.Context(), must(provenance.NewSigner(must(keygen.Ed25519(rand.Reader))))); err != nil {
			t.Fatal(err)
		}
	}
	if e, err := both.Add(t.Context(), signer("mallory")); err == nil || !strings.Contains(err.Error(), "it has 33 signatures") || e.Payload != nil {
		t.Errorf("a 33rd signature: %v", err)
	}
	if len(e.Signatures) != 2 || len(both.Signatures) != 32 {
		t.Errorf("%d signatures, and %d with another one", len(e.Signatures), len(both.Signatures))
	}
}

// TestBounds: a statement that a reader would refuse is not signed.
func TestBounds(t *testing.T) {
	long := strings.Repeat("x", 1024)
	people := make([]provenance.Operator, 33)
	for i := range people {
		people[i] = provenance.Operator{Name: "O", KeyID: provenance.Digest([]byte{byte(i)})}
	}
	receipts := make([]provenance.Envelope, 17)
	for i := range receipts {
		receipts[i] = fullStatement("ed25519").Receipts[0]
	}
	set := func(f func(*provenance.Ceremony)) func(*provenance.Statement) {
		return func(s *provenance.Statement) { f(s.Ceremony) }
	}
	for name, test := range map[string]struct {
		change func(*provenance.Statement)
		want   string
	}{
		"a long after":         {func(s *provenance.Statement) { s.After = strings.Repeat("\n", 128<<10) }, ""},
		"too long an after":    {func(s *provenance.Statement) { s.After = strings.Repeat("\n", 128<<10+1) }, "after is not the text"},
		"an after of bytes":    {func(s *provenance.Statement) { s.After = "\xff" }, "after is not the text"},
		"16 receipts":          {func(s *provenance.Statement) { s.Receipts = receipts[:16] }, ""},
		"17 receipts":          {func(s *provenance.Statement) { s.Receipts = receipts }, "it has 17 receipts, more than 16"},
		"an empty receipt":     {func(s *provenance.Statement) { s.Receipts[0].Payload = nil }, "a receipt: it has no payload"},
		"a long id":            {set(func(c *provenance.Ceremony) { c.ID = long }), ""},
		"too long an id":       {set(func(c *provenance.Ceremony) { c.ID = long + "x" }), "is not text of one line"},
		"an id of bytes":       {set(func(c *provenance.Ceremony) { c.ID = "\xff" }), "is not text of one line"},
		"no place":             {set(func(c *provenance.Ceremony) { c.Place = "" }), ""},
		"32 operators":         {set(func(c *provenance.Ceremony) { c.Operators = people[:32] }), ""},
		"33 operators":         {set(func(c *provenance.Ceremony) { c.Operators = people }), "more than 32 operators or witnesses"},
		"32 witnesses":         {set(func(c *provenance.Ceremony) { c.Witnesses = slices.Repeat([]string{"W"}, 32) }), ""},
		"33 witnesses":         {set(func(c *provenance.Ceremony) { c.Witnesses = slices.Repeat([]string{"W"}, 33) }), "more than 32 operators or witnesses"},
		"an unknown algorithm": {func(s *provenance.Statement) { s.Record.Algorithm = "" }, "it names no algorithm"},
	} {
		s := fullStatement("ed25519")
		test.change(&s)
		_, err := s.Sign(t.Context(), signer("ed25519"))
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// TestPAE: the example in DSSE's protocol.md, version 1.0.0, and its signature.
func TestPAE(t *testing.T) {
	pae := provenance.PAE("http://example.com/HelloWorld", []byte("hello world"))
	if want := "DSSEv1 29 http://example.com/HelloWorld 11 hello world"; string(pae) != want {
		t.Fatalf("%s", pae)
	}
	point := []byte{4} // uncompressed: SEC 1 section 2.3.3
	for _, decimal := range []string{
		"46950820868899156662930047687818585632848591499744589407958293238635476079160",
		"5640078356564379163099075877009565129882514886557779369047442380624545832820",
	} {
		n, _ := new(big.Int).SetString(decimal, 10)
		point = append(point, n.FillBytes(make([]byte, 32))...)
	}
	key := must(ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point))
	sig := must(base64.StdEncoding.DecodeString("A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="))
	sum := sha256.Sum256(pae)
	if !ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		t.Error("the signature of the example is not one of its PAE")
	}
}

// TestOtherVerifiers: openssl verifies what signers of each kind signed, over the PAE, and
// finds a change. Where it has no ML-DSA, Python's cryptography does so.
func TestOtherVerifiers(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("there is no openssl here")
	}
	options := map[string][]string{
		"ed25519":    {"-rawin"},
		"ecdsa-p256": {"-rawin", "-digest", "sha256"},
		"ecdsa-p384": {"-rawin", "-digest", "sha384"},
		"ecdsa-p521": {"-rawin", "-digest", "sha512"},
		"rsa-2048":   {"-rawin", "-digest", "sha256", "-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:32", "-pkeyopt", "rsa_mgf1_md:sha256"},
		"ml-dsa-44":  {"-rawin"},
		"ml-dsa-65":  {"-rawin"},
		"ml-dsa-87":  {"-rawin"},
	}
	for kind, options := range options {
		t.Run(kind, func(t *testing.T) {
			e := signed(t, statement("x-wing"), kind)
			// The PAE, written here once more.
			pae := "DSSEv1 28 application/vnd.in-toto+json " + fmt.Sprint(len(e.Payload)) + " " + string(e.Payload)
			dir := t.TempDir()
			write := func(name string, data []byte) string {
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
				return path
			}
			key := write("key", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki(kind)}))
			sig := write("sig", e.Signatures[0].Sig)
			good, bad := write("good", []byte(pae)), write("bad", []byte(pae+" "))
			verify := func(file string) ([]byte, error) {
				return exec.Command("openssl", append([]string{"pkeyutl", "-verify", "-pubin", "-inkey", key, "-in", file, "-sigfile", sig}, options...)...).CombinedOutput()
			}
			if strings.HasPrefix(kind, "ml-dsa") && exec.Command("openssl", "pkey", "-pubin", "-in", key, "-noout").Run() != nil {
				const program = "import sys\nfrom cryptography.hazmat.primitives.serialization import load_pem_public_key as load\n" +
					"key, sig, file = (open(f, 'rb').read() for f in sys.argv[1:])\nload(key).verify(sig, file)\n"
				if out, err := exec.Command("python3", "-c", "from cryptography.hazmat.primitives.asymmetric import mldsa").CombinedOutput(); err != nil {
					t.Skipf("this openssl has no ML-DSA (3.5 has it), nor does python3: %v %.200s", err, out)
				}
				verify = func(file string) ([]byte, error) {
					return exec.Command("python3", "-c", program, key, sig, file).CombinedOutput()
				}
			}
			if out, err := verify(good); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if out, err := verify(bad); err == nil {
				t.Errorf("a byte more is accepted: %s", out)
			}
		})
	}
}

// FuzzParseEnvelope: what is read is written again in the same bytes, and nothing that is
// verified panics.
func FuzzParseEnvelope(f *testing.F) {
	e := must(statement("ed25519").Sign(f.Context(), signer("alice"), signer("ed25519")))
	f.Add(must(e.Encode()), []byte(spki("ed25519")))
	f.Add(must(must(statement("x-wing").Sign(f.Context(), signer("bob"))).Encode()), spki("x-wing"))
	f.Add([]byte("{}\n"), []byte{})
	trust := provenance.Trust{Signers: trusted("alice", "bob"), Threshold: 1, Emulated: true}
	f.Fuzz(func(t *testing.T, data, spki []byte) {
		e, err := provenance.ParseEnvelope(data)
		if err != nil {
			return
		}
		if again, err := e.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q is written as %q, %v", data, again, err)
		}
		r, err := trust.Verify(provenance.Evidence{Envelope: e, PublicKey: spki}, keyMade)
		if err != nil {
			return
		}
		if r.Statement.Record.PublicKey != provenance.Digest(spki) {
			t.Error("accepted for another key")
		}
	})
}
