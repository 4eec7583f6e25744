package provenance_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/keyfile"
	"example.com/qrand/internal/logtest"
	"example.com/qrand/keygen"
	"example.com/qrand/provenance"
	"example.com/qrand/provenance/tlogproof"
)

const vectorOrigin = "log.example/vectors"

func vectorLog(leaves ...[]byte) *logtest.Tree {
	l := &logtest.Tree{Origin: vectorOrigin}
	for _, leaf := range leaves {
		l.Add(leaf)
	}
	return l
}

// makeVectors makes all vectors with new keys, whose private halves are never written. The keys of
// trust-log.json are those that tlogproof's ExamplePolicy_Verify must then name.
func makeVectors(t *testing.T) {
	made["rsa-3072"] = lazy(on(keygen.RSA, 3072))
	defer delete(made, "rsa-3072")
	for _, path := range must(filepath.Glob(vectorFolder + "/*")) {
		if filepath.Base(path) != "README.md" {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(vectorFolder, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	writeKey := func(name string) { write(name+".pub", keyfile.PEM(keyfile.KindPublic, spki(name))) }
	var index []vector
	written := map[string]string{} // envelopes, by what is in them
	add := func(v vector, envelope []byte, proof string) {
		v.Expect = "refused"
		if v.About == "" {
			v.Expect = "ok"
		}
		same := fmt.Sprint(proof == "", string(envelope)) // an envelope without a proof has none beside it
		if written[same] == "" {
			written[same] = v.Name + ".provenance.dsse.json"
			write(written[same], envelope)
		}
		v.Envelope = written[same]
		if proof != "" {
			v.Proof = v.Name + ".provenance.tlog-proof"
			write(v.Proof, []byte(proof))
		}
		index = append(index, v)
	}

	// Whom the vectors trust.
	kinds := []string{"ed25519", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "rsa-3072", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87"}
	log1, log6, impostor := logtest.NewRandomSigner(vectorOrigin, 1), logtest.NewRandomSigner(vectorOrigin, 6), logtest.NewRandomSigner(vectorOrigin, 1)
	w1, w2, w6, stranger := logtest.NewRandomSigner("witness.example/w1", 4), logtest.NewRandomSigner("witness.example/w2", 4), logtest.NewRandomSigner("witness.example/w6", 6), logtest.NewRandomSigner("witness.example/w9", 4)
	witnesses := func(all ...*logtest.Signer) (out []provenance.TrustedWitness) {
		for _, w := range all {
			out = append(out, provenance.TrustedWitness{Name: w.Name, Key: w.VKey})
		}
		return out
	}
	two := trusted("alice", "bob", "mallory")
	two[1].Name, two[2].Name = "alice", "carol"
	for name, trust := range map[string]provenance.Trust{
		"alice":     {Signers: trusted("alice"), Threshold: 1},
		"kinds":     {Signers: trusted(kinds...), Threshold: 1},
		"both":      {Signers: trusted("alice", "bob"), Threshold: 2},
		"two-keys":  {Signers: two, Threshold: 2},
		"rehearsal": {Signers: trusted("alice"), Threshold: 1, Emulated: true},
		"relay":     {Signers: trusted("alice"), Threshold: 1, Endpoints: []string{"https://relay.example:7443"}},
		"log":       {Signers: trusted("alice"), Threshold: 1, Log: &provenance.TrustedLog{Key: log1.VKey, Witnesses: witnesses(w1, w2), Quorum: 2, MaxDelay: "24h"}},
		"log-one":   {Signers: trusted("alice"), Threshold: 1, Log: &provenance.TrustedLog{Key: log1.VKey, Witnesses: witnesses(w1, w2), Quorum: 1, MaxDelay: "24h"}},
		"log-alone": {Signers: trusted("alice"), Threshold: 1, Log: &provenance.TrustedLog{Key: log1.VKey}},
		"log-ml-dsa": {Signers: trusted("alice"), Threshold: 1, Log: &provenance.TrustedLog{
			Key: log1.VKey + " " + log6.VKey, Witnesses: witnesses(w1, w6), Quorum: 2, MaxDelay: "24h"}},
	} {
		write("trust-"+name+".json", append(must(json.MarshalIndent(trust, "", "  ")), '\n'))
	}

	// One good statement for each kind of signer, about keys that sign and keys that do not.
	for _, kind := range kinds {
		writeKey(kind)
		add(vector{Name: "signer-" + kind, Key: kind + ".pub", Trust: "trust-kinds.json"}, must(signed(t, statement(kind), kind).Encode()), "")
	}
	const key = "ecdsa-p256"
	for _, kind := range []string{"x25519", "ecdh-p256", "x-wing"} {
		writeKey(kind)
		add(vector{Name: "about-" + kind, Key: kind + ".pub", Trust: "trust-alice.json"}, must(signed(t, statement(kind), "alice").Encode()), "")
	}

	// one is a statement about the key, changed, signed by these people and by itself.
	one := func(change func(*provenance.Statement), names ...string) []byte {
		s := statement(key)
		change(&s)
		return must(signed(t, s, names...).Encode())
	}
	unchanged := func(*provenance.Statement) {}
	good := func(name, trust string, change func(*provenance.Statement), names ...string) {
		add(vector{Name: name, Key: key + ".pub", Trust: "trust-" + trust + ".json"}, one(change, names...), "")
	}
	bad := func(name, trust, about, cause string, envelope []byte) {
		add(vector{Name: name, Key: key + ".pub", Trust: "trust-" + trust + ".json", About: about, Cause: cause}, envelope, "")
	}
	record := func(change func(*provenance.Record)) func(*provenance.Statement) {
		return func(s *provenance.Statement) { change(&s.Record) }
	}
	good("two-signers", "both", unchanged, "alice", "bob")
	good("no-self-signature", "alice", func(s *provenance.Statement) { s.SelfSigned = false }, "alice")
	good("an-unknown-key-signed-too", "alice", unchanged, "alice", "mallory")
	good("rehearsal", "rehearsal", record(func(r *provenance.Record) { r.Entropy, r.Endpoint = provenance.Emulated, "http://127.0.0.1:8080" }), "alice")
	good("relay", "relay", record(func(r *provenance.Record) { r.Endpoint = "https://relay.example:7443" }), "alice")
	good("version-1", "alice", record(func(r *provenance.Record) { r.Version, r.Policy = 1, qrand.RequireFresh }), "alice")
	good("no-block", "alice", record(func(r *provenance.Record) {
		r.Entropy, r.State, r.Reason, r.Blocks, r.Fingerprints, r.AgeSeconds, r.Endpoint = provenance.OSOnly, qrand.Degraded, qrand.Unreachable, 0, nil, 0, ""
		r.LastBlock, r.LastReceived = time.Time{}, time.Time{}
	}), "alice")
	good("short-numbers", "alice", record(func(r *provenance.Record) {
		r.LastReceived, r.LastBlock, r.AgeSeconds = keyMade.Add(-100), keyMade.Add(-1), 0.0000001
		r.Policy, r.MaxAgeSeconds = qrand.RequireFresh, 0.000012
	}), "alice")
	full := func(s *provenance.Statement) {
		f := fullStatement(key)
		s.Ceremony, s.Record.EndpointCertificate, s.Record.EndpointPublicKey = f.Ceremony, f.Record.EndpointCertificate, f.Record.EndpointPublicKey
		s.Ceremony.Place, s.Ceremony.ID, s.Receipts = "Genève <1 & 2> \"日本\" \\", "2026-1", f.Receipts
		s.Record.Policy, s.Record.MaxAgeSeconds, s.Record.AgeSeconds = qrand.RequireFresh, 600, 2.0000125
		s.Record.Time, s.Record.LastBlock = keyMade.Add(1500), keyMade.Add(-1)
	}
	good("all-members", "alice", full, "alice")

	// The certificate and the request are other subjects.
	private := made[key]().(*ecdsa.PrivateKey)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "vector"}, NotBefore: keyMade, NotAfter: keyMade.AddDate(10, 0, 0)}
	certificate := must(x509.CreateCertificate(rand.Reader, template, template, private.Public(), private))
	request := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: template.Subject}, private))
	write("certificate.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))
	write("request.csr", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request}))
	of := func(kind string, der []byte) func(*provenance.Statement) {
		return record(func(r *provenance.Record) {
			r.Certificate = &provenance.Certificate{Kind: kind, SHA256: provenance.Digest(der), Bytes: 48}
		})
	}
	add(vector{Name: "certificate", Key: "certificate.crt", Trust: "trust-alice.json"}, one(of("certificate", certificate), "alice"), "")
	add(vector{Name: "request", Key: "request.csr", Trust: "trust-alice.json"}, one(of("request", request), "alice"), "")
	add(vector{Name: "another-certificate", Key: "certificate.crt", Trust: "trust-alice.json", About: "certificate", Cause: "the certificate is not the one made with the key"}, one(of("certificate", request), "alice"), "")
	add(vector{Name: "no-certificate", Key: "certificate.crt", Trust: "trust-alice.json", About: "certificate", Cause: "the statement is about no certificate"}, one(unchanged, "alice"), "")

	// Signatures.
	base := signed(t, statement(key), "alice")
	pae := provenance.PAE(base.PayloadType, base.Payload)
	resigned := func(payload []byte, names ...string) provenance.Envelope {
		e := provenance.Envelope{PayloadType: base.PayloadType, Payload: payload}
		for _, name := range names {
			s := signer(name)
			e.Signatures = append(e.Signatures, provenance.Signature{KeyID: provenance.Digest(s.PublicKey()), Sig: must(s.Sign(t.Context(), provenance.PAE(e.PayloadType, payload)))})
		}
		sortSignatures(e)
		return e
	}
	text := func(e provenance.Envelope) []byte { return append(must(json.Marshal(e)), '\n') }
	replaced := func(name string, sig []byte) []byte {
		e := base
		e.Signatures = slices.Clone(base.Signatures)
		i := slices.IndexFunc(e.Signatures, func(s provenance.Signature) bool { return s.KeyID == provenance.Digest(spki(name)) })
		e.Signatures[i].Sig = sig
		return text(e)
	}
	bad("a-strangers-signature", "alice", "threshold", "an unknown key signed it, and none of the signers", one(unchanged, "mallory"))
	bad("a-known-keyid-on-a-strangers-signature", "alice", "signer", "the signature with the keyid of a signer was made by another key", replaced("alice", must(signer("mallory").Sign(t.Context(), pae))))
	bad("a-self-signature-by-another-key", "alice", "signer", "the signature with the keyid of the key itself was made by another key", replaced(key, must(signer("bob").Sign(t.Context(), pae))))
	bad("the-payload-without-pae", "alice", "signer", "the payload is signed, and not its pre-authentication encoding", replaced("alice", must(signer("alice").Sign(t.Context(), base.Payload))))
	changed := base
	changed.Payload = bytes.Replace(base.Payload, []byte(`"bytes":32`), []byte(`"bytes":33`), 1)
	bad("payload-changed", "alice", "signer", "the payload was changed after it was signed", text(changed))
	bad("self-signature-removed", "alice", "possession", "the statement says that the key itself signed it, and that signature is missing", text(resigned(base.Payload, "alice")))
	bad("self-signature-denied", "alice", "possession", "the statement says that the key itself did not sign it, and has its signature",
		text(resigned(bytes.Replace(base.Payload, []byte(`"self_signed":true`), []byte(`"self_signed":false`), 1), "alice", key)))
	bad("self-signature-only", "alice", "threshold", "the signature of the key itself does not count", text(resigned(base.Payload, key)))
	bad("one-of-two-signers", "both", "threshold", "one signer signed, and two must have", text(base))
	bad("two-keys-of-one-person", "two-keys", "threshold", "a person with two keys counts once, and two must have signed", one(unchanged, "alice", "bob"))
	rsaKey, sum := made["rsa-2048"]().(*rsa.PrivateKey), sha256.Sum256(pae)
	byRSA := resigned(base.Payload, key)
	byRSA.Signatures = append(byRSA.Signatures, provenance.Signature{KeyID: provenance.Digest(spki("rsa-2048")), Sig: must(rsa.SignPKCS1v15(nil, rsaKey, crypto.SHA256, sum[:]))})
	sortSignatures(byRSA)
	bad("rsa-pkcs1-v1.5", "kinds", "signer", "the RSA signature is of PKCS #1 v1.5, and not PSS", text(byRSA))
	x, y := rs(made[key]().(*ecdsa.PrivateKey), sum[:])
	bad("ecdsa-not-asn.1", "alice", "signer", "the ECDSA signature is r and s, 32 bytes each, and not ASN.1", replaced(key, append(x.FillBytes(make([]byte, 32)), y.FillBytes(make([]byte, 32))...)))
	writeKey("bob")
	add(vector{Name: "another-key", Key: "bob.pub", Trust: "trust-alice.json", About: "key", Cause: "the statement is about another key"}, text(base), "")
	bad("another-algorithm", "alice", "key", "the statement says that it is a key for ML-DSA-65", text(resigned(bytes.ReplaceAll(base.Payload, []byte(`"`+key+`"`), []byte(`"ml-dsa-65"`)), "alice", key)))

	// One encoding. These are signed as they are.
	payload := func(name, cause, old, new string) {
		if !bytes.Contains(base.Payload, []byte(old)) {
			t.Fatalf("%s: no %s", name, old)
		}
		bad(name, "alice", "statement", cause, text(resigned(bytes.Replace(base.Payload, []byte(old), []byte(new), 1), "alice", key)))
	}
	payload("member-twice", "a member is there twice", `"entropy":"quantum"`, `"entropy":"emulated","entropy":"quantum"`)
	payload("member-in-another-case", "a member is there again in another case", `"entropy":"quantum"`, `"ENTROPY":"emulated","entropy":"quantum"`)
	payload("member-unknown", "a member is unknown", `"entropy":"quantum"`, `"entropy":"quantum","quality":"best"`)
	payload("member-missing", "a member is missing", `"mix":"MixXOR",`, ``)
	payload("member-empty", "a member that is empty is written", `"mix":"MixXOR",`, `"reason":"","mix":"MixXOR",`)
	payload("member-null", "a member is null", `"blocks":1`, `"blocks":null`)
	payload("members-in-another-order", "two members are in another order", `"bytes":32,"entropy":"quantum"`, `"entropy":"quantum","bytes":32`)
	payload("white-space", "a space in the JSON", `"blocks":1`, `"blocks": 1`)
	payload("white-space-at-the-end", "a space behind the JSON", `"self_signed":true}}`, `"self_signed":true}} `)
	payload("not-escaped", "the character < is not escaped", `\u003c`, `<`)
	payload("escaped-too-much", "the letter q is escaped", `"quantum"`, `"\u0071uantum"`)
	payload("number-with-a-fraction", "2 is written as 2.0", `"age_seconds":2,`, `"age_seconds":2.0,`)
	payload("number-with-an-exponent", "2 is written as 2e0", `"age_seconds":2,`, `"age_seconds":2e0,`)
	payload("time-with-zeros", "the time has a fraction of zeros", `"time":"2026-03-01T12:00:00Z"`, `"time":"2026-03-01T12:00:00.000Z"`)
	payload("time-of-a-zone", "the time is not in UTC", `"time":"2026-03-01T12:00:00Z"`, `"time":"2026-03-01T13:00:00+01:00"`)
	payload("another-predicate", "the predicate is of another type", "key-provenance/v1", "key-provenance/v9")
	payload("another-subject", "the subject is not the key of the record", `"subject":[{"name":"`+key+`"`, `"subject":[{"name":"ecdsa-p384"`)
	payload("another-type", "it is an in-toto Statement of another version", "in-toto.io/Statement/v1", "in-toto.io/Statement/v0.1")
	ecdh := signed(t, statement("ecdh-p256"), "alice").Payload
	ecdh = bytes.Replace(ecdh, []byte(`"self_signed":false`), []byte(`"self_signed":true`), 1)
	add(vector{Name: "self-signature-of-ecdh", Key: "ecdh-p256.pub", Trust: "trust-alice.json", About: "statement", Cause: "the statement says that a key for ECDH signed it"}, text(resigned(ecdh, "alice")), "")
	file := func(name, cause string, old, new string) {
		good := string(text(base))
		if !strings.Contains(good, old) {
			t.Fatalf("%s: no %s", name, old)
		}
		bad(name, "alice", "statement", cause, []byte(strings.Replace(good, old, new, 1)))
	}
	file("trailing-byte", "a byte behind the envelope", "}\n", "}\n\n")
	file("space-for-the-newline", "a space is where the newline must be", "}\n", "} ")
	file("no-newline", "the newline behind the envelope is missing", "}\n", "}")
	file("envelope-member-twice", "a member of the envelope is there twice", `"payload":`, `"payload":"","payload":`)
	file("envelope-member-unknown", "a member of the envelope is unknown", `"payload":`, `"cert":"","payload":`)
	file("another-payload-type", "the payload is of another type", "in-toto+json", "in-toto+JSON")
	file("keyid-in-upper-case", "a keyid is in upper case", `"keyid":"`+base.Signatures[0].KeyID, `"keyid":"`+strings.ToUpper(base.Signatures[0].KeyID))
	lastOf := base.Signatures[slices.IndexFunc(base.Signatures, func(s provenance.Signature) bool { return len(s.Sig) == ed25519.SignatureSize })].Sig
	strict := base64.StdEncoding.EncodeToString(lastOf) // it ends with 4 bits that must be zero, and ==
	loose := strict[:len(strict)-3] + string("BCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", strict[len(strict)-3])]) + "=="
	file("base64-with-other-bits", "the base64 of a signature ends with bits that are not zero", strict, loose)
	backwards := base
	backwards.Signatures = slices.Clone(base.Signatures)
	slices.Reverse(backwards.Signatures)
	bad("signatures-not-sorted", "alice", "statement", "the signatures are not sorted by keyid", text(backwards))
	twice := base
	twice.Signatures = []provenance.Signature{base.Signatures[0], base.Signatures[0], base.Signatures[1]}
	bad("signature-twice", "alice", "statement", "a keyid is there twice", text(twice))

	// Records that contradict themselves.
	payload("block-newer-than-the-key", "the last block went in after the key was made", `"last_block":"2026-03-01T11:59:59Z"`, `"last_block":"2026-03-01T12:00:01Z"`)
	payload("block-used-before-it-came", "the last block went in before it came", `"last_received":"2026-03-01T11:59:58Z"`, `"last_received":"2026-03-01T11:59:59.5Z"`)
	payload("block-older-than-said", "the last block was older than age_seconds", `"age_seconds":2,`, `"age_seconds":1,`)
	payload("fresh-too-old", "RequireFresh with a block older than max_age_seconds", `"policy":"Augment"`, `"policy":"RequireFresh","max_age_seconds":1`)
	payload("fresh-without-limit", "RequireFresh without max_age_seconds", `"policy":"Augment"`, `"policy":"RequireFresh"`)
	payload("quantum-without-a-block", "the entropy is quantum, and no block was there", `"blocks":1`, `"blocks":0`)
	payload("more-fingerprints-than-blocks", "there are more fingerprints than blocks", `"fingerprints":[`, `"fingerprints":["00000000:00000000000000000000000000000000",`)
	fingerprint := fmt.Sprintf("%q", statement(key).Record.Fingerprints[0])
	payload("a-block-twice", "the record names a block twice", `"blocks":1,"fingerprints":[`+fingerprint, `"blocks":2,"fingerprints":[`+fingerprint+","+fingerprint)
	payload("crypto-rand-with-a-block", "the entropy is crypto/rand, and a block was there", `"entropy":"quantum"`, `"entropy":"crypto/rand"`)
	payload("no-bytes", "the key is made of no bytes", `"bytes":32`, `"bytes":0`)
	payload("half-of-a-certificate", "there is a TLS certificate without its public key", `"endpoint":"https://api-eus.qrypt.com"`, `"endpoint":"https://api-eus.qrypt.com","endpoint_certificate_sha256":"`+provenance.Digest(nil)+`"`)
	limited := one(record(func(r *provenance.Record) { r.Policy, r.MaxAgeSeconds = qrand.RequireFresh, 600 }), "alice")
	old1 := must(provenance.ParseEnvelope(limited)).Payload
	bad("version-1-with-a-limit", "alice", "statement", "a record of version 1 has no max_age_seconds", text(resigned(bytes.Replace(old1, []byte(`"version":2`), []byte(`"version":1`), 1), "alice", key)))
	payload("not-printable", "a text has a character that cannot be printed", `"go_version":"`, `"go_version":"\u200b`)
	payload("a-state-that-made-no-key", "a Source that is Starting has no block", `"Seeded"`, `"Starting"`)

	// What is trusted.
	bad("emulated", "alice", "entropy", "the entropy was emulated", one(record(func(r *provenance.Record) { r.Entropy = provenance.Emulated }), "alice"))
	bad("another-endpoint", "alice", "endpoint", "the block came from an endpoint that is not trusted", one(record(func(r *provenance.Record) { r.Endpoint = "https://blocks.example" }), "alice"))
	bad("the-services-endpoint", "relay", "endpoint", "the block came from the service, and only a relay is trusted", one(unchanged, "alice"))
	bad("plain-http", "alice", "endpoint", "the block came over plain HTTP", one(record(func(r *provenance.Record) { r.Endpoint = "http://127.0.0.1:8080" }), "alice"))
	at := func(when time.Time) func(*provenance.Statement) {
		return record(func(r *provenance.Record) { r.Time, r.LastBlock, r.LastReceived = when, when, when })
	}
	bad("before-qrand", "alice", "time", "the key was made in 2006, before qrand", one(at(keyMade.AddDate(-20, 0, 0)), "alice"))
	bad("in-the-future", "alice", "time", "the key was made in 2226", one(at(keyMade.AddDate(200, 0, 0)), "alice"))

	// Trust files that may mean two things, or nothing.
	trustText := string(must(os.ReadFile(filepath.Join(vectorFolder, "trust-alice.json"))))
	logText := string(must(os.ReadFile(filepath.Join(vectorFolder, "trust-log.json"))))
	for _, c := range []struct{ name, cause, text, old, new string }{
		{"trust-member-twice", "threshold is in the trust file twice", trustText, `"threshold": 1`, `"threshold": 1, "threshold": 1`},
		{"trust-member-unknown", "a member of the trust file is unknown", trustText, `"threshold": 1`, `"threshold": 1, "quorum": 1`},
		{"trust-in-nobody", "the threshold in the trust file is 0", trustText, `"threshold": 1`, `"threshold": 0`},
		{"trust-threshold-too-high", "the threshold is higher than there are signers", trustText, `"threshold": 1`, `"threshold": 2`},
		{"trust-one-key-for-two", "two signers have one key", trustText, `"signers": [`, `"signers": [{"name": "bob", "public_key": "` + trusted("alice")[0].PublicKey + `"},`},
		{"trust-plain-http", "an endpoint over plain HTTP is to be trusted", trustText, `"threshold": 1`, `"threshold": 1, "endpoints": ["http://127.0.0.1:8080"]`},
		{"trust-weak-key", "an RSA key of 1,024 bits is that of a signer", trustText, trusted("alice")[0].PublicKey, base64.StdEncoding.EncodeToString(must(x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537})))},
		{"trust-no-quorum", "there are witnesses, and the quorum is 0", logText, `"quorum": 2`, `"quorum": 0`},
		{"trust-one-key-for-two-witnesses", "two witnesses have one key", logText, w2.VKey, w1.VKey},
		{"trust-witness-of-another-type", "the key of a witness is one for logs", logText, w2.VKey, impostor.VKey},
		{"trust-delay-of-zero", "the witnesses have no time to cosign", logText, `"24h"`, `"0h"`},
		{"trust-endless-delay", "max_delay has 400 digits", logText, `"24h"`, `"` + strings.Repeat("9", 400) + `h"`},
		{"trust-user-in-an-endpoint", "an endpoint with user information is to be trusted", trustText, `"threshold": 1`, `"threshold": 1, "endpoints": ["https://user:secret@blocks.example"]`},
		{"trust-damaged-key", "the key of the log is damaged", logText, log1.VKey, strings.Replace(log1.VKey, vectorOrigin, vectorOrigin+"2", 1)},
	} {
		if !strings.Contains(c.text, c.old) {
			t.Fatalf("%s: no %s", c.name, c.old)
		}
		write(c.name+".json", []byte(strings.Replace(c.text, c.old, c.new, 1)))
		add(vector{Name: c.name, Key: key + ".pub", Trust: c.name + ".json", About: "trust", Cause: c.cause}, text(base), "")
	}
	// Receipts of a relay.
	relays := []provenance.TrustedRelay{{TrustedKey: trusted("bob")[0], Client: "ca-1"}}
	write("trust-receipts.json", append(must(json.MarshalIndent(provenance.Trust{Signers: trusted("alice"), Threshold: 1, Receipts: relays}, "", "  ")), '\n'))
	receipt := func(name, about, cause string, change func(*provenance.Receipt), signers ...string) {
		r := provenance.Receipt{Relay: "relay", Client: "ca-1", Time: keyMade.Add(-time.Second), Blocks: []provenance.RelayBlocks{{
			Fingerprints: statement(key).Record.Fingerprints, Endpoint: statement(key).Record.Endpoint, Received: statement(key).Record.LastReceived}}}
		change(&r)
		add(vector{Name: name, Key: key + ".pub", Trust: "trust-receipts.json", About: about, Cause: cause}, one(func(s *provenance.Statement) {
			for _, by := range signers {
				s.Receipts = append(s.Receipts, must(r.Sign(t.Context(), signer(by))))
			}
			if name == "receipt-by-another-key" {
				s.Receipts[0].Signatures[0].KeyID = provenance.Digest(spki("bob"))
			}
		}, "alice"), "")
	}
	asIs := func(*provenance.Receipt) {}
	receipt("receipt", "", "", asIs, "mallory", "bob")
	receipt("no-receipt", "receipts", "a receipt of a relay is wanted, and there is none", asIs)
	receipt("receipt-by-another-key", "receipts", "the signature with the keyid of the relay was made by another key", asIs, "mallory")
	receipt("receipt-for-another-client", "receipts", "the relay handed the block out to another client", func(r *provenance.Receipt) { r.Client = "ca-2" }, "bob")
	receipt("receipt-for-another-block", "receipts", "the receipt is for another block", func(r *provenance.Receipt) {
		r.Blocks[0].Fingerprints = []string{"01234567:ffffffffffffffffffffffffffffffff"}
	}, "bob")
	receipt("receipt-of-another-time", "receipts", "the block came to the relay an hour before the record says", func(r *provenance.Receipt) { r.Blocks[0].Received = keyMade.Add(-time.Hour) }, "bob")
	receipt("receipt-after-the-key", "receipts", "the relay handed the block out after it went into the key", func(r *provenance.Receipt) { r.Time = keyMade.Add(time.Hour) }, "bob")
	receipt("receipt-for-an-emulated-block", "receipts", "the relay had the block from an emulator", func(r *provenance.Receipt) { r.Blocks[0].Emulated = true }, "bob")
	receipt("receipt-from-another-endpoint", "receipts", "the relay had the block from an endpoint that is not trusted", func(r *provenance.Receipt) { r.Blocks[0].Endpoint = "https://blocks.example" }, "bob")

	// The log: entry 5 of 9, in a statement that names the head of size 3.
	before, later := keyMade.Add(-time.Hour), keyMade.Add(time.Minute)
	leaves := func(n int, prefix string) (all [][]byte) {
		for i := range n {
			all = append(all, fmt.Append(nil, prefix, i))
		}
		return all
	}
	old := vectorLog(leaves(3, "entry ")...).Head(3)
	after := func(c tlogproof.Checkpoint, when time.Time) func(*provenance.Statement) {
		return func(s *provenance.Statement) {
			s.After = logtest.Signed(c, log1.Line(c, when), w1.Line(c, when), w2.Line(c, when))
		}
	}
	prove := func(envelope []byte, from int64, change func(*tlogproof.Proof), lines func(c tlogproof.Checkpoint) []string) string {
		l := vectorLog(append(append(leaves(5, "entry "), envelope), leaves(3, "later ")...)...)
		p := l.Prove(9, 5, from)
		p.Checkpoint = logtest.Signed(l.Head(9), lines(l.Head(9))...)
		change(p)
		return string(p.Encode())
	}
	cosigned := func(times ...time.Time) func(tlogproof.Checkpoint) []string {
		return func(c tlogproof.Checkpoint) []string {
			lines := []string{log1.Line(c, later)}
			for i, w := range []*logtest.Signer{w1, w2}[:len(times)] {
				lines = append(lines, w.Line(c, times[i]))
			}
			return append(lines, stranger.Line(c, later))
		}
	}
	nothing := func(*tlogproof.Proof) {}
	logged := func(name, trust, about, cause string, envelope []byte, proof string) {
		add(vector{Name: name, Key: key + ".pub", Trust: "trust-" + trust + ".json", About: about, Cause: cause}, envelope, proof)
	}
	plain, named := one(unchanged, "alice"), one(after(old, before), "alice")
	sound := cosigned(later, later.Add(time.Minute))
	logged("logged", "log", "", "", plain, prove(plain, -1, nothing, sound))
	logged("logged-with-a-delay-of-zero", "delay-of-zero", "trust", "the witnesses have no time to cosign", plain, prove(plain, -1, nothing, sound))
	logged("logged-after", "log", "", "", named, prove(named, 3, nothing, sound))
	empty := one(after(vectorLog().Head(0), before), "alice")
	logged("logged-after-nothing", "log", "", "", empty, prove(empty, 0, nothing, sound))
	logged("logged-without-witnesses", "log-alone", "", "", named, prove(named, 3, nothing, cosigned()))
	hybrid := one(func(s *provenance.Statement) {
		s.After = logtest.Signed(old, log1.Line(old, before), log6.Line(old, before), w1.Line(old, before), w6.Line(old, before))
	}, "alice")
	logged("logged-ml-dsa", "log-ml-dsa", "", "", hybrid, prove(hybrid, 3, nothing, func(c tlogproof.Checkpoint) []string {
		return []string{log1.Line(c, later), log6.Line(c, later), w1.Line(c, later), w6.Line(c, later)}
	}))
	logged("one-key-of-the-log", "log-ml-dsa", "log", "the checkpoint has no ML-DSA-44 signature of the log", plain, prove(plain, -1, nothing, func(c tlogproof.Checkpoint) []string {
		return []string{log1.Line(c, later), w1.Line(c, later), w6.Line(c, later)}
	}))
	logged("never-logged", "log", "log", "there is no proof", plain, "")
	refused := func(name, cause string, envelope []byte, proof string) {
		logged(name, "log", "log", cause, envelope, proof)
	}
	refused("proof-of-another-entry", "the proof is that of another entry", plain, prove(named, -1, nothing, sound))
	refused("index-changed", "the index was changed", plain, prove(plain, -1, func(p *tlogproof.Proof) { p.Index = 4 }, sound))
	refused("index-too-large", "the index is not in the tree", plain, prove(plain, -1, func(p *tlogproof.Proof) { p.Index = 9 }, sound))
	refused("size-changed", "the size in the checkpoint was changed", plain, prove(plain, -1, func(p *tlogproof.Proof) { p.Checkpoint = strings.Replace(p.Checkpoint, "\n9\n", "\n10\n", 1) }, sound))
	refused("size-too-large", "the checkpoint has more entries than a tree can have", plain, prove(plain, -1, func(p *tlogproof.Proof) {
		c := must(p.Includes(plain))
		c.Size = 1<<62 + 1
		p.Checkpoint = logtest.Signed(c, log1.Line(c, later), w1.Line(c, later), w2.Line(c, later))
	}, sound))
	refused("a-hash-too-few", "a hash of the proof is missing", plain, prove(plain, -1, func(p *tlogproof.Proof) { p.Hashes = p.Hashes[1:] }, sound))
	refused("a-hash-too-many", "the proof has one more hash", plain, prove(plain, -1, func(p *tlogproof.Proof) { p.Hashes = append(p.Hashes, p.Hashes[0]) }, sound))
	refused("another-key-of-the-logs-name", "another key of the same name signed the checkpoint", plain, prove(plain, -1, nothing, func(c tlogproof.Checkpoint) []string {
		return []string{impostor.Line(c, later), w1.Line(c, later), w2.Line(c, later)}
	}))
	refused("the-witnesses-alone", "the log did not sign the checkpoint", plain, prove(plain, -1, nothing, func(c tlogproof.Checkpoint) []string {
		return []string{w1.Line(c, later), w2.Line(c, later)}
	}))
	refused("another-log", "the checkpoint is of another log", plain, prove(plain, -1, func(p *tlogproof.Proof) {
		c := must(p.Includes(plain))
		c.Origin = "log.example/others"
		p.Checkpoint = logtest.Signed(c, log1.Line(c, later), w1.Line(c, later), w2.Line(c, later))
	}, sound))
	refused("quorum-unmet", "one witness cosigned, and two must have", plain, prove(plain, -1, nothing, cosigned(later)))
	refused("a-witness-twice", "a witness that cosigned twice counts once", plain, prove(plain, -1, nothing, func(c tlogproof.Checkpoint) []string {
		return []string{log1.Line(c, later), w1.Line(c, later), w1.Line(c, later.Add(time.Second))}
	}))
	refused("a-cosignature-of-another-head", "a cosignature is of another checkpoint", plain, prove(plain, -1, nothing, func(c tlogproof.Checkpoint) []string {
		return []string{log1.Line(c, later), w1.Line(c, later), w2.Line(old, later)}
	}))
	refused("cosigned-before-it-was-made", "the witnesses cosigned before the key was made: one of the times is wrong", plain, prove(plain, -1, nothing, cosigned(before, before)))
	refused("cosigned-too-late", "the witnesses cosigned later than max_delay", plain, prove(plain, -1, nothing, cosigned(later, keyMade.Add(25*time.Hour))))
	refused("cosigned-in-the-future", "a witness cosigned in 2226", plain, prove(plain, -1, nothing, cosigned(later, keyMade.AddDate(200, 0, 0))))
	refused("cosigned-at-the-end-of-time", "a witness cosigned at the last second that its format has", plain, prove(plain, -1, nothing, cosigned(later, time.Unix(math.MaxInt64, 0))))
	logged("one-cosigned-at-the-end-of-time", "log-one", "", "", plain, prove(plain, -1, nothing, cosigned(later, time.Unix(math.MaxInt64, 0))))
	forked := one(after(vectorLog(leaves(3, "another ")...).Head(3), before), "alice")
	refused("after-of-another-history", "the checkpoint that the statement names is of another history", forked, prove(forked, 3, nothing, sound))
	refused("growth-from-another-size", "the proof shows growth from another size", named, prove(named, 4, nothing, sound))
	refused("growth-size-changed", "the size from which the proof shows growth was changed", named, prove(named, 3, func(p *tlogproof.Proof) { p.After.Size = 4 }, sound))
	hollow := vectorLog(leaves(3, "entry ")...).Head(3)
	hollow.Size = 0
	nothingHashed := one(after(hollow, before), "alice")
	refused("after-nothing-with-a-hash", "the checkpoint that the statement names has no entries, and a hash of some", nothingHashed, prove(nothingHashed, 0, nothing, sound))
	refused("growth-missing", "the proof shows no growth from the checkpoint that the statement names", named, prove(named, -1, nothing, sound))
	refused("growth-of-another-statement", "the statement names no checkpoint, and the proof shows growth from one", plain, prove(plain, 3, nothing, sound))
	dated := one(after(old, later.Add(time.Hour)), "alice")
	refused("after-later-than-the-key", "the checkpoint that the statement names was cosigned after the key was made", dated, prove(dated, 3, nothing, cosigned(later.Add(2*time.Hour), later.Add(2*time.Hour))))

	var lines []string
	for _, v := range index {
		lines = append(lines, string(must(json.Marshal(v))))
	}
	write("index.json", []byte("[\n  "+strings.Join(lines, ",\n  ")+"\n]\n"))

	// The sums, and who signed them.
	public, signing, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sums := []byte(sumsOf(t))
	write("SHA256SUMS", sums)
	write("SHA256SUMS.sig", must(signing.Sign(nil, sums, crypto.Hash(0))))
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(public))})
	readme := must(os.ReadFile(vectorFolder + "/README.md"))
	write("README.md", regexp.MustCompile("(?s)-----BEGIN.*?-----END PUBLIC KEY-----\n").ReplaceAll(readme, block))
}

// rs is an ECDSA signature in its two numbers.
func rs(key *ecdsa.PrivateKey, digest []byte) (r, s *big.Int) {
	r, s, err := ecdsa.Sign(rand.Reader, key, digest)
	if err != nil {
		panic(err)
	}
	return r, s
}
