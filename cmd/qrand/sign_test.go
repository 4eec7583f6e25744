package main

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/built"
	"example.com/qrand/internal/keyfile"
	"example.com/qrand/internal/logtest"
	"example.com/qrand/provenance"
	"example.com/qrand/qrypttest"
)

// person makes the key of one in a file, and returns its path and what a trust file says.
func person(t *testing.T, name, algorithm string) (path string, trusted provenance.TrustedKey) {
	t.Helper()
	a, err := findAlgorithm(algorithm)
	if err != nil {
		t.Fatal(err)
	}
	made, err := a.make(bytes.NewReader(bytes.Repeat([]byte(name+algorithm), 40)))
	if err != nil {
		t.Fatal(err)
	}
	key, err := newKeyPair(made)
	if err != nil {
		t.Fatal(err)
	}
	private, _, err := key.encode("pem", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), name+".pem")
	if err := os.WriteFile(path, private, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, provenance.TrustedKey{Name: name, PublicKey: base64.StdEncoding.EncodeToString(key.spki)}
}

// signerIn reads the key of a person.
func signerIn(t *testing.T, path string) provenance.Signer {
	t.Helper()
	signer, err := readSigner(nil, path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// trusting writes a trust file.
func trusting(t *testing.T, trust any) (path string) {
	t.Helper()
	text, err := json.Marshal(trust)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "trust.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// verifyStatement writes an envelope, verifies it, and returns the outcome. Without an envelope,
// it verifies the one beside the key. The outcome is the same for people and as JSON.
func verifyStatement(t *testing.T, key string, envelope []byte, trust string, args ...string) (status int, problem string, findings []provenance.Finding) {
	t.Helper()
	args = append([]string{"verify", key, "--trust", trust}, args...)
	if envelope != nil {
		path := filepath.Join(t.TempDir(), "envelope")
		if err := os.WriteFile(path, envelope, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--provenance", path)
	}
	c, text, errs := screen(false, nil)
	status = execute(t.Context(), args, c)
	c, asJSON, _ := screen(false, nil)
	var outcome struct {
		OK       bool
		Problem  string
		Findings []provenance.Finding
	}
	if s := execute(t.Context(), append(args, "--json"), c); s != status {
		t.Errorf("%v: status %d, with --json %d", args, status, s)
	}
	if err := json.Unmarshal(asJSON.Bytes(), &outcome); err != nil || outcome.OK != (status == exitOK) || !strings.Contains(errs.String(), outcome.Problem) {
		t.Errorf("%v: %v: %s; for people: %s", args, err, asJSON, errs)
	}
	for _, f := range outcome.Findings {
		if !strings.Contains(text.String(), f.Text+"\n") {
			t.Errorf("%v: people are not told: %s", args, f.Text)
		}
	}
	return status, outcome.Problem, outcome.Findings
}

func encodedEnvelope(t *testing.T, e provenance.Envelope) []byte {
	t.Helper()
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestStatementOfEveryAlgorithm: keygen writes a statement about a key for each, with its proof
// of a log, and every key that can sign signs it. A statement with the largest signatures of SLH-DSA is
// too large for a log.
func TestStatementOfEveryAlgorithm(t *testing.T) {
	serve(t, qrypttest.Config{Rate: -1})
	log := logtest.NewServer()
	defer log.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(log.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	alice, aliceTrust := person(t, "alice", "ed25519")
	logged := provenance.Trust{Signers: []provenance.TrustedKey{aliceTrust}, Threshold: 1, Emulated: true, Log: log.Trusted()}
	unlogged := logged
	unlogged.Log = nil
	check := func(a algorithm, signs bool, trust string, args ...string) {
		t.Helper()
		dir := keygenIn(t, append([]string{a.name, "-o", "DIR/key", "--sign-with", alice, "--format", a.formats[len(a.formats)-1]}, args...)...)
		for _, file := range []string{"/key", "/key.pub"} {
			status, problem, findings := verifyStatement(t, dir+file, nil, trust)
			verdict := provenance.Open
			if signs {
				verdict = provenance.Follows
			}
			if i := slices.IndexFunc(findings, func(f provenance.Finding) bool { return f.About == "possession" }); status != exitOK || i < 0 || findings[i].Verdict != verdict {
				t.Errorf("%s%s: status %d, %s, %v", a.name, file, status, problem, findings)
			}
		}
		_, _, s, err := readStatement(dir + "/key")
		if err != nil {
			t.Fatal(err)
		}
		if s.SelfSigned != signs || encoded(t, s.Record) != encoded(t, readRecord(t, dir)) {
			t.Errorf("%s: %+v", a.name, s)
		}
	}
	inLog := []string{"--log", log.URL, "--log-token-file", token}
	for _, a := range algorithms() {
		slow := !slices.ContainsFunc(quick(), func(b algorithm) bool { return a.name == b.name })
		switch {
		case a.name == "rsa-8192" || slow && (testing.Short() || built.Race):
			t.Logf("%s is left out: it is slow", a.name)
		case strings.HasPrefix(a.name, "slh-dsa-") && strings.HasSuffix(a.name, "-256f"):
			check(a, true, trusting(t, unlogged))
			check(a, false, trusting(t, logged), append(inLog, "--no-self-signature")...)
		default:
			check(a, a.use == forSigning, trusting(t, logged), inLog...)
		}
	}
}

// TestVerifyRefuses: verify --trust ends with status 1, and names the cause.
func TestVerifyRefuses(t *testing.T) {
	server := serveUnlabelled(t, func(int, http.Header) {})
	alice, aliceKey := person(t, "alice", "ed25519")
	bob, bobKey := person(t, "bob", "ecdsa-p256")
	mallory, _ := person(t, "mallory", "ed25519")
	dir := keygenIn(t, "ed25519", "-o", "DIR/key", "--require", "fresh", "--sign-with", alice, "--sign-with", bob)
	other := keygenIn(t, "ed25519", "-o", "DIR/key", "--require", "fresh", "--sign-with", alice, "--sign-with", bob)
	signers := []provenance.TrustedKey{aliceKey, bobKey}
	both := trusting(t, provenance.Trust{Signers: signers, Threshold: 2, Endpoints: []string{server.URL}})
	elsewhere := trusting(t, provenance.Trust{Signers: signers, Threshold: 2, Endpoints: []string{"https://another.example"}})
	qrypts := trusting(t, provenance.Trust{Signers: signers, Threshold: 2})

	file, err := os.ReadFile(dir + "/key" + statementSuffix)
	if err != nil {
		t.Fatal(err)
	}
	_, e, s, err := readStatement(dir + "/key")
	if err != nil {
		t.Fatal(err)
	}
	keyID := func(path string) string { return provenance.Digest(signerIn(t, path).PublicKey()) }
	// without is the envelope without one of the signatures.
	without := func(id string) provenance.Envelope {
		less := e
		less.Signatures = slices.DeleteFunc(slices.Clone(e.Signatures), func(g provenance.Signature) bool { return g.KeyID == id })
		if len(less.Signatures) != len(e.Signatures)-1 {
			t.Fatalf("there is no signature with keyid %s", id)
		}
		return less
	}
	add := func(e provenance.Envelope, path string) provenance.Envelope {
		e, err := e.Add(context.Background(), signerIn(t, path))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	strangers := add(without(keyID(bob)), mallory)
	stolen := strangers // with the keyid of Bob on the stranger's signature
	stolen.Signatures = slices.Clone(e.Signatures)
	for i, g := range e.Signatures {
		if g.KeyID == keyID(bob) {
			j := slices.IndexFunc(strangers.Signatures, func(g provenance.Signature) bool { return g.KeyID == keyID(mallory) })
			stolen.Signatures[i].Sig = strangers.Signatures[j].Sig
		}
	}
	// signed is another statement that both sign, and the key itself.
	private, err := os.ReadFile(dir + "/key")
	if err != nil {
		t.Fatal(err)
	}
	own, err := keyfile.ParseSigner(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(change func(*provenance.Record)) []byte {
		changed := s
		change(&changed.Record)
		e, err := changed.Sign(context.Background(), signerIn(t, alice), signerIn(t, bob), mustSign(t, own))
		if err != nil {
			t.Fatal(err)
		}
		return encodedEnvelope(t, e)
	}
	// written changes the text of the payload, which Sign would not make.
	written := func(old, new string) []byte {
		changed := e
		changed.Payload = bytes.Replace(e.Payload, []byte(old), []byte(new), 1)
		if bytes.Equal(changed.Payload, e.Payload) {
			t.Fatalf("%s is not in the payload", old)
		}
		return encodedEnvelope(t, changed)
	}
	key := dir + "/key.pub"
	if status, problem, _ := verifyStatement(t, key, file, both, "--quantum"); status != exitOK {
		t.Fatalf("the true statement: %d, %s", status, problem)
	}
	const entropy = `"entropy":"quantum",`
	late := s.Record.Time.Add(time.Hour).Format(time.RFC3339)
	for _, test := range []struct {
		name     string
		key      string
		envelope []byte
		trust    string
		want     string
	}{
		{"1 of 2 signers", key, encodedEnvelope(t, without(keyID(bob))), both, "it is signed by 1 of 2 signers, and 2 must have signed; not by bob"},
		{"a stranger's signature", key, encodedEnvelope(t, strangers), both, "it is signed by 1 of 2 signers, and 2 must have signed; not by bob"},
		{"a known keyid on a stranger's signature", key, encodedEnvelope(t, stolen), both, "the signature with the keyid of bob, " + keyID(bob) + ", is wrong"},
		{"the self-signature removed", key, encodedEnvelope(t, without(s.Record.PublicKey)), both, "the key itself must have signed it"},
		{"beside another key", other + "/key.pub", file, both, "the record is that of another key"},
		{"a member twice", key, written(entropy, entropy+entropy), both, "it is not as qrand writes it"},
		{"a member in other case", key, written(`"entropy"`, `"Entropy"`), both, "it is not as qrand writes it"},
		{"a trailing byte", key, append(slices.Clone(file), ' '), both, "it is not as qrand writes it"},
		{"another encoding", key, bytes.Replace(file, []byte(":"), []byte(": "), 1), both, "it is not as qrand writes it"},
		{"a block newer than the key", key, written(`"last_block":"`+s.Record.LastBlock.Format(time.RFC3339Nano), `"last_block":"`+late), both, "after the key was made"},
		{"RequireFresh older than MaxAge", key, written(`"max_age_seconds":600`, `"max_age_seconds":1e-9`), both, "RequireFresh allowed 1e-09"},
		{"an endpoint not trusted", key, file, elsewhere, "which is not trusted: only https://another.example"},
		{"an endpoint that is not Qrypt's", key, file, qrypts, "which is not trusted: only https://api"},
		{"emulated", key, signed(func(r *provenance.Record) { r.Entropy = provenance.Emulated }), both, "the entropy was EMULATED, not quantum"},
		{"no block", key, signed(func(r *provenance.Record) {
			*r = provenance.Record{Version: r.Version, Algorithm: r.Algorithm, PublicKey: r.PublicKey, Time: r.Time, Bytes: r.Bytes, Entropy: provenance.OSOnly,
				State: qrand.Degraded, Software: r.Software, GoVersion: r.GoVersion}
		}), both, "the record says that the entropy was crypto/rand alone"},
		{"other bytes than such a key takes", key, signed(func(r *provenance.Record) { r.Bytes = 31 }), both, "31 bytes went into the key, but ed25519 keys take 32"},
		{"never logged", key, file, trusting(t, provenance.Trust{Signers: signers, Threshold: 2, Endpoints: []string{server.URL}, Log: &provenance.TrustedLog{Key: logtest.NewSigner("log.example", 1, 1).VKey}}), "it was never logged, or its proof is lost: there is no proof that it is in the log \"log.example\"; qrand record prove gets one"},
	} {
		if status, problem, _ := verifyStatement(t, test.key, test.envelope, test.trust, "--quantum"); status != exitFailure || !strings.Contains(problem, test.want) {
			t.Errorf("%s: status %d, %q, want %q", test.name, status, problem, test.want)
		}
	}

	trust, err := os.ReadFile(both)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := provenance.ParseTrust(trust)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := keyfile.Parse(spki, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range e.Payload { // every byte, without a process or a file each
		flipped := e
		flipped.Payload = bytes.Clone(e.Payload)
		flipped.Payload[i] ^= 1
		if _, err := parsed.Verify(provenance.Evidence{Envelope: flipped, PublicKey: public.SPKI}, time.Now()); err == nil {
			t.Errorf("byte %d of the payload flipped: accepted", i)
		}
	}
}

// TestSignWhileAsked: a signature that came while a second person typed a passphrase is kept.
// A statement that came is not signed unseen.
func TestSignWhileAsked(t *testing.T) {
	serve(t, qrypttest.Config{Rate: -1})
	alice, _ := person(t, "alice", "ed25519")
	bob, _ := person(t, "bob", "ml-dsa-65")
	phrase := filepath.Join(t.TempDir(), "phrase")
	if err := os.WriteFile(phrase, []byte("correct horse battery"), 0o600); err != nil {
		t.Fatal(err)
	}
	carol := keygenIn(t, "ecdsa-p384", "-o", "DIR/key", "--passphrase-file", phrase) + "/key"
	dir := keygenIn(t, "ed25519", "-o", "DIR/key", "--sign-with", alice)
	other := keygenIn(t, "ed25519", "-o", "DIR/key", "--sign-with", alice)
	path := dir + "/key" + statementSuffix
	sign := func(meanwhile func()) (status int, problem string) {
		c, _, errs := screen(true, map[string]string{})
		c.askSecret = func(prompt string) ([]byte, error) {
			if want := "Passphrase of " + carol + ": "; prompt != want {
				t.Errorf("asked %q, want %q", prompt, want)
			}
			meanwhile()
			return []byte("correct horse battery"), nil
		}
		return execute(t.Context(), []string{"record", "sign", dir + "/key", "--with", carol}, c), errs.String()
	}
	replace := func() {
		data, err := os.ReadFile(other + "/key" + statementSuffix)
		if err == nil {
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			t.Error(err)
		}
	}
	status, problem := sign(func() {
		c, _, errs := screen(false, nil)
		if status := execute(t.Context(), []string{"record", "sign", path, "--with", bob}, c); status != exitOK {
			t.Errorf("status %d, %s", status, errs)
		}
	})
	_, e, _, err := readStatement(path)
	if status != exitOK || err != nil || len(e.Signatures) != 4 {
		t.Errorf("status %d, %s; %d signatures, %v", status, problem, len(e.Signatures), err)
	}
	if status, problem := sign(replace); status != exitFailure || !strings.Contains(problem, "another statement is there now") {
		t.Errorf("status %d, %s", status, problem)
	}
}

// TestSignAtOnce: of people who sign at the same time, no signature is lost.
func TestSignAtOnce(t *testing.T) {
	serve(t, qrypttest.Config{Rate: -1})
	alice, _ := person(t, "alice", "ed25519")
	dir := keygenIn(t, "ed25519", "-o", "DIR/key", "--sign-with", alice)
	const people = 16
	var signing sync.WaitGroup
	for i := range people {
		path, _ := person(t, fmt.Sprint("person", i), "ed25519")
		signing.Go(func() {
			c, _, errs := screen(false, nil)
			if status := execute(t.Context(), []string{"record", "sign", dir + "/key", "--with", path}, c); status != exitOK {
				t.Errorf("status %d, %s", status, errs)
			}
		})
	}
	signing.Wait()
	if _, e, _, err := readStatement(dir + "/key"); err != nil || len(e.Signatures) != people+2 {
		t.Errorf("%d signatures, %v", len(e.Signatures), err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || runtime.GOOS != "windows" && len(files) != 4 {
		t.Errorf("%v, %v", files, err)
	}
}

// TestSignWhileLogged: no proof is placed that is of the statement as it was before a person
// signed it, and nobody signs what a log has had meanwhile.
func TestSignWhileLogged(t *testing.T) {
	serve(t, qrypttest.Config{Rate: -1})
	alice, _ := person(t, "alice", "ed25519")
	bob, _ := person(t, "bob", "ml-dsa-65")
	carol, _ := person(t, "carol", "ed25519")
	log := logtest.NewServer()
	defer log.Close()
	dir := keygenIn(t, "ed25519", "-o", "DIR/key", "--sign-with", alice)
	run := func(args ...string) (status int, problem string) {
		c, _, errs := screen(false, nil)
		return execute(t.Context(), args, c), errs.String()
	}
	var bobs sync.Once
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			bobs.Do(func() {
				if status, problem := run("record", "sign", dir+"/key", "--with", bob); status != exitOK {
					t.Errorf("status %d, %s", status, problem)
				}
			})
		}
		log.ServeHTTP(w, r)
	}))
	defer front.Close()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte(log.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	prove := []string{"record", "prove", dir + "/key", "--log", front.URL, "--log-token-file", token}
	if status, problem := run(prove...); status != exitFailure || !strings.Contains(problem, "/key"+statementSuffix+": it was signed while the log was asked, so the log has it as it was before: run this again") {
		t.Errorf("status %d, %s", status, problem)
	}
	if status, problem := run(prove...); status != exitOK {
		t.Errorf("status %d, %s", status, problem)
	}
	path, e, _, err := readStatement(dir + "/key")
	if err != nil || len(e.Signatures) != 3 {
		t.Errorf("%d signatures, %v", len(e.Signatures), err)
	}
	if proof, err := readProof(path, encodedEnvelope(t, e)); proof == nil || err != nil {
		t.Errorf("%+v, %v", proof, err)
	}
	if status, problem := run("record", "sign", dir+"/key", "--with", carol); status != exitFailure || !strings.Contains(problem, "it is in a log already") {
		t.Errorf("status %d, %s", status, problem)
	}
}

func mustSign(t *testing.T, key crypto.Signer) provenance.Signer {
	t.Helper()
	signer, err := provenance.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// TestOpenSSLVerifiesStatement: openssl verifies what operators, and the key itself, signed
// in a file that keygen wrote.
func TestOpenSSLVerifiesStatement(t *testing.T) {
	openssl := tool(t, "openssl")
	serve(t, qrypttest.Config{Rate: -1})
	var signers []string
	keys := map[string]string{} // by keyid, the PEM of a public key
	flags := map[string][]string{
		"ed25519": nil, "ecdsa-p256": {"-digest", "sha256"}, "ecdsa-p384": {"-digest", "sha384"}, "ecdsa-p521": {"-digest", "sha512"},
		"rsa-2048": {"-digest", "sha256", "-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:32"},
	}
	algorithm := map[string]string{}
	for name := range flags {
		path, key := person(t, name, name)
		signers = append(signers, path)
		der, _ := base64.StdEncoding.DecodeString(key.PublicKey)
		keys[provenance.Digest(der)], algorithm[provenance.Digest(der)] = string(keyfile.PEM(keyfile.KindPublic, der)), name
	}
	dir := keygenIn(t, "ecdsa-p256", "-o", "DIR/key", "--sign-with", strings.Join(signers, ","))
	envelope, err := os.ReadFile(dir + "/key" + statementSuffix)
	if err != nil {
		t.Fatal(err)
	}
	var e struct { // read without package provenance
		PayloadType string
		Payload     []byte
		Signatures  []struct {
			KeyID string
			Sig   []byte
		}
	}
	if err := json.Unmarshal(envelope, &e); err != nil || len(e.Signatures) != len(flags)+1 {
		t.Fatalf("%v: %s", err, envelope)
	}
	own, err := os.ReadFile(dir + "/key.pub")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"pae": fmt.Sprintf("DSSEv1 28 application/vnd.in-toto+json %d %s", len(e.Payload), e.Payload)}
	for _, g := range e.Signatures {
		name := algorithm[g.KeyID]
		if files["pub"] = keys[g.KeyID]; name == "" {
			name, files["pub"] = "ecdsa-p256", string(own)
		}
		files["sig"] = string(g.Sig)
		for file, content := range files {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out := openssl(append([]string{"pkeyutl", "-verify", "-pubin", "-inkey", dir + "/pub", "-rawin", "-in", dir + "/pae", "-sigfile", dir + "/sig"}, flags[name]...)...)
		if !strings.Contains(out, "Signature Verified Successfully") {
			t.Errorf("%s: %s", name, out)
		}
	}
}
