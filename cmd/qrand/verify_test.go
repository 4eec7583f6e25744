package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/qrand"
	"example.com/qrand/provenance"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// claimed makes a key from the blocks of a service that calls them quantum entropy. It
// returns the folder of the file "key", its record, and the URL of the service.
func claimed(t *testing.T) (dir string, record provenance.Record, url string) {
	t.Helper()
	server := serveUnlabelled(t, func(int, http.Header) {})
	dir = keygenIn(t, "ed25519", "-o", "DIR/key", "--require", "fresh")
	return dir, readRecord(t, dir), server.URL
}

func readRecord(t *testing.T, dir string) provenance.Record {
	t.Helper()
	data, err := os.ReadFile(dir + "/key" + recordSuffix)
	if err != nil {
		t.Fatal(err)
	}
	record, err := provenance.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// verify writes a record for the key in dir, verifies it, and returns the outcome. That is
// the same for people and as JSON.
func verify(t *testing.T, dir, record string, args ...string) (status int, problem, out string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "record")
	if err := os.WriteFile(path, []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"verify", dir + "/key.pub", "--provenance", path}, args...)
	c, text, errs := screen(false, nil)
	status = execute(t.Context(), args, c)
	c, asJSON, _ := screen(false, nil)
	var outcome struct {
		OK      bool
		Problem string
	}
	if s := execute(t.Context(), append(args, "--json"), c); s != status {
		t.Errorf("%v: status %d, with --json %d", args, status, s)
	}
	if err := json.Unmarshal(asJSON.Bytes(), &outcome); err != nil || outcome.OK != (status == exitOK) || !strings.Contains(errs.String(), outcome.Problem) {
		t.Errorf("%v: %v: %s; for people: %s", args, err, asJSON, errs)
	}
	return status, outcome.Problem, text.String() + asJSON.String()
}

func encoded(t *testing.T, r provenance.Record) string {
	t.Helper()
	text, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestForgedRecords: of the records that people have forged by hand, verify refuses all that
// can be told from the record alone, and says why.
func TestForgedRecords(t *testing.T) {
	dir, record, url := claimed(t)
	text := encoded(t, record)
	if status, problem, out := verify(t, dir, text, "--quantum", "--endpoint", url+"/", "--endpoint", "https://another.example"); status != exitOK || problem != "" || !strings.Contains(out, "record      version 2\n") {
		t.Fatalf("the true record: status %d, %s: %s", status, problem, out)
	}
	const entropy = `  "entropy": "quantum",` + "\n"
	forge := func(change func(*provenance.Record)) string {
		r := record
		change(&r)
		text, err := json.MarshalIndent(r, "", "  ") // Encode would refuse some
		if err != nil {
			t.Fatal(err)
		}
		return string(text) + "\n"
	}
	shift := func(years time.Duration) string {
		return forge(func(r *provenance.Record) {
			for _, at := range []*time.Time{&r.Time, &r.LastBlock, &r.LastReceived} {
				*at = at.Add(years * 365 * 24 * time.Hour)
			}
		})
	}
	old, future := time.Date(2006, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(2046, 1, 2, 0, 0, 0, 0, time.UTC)
	http := strings.Replace(url, "https:", "http:", 1)
	for name, test := range map[string]struct{ text, want string }{
		"a member twice":                      {strings.Replace(text, entropy, entropy+entropy, 1), `the member "entropy" is there twice`},
		"a member again in other case":        {strings.Replace(text, entropy, entropy+strings.ToUpper(entropy), 1), `the member "ENTROPY" is there twice`},
		"a member in other case":              {strings.Replace(text, `"entropy"`, `"Entropy"`, 1), `the member "Entropy" is not in lower case`},
		"a byte after it":                     {text + "0", "after top-level value"},
		"another encoding":                    {strings.ReplaceAll(text, ": ", ":"), "the record is not as qrand writes it: other white space in line 2"},
		"made in 2006":                        {shift(-20), "before the first version of qrand"},
		"made in 2046":                        {shift(20), "a clock is wrong, or the record was not written by qrand"},
		"only its time is of 2006":            {forge(func(r *provenance.Record) { r.Time = old }), "after the key was made"},
		"a block newer than the key":          {forge(func(r *provenance.Record) { r.LastBlock = future }), "after the key was made"},
		"a block that came after it went in":  {forge(func(r *provenance.Record) { r.LastReceived = future }), "before that"},
		"RequireFresh with a block of 2006":   {forge(func(r *provenance.Record) { r.LastReceived = old }), "was older than"},
		"the same, and its age":               {forge(func(r *provenance.Record) { r.LastReceived, r.AgeSeconds = old, r.Time.Sub(old).Seconds() }), "and RequireFresh allowed 600"},
		"over plain HTTP":                     {forge(func(r *provenance.Record) { r.Endpoint, r.EndpointCertificate, r.EndpointPublicKey = http, "", "" }), `the block came from "` + http + `", and not over HTTPS`},
		"over plain HTTP, with a certificate": {forge(func(r *provenance.Record) { r.Endpoint = http }), "do not fit the endpoint"},
	} {
		if status, problem, _ := verify(t, dir, test.text, "--quantum", "--endpoint", url); status != exitFailure || !strings.Contains(problem, test.want) {
			t.Errorf("%s: status %d, %q, want %q", name, status, problem, test.want)
		}
	}
	for _, args := range [][]string{{"--quantum"}, {"--quantum", "--endpoint", "https://another.example"}} {
		if status, problem, _ := verify(t, dir, text, args...); status != exitFailure || !strings.Contains(problem, `from "`+url+`", which is not trusted: only https://a`) {
			t.Errorf("%v: status %d, %q", args, status, problem)
		}
	}
	record.Endpoint = qrypt.EndpointWEU
	if status, problem, _ := verify(t, dir, encoded(t, record), "--quantum"); status != exitOK {
		t.Errorf("Qrypt's own endpoint: status %d, %s", status, problem)
	}
}

// TestEmulatedForged: whoever writes "quantum" into the record of a rehearsal must still name
// an endpoint that the verifier trusts.
func TestEmulatedForged(t *testing.T) {
	server := serve(t, qrypttest.Config{})
	dir := keygenIn(t, "ed25519", "-o", "DIR/key", "--require", "fresh", "--rehearsal")
	record := readRecord(t, dir)
	if status, problem, _ := verify(t, dir, encoded(t, record), "--quantum", "--endpoint", server.URL); status != exitFailure || problem != "the record says that the entropy was EMULATED, not quantum" {
		t.Errorf("emulated: status %d, %s", status, problem)
	}
	record.Entropy = provenance.Quantum
	if status, problem, _ := verify(t, dir, encoded(t, record), "--quantum"); status != exitFailure || !strings.Contains(problem, "is not trusted") {
		t.Errorf("edited: status %d, %s", status, problem)
	}
}

// TestVersion1: a record of version 1 is read, and called what it is.
func TestVersion1(t *testing.T) {
	dir, record, url := claimed(t)
	record.Version, record.MaxAgeSeconds, record.EndpointCertificate, record.EndpointPublicKey = 1, 0, "", ""
	status, problem, out := verify(t, dir, encoded(t, record), "--quantum", "--endpoint", url)
	if status != exitOK || strings.Count(out, "a record of version 1: it does not say") != 2 {
		t.Errorf("status %d, %s: %s", status, problem, out)
	}
	record.LastReceived, record.AgeSeconds = record.Time.Add(-601*time.Second), 601
	if status, problem, _ := verify(t, dir, encoded(t, record), "--quantum", "--endpoint", url); status != exitFailure || !strings.Contains(problem, "601 seconds old is not fresh") {
		t.Errorf("an old block: status %d, %s", status, problem)
	}
	record.Policy = qrand.Augment
	if status, problem, _ := verify(t, dir, encoded(t, record), "--quantum", "--endpoint", url); status != exitOK {
		t.Errorf("an old block under Augment: status %d, %s", status, problem)
	}
}

// TestPlainHTTP: over plain HTTP anybody may say "quantum". The record says so, too, keygen
// notes it, and verify refuses it.
func TestPlainHTTP(t *testing.T) {
	handler := serveUnlabelled(t, func(int, http.Header) {}).Config.Handler
	server := httptest.NewServer(handler)
	defer server.Close()
	t.Setenv("QRYPT_ENDPOINTS", server.URL)
	dir := t.TempDir()
	c, out, errs := screen(false, nil)
	status := execute(t.Context(), []string{"keygen", "ed25519", "-o", dir + "/key", "--require", "fresh"}, c)
	if status != exitOK || !strings.HasSuffix(out.String(), "entropy quantum\n") || !strings.Contains(errs.String(), "the last block came over plain HTTP from "+server.URL+": nobody knows who sent it") {
		t.Errorf("status %d, %s%s", status, out, errs)
	}
	record := readRecord(t, dir)
	if record.Endpoint != server.URL || record.EndpointCertificate != "" || record.EndpointPublicKey != "" {
		t.Errorf("%+v", record)
	}
	if status, problem, _ := verify(t, dir, encoded(t, record), "--quantum"); status != exitFailure || !strings.Contains(problem, "not over HTTPS: nobody knows who sent it") {
		t.Errorf("status %d, %s", status, problem)
	}
	for _, test := range [][2]string{
		{"verify k --quantum --endpoint " + server.URL, "is not https: over plain HTTP nobody knows"},
		{"verify k --quantum --endpoint https://u:p@a.example", "user information in the URL"},
		{"verify k --endpoint https://a.example", "--endpoint is about --quantum, which is not given"},
	} {
		c, _, errs := screen(false, nil)
		if status := execute(t.Context(), strings.Fields(test[0]), c); status != exitUsage || !strings.Contains(errs.String(), test[1]) {
			t.Errorf("%s: status %d, %s", test[0], status, errs)
		}
	}
}

// TestOpenSSLSeesCertificate: the record has the digests that openssl computes of the
// certificate that the endpoint shows, and of its public key.
func TestOpenSSLSeesCertificate(t *testing.T) {
	openssl := tool(t, "openssl")
	server := serve(t, qrypttest.Config{})
	dir := keygenIn(t, "ed25519", "-o", "DIR/key")
	record := readRecord(t, dir)
	shown := openssl("s_client", "-connect", strings.TrimPrefix(server.URL, "https://"))
	if err := os.WriteFile(dir+"/shown", []byte(shown), 0o600); err != nil {
		t.Fatal(err)
	}
	openssl("x509", "-in", dir+"/shown", "-outform", "DER", "-out", dir+"/certificate")
	openssl("x509", "-in", dir+"/shown", "-noout", "-pubkey", "-out", dir+"/pem")
	openssl("pkey", "-pubin", "-in", dir+"/pem", "-outform", "DER", "-out", dir+"/spki")
	for file, got := range map[string]string{"certificate": record.EndpointCertificate, "spki": record.EndpointPublicKey} {
		if want, _, _ := strings.Cut(openssl("dgst", "-sha256", "-r", dir+"/"+file), " "); got != want || len(got) != 64 {
			t.Errorf("%s: the record has %q, openssl %q", file, got, want)
		}
	}
	_, _, out := verify(t, dir, encoded(t, record))
	if !strings.Contains(out, "endpoint    TLS certificate SHA-256 "+record.EndpointCertificate+"\n") || !strings.Contains(out, "its public key  SHA-256 "+record.EndpointPublicKey+"\n") {
		t.Error(out)
	}
}
