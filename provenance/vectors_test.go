package provenance_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"example.com/qrand/internal/keyfile"
	"example.com/qrand/provenance"
)

var update = flag.Bool("update", false, "make testdata/vectors again, with new keys")

const vectorFolder = "testdata/vectors"

// A vector is a line of index.json, which testdata/vectors/README.md describes.
type vector struct {
	Name     string `json:"name"`
	Key      string `json:"key"`
	Trust    string `json:"trust"`
	Envelope string `json:"envelope"`
	Proof    string `json:"proof,omitempty"`
	Expect   string `json:"expect"`          // ok, refused
	About    string `json:"about,omitempty"` // of the Finding that refuses it; statement, trust: it has none
	Cause    string `json:"cause,omitempty"`
}

func vectorFile(name string) string { return filepath.Join(vectorFolder, name) }

func readVectors(t *testing.T) (all []vector) {
	t.Helper()
	if err := json.Unmarshal(must(os.ReadFile(vectorFolder+"/index.json")), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("%d vectors", len(all))
	}
	return all
}

// TestVectors: what Trust.Verify says of each vector is what its index says, for that cause.
func TestVectors(t *testing.T) {
	if *update {
		makeVectors(t)
	}
	for _, v := range readVectors(t) {
		about, err := v.verify()
		if (err == nil) != (v.Expect == "ok") || about != v.About || (v.Cause == "") != (err == nil) {
			t.Errorf("%s: refused about %q: %v; the index says %s, %q: %s", v.Name, about, err, v.Expect, v.About, v.Cause)
		}
		t.Logf("%-32s %-11s %v", v.Name, about, err)
	}
}

// verify returns the error of the first Finding that is refused, and what that is about.
func (v vector) verify() (about string, err error) {
	trust, err := provenance.ParseTrust(must(os.ReadFile(vectorFile(v.Trust))))
	if err != nil {
		return "trust", err
	}
	e, err := provenance.ParseEnvelope(must(os.ReadFile(vectorFile(v.Envelope))))
	if err != nil {
		return "statement", err
	}
	key := must(keyfile.Parse(must(os.ReadFile(vectorFile(v.Key))), nil))
	evidence := provenance.Evidence{Envelope: e, PublicKey: key.SPKI, Certificate: key.DER}
	if v.Proof != "" {
		evidence.Proof = must(os.ReadFile(vectorFile(v.Proof)))
	}
	r, err := trust.Verify(evidence, time.Now())
	if i := slices.IndexFunc(r.Findings, func(f provenance.Finding) bool { return f.Verdict == provenance.Refused }); i >= 0 {
		if about = r.Findings[i].About; about == "receipt" || about == "upstream" {
			about = "receipts"
		}
		return about, err
	}
	if err != nil {
		return "statement", err
	}
	return "", nil
}

// TestVectorSums: the sums are those of the files, and signed with the key in the README.
func TestVectorSums(t *testing.T) {
	sums := must(os.ReadFile(vectorFolder + "/SHA256SUMS"))
	block, _ := pem.Decode(regexp.MustCompile("(?s)-----BEGIN.*?-----END PUBLIC KEY-----\n").Find(must(os.ReadFile(vectorFolder + "/README.md"))))
	key := must(x509.ParsePKIXPublicKey(block.Bytes)).(ed25519.PublicKey)
	if !ed25519.Verify(key, sums, must(os.ReadFile(vectorFolder+"/SHA256SUMS.sig"))) {
		t.Error("SHA256SUMS.sig is not the signature of SHA256SUMS with the key in the README")
	}
	if got := sumsOf(t); got != string(sums) {
		t.Errorf("the files have other sums:\n%s", got)
	}
}

// sumsOf has a line for each file, as sha256sum writes it, but for those that are about the sums.
func sumsOf(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, path := range must(filepath.Glob(vectorFolder + "/*")) {
		if name := filepath.Base(path); name != "README.md" && !strings.HasPrefix(name, "SHA256SUMS") {
			fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(must(os.ReadFile(path))), name)
		}
	}
	return b.String()
}

// verifyPy runs docs/verify.py, and returns its status and what it printed.
func verifyPy(t *testing.T, args ...string) (status int, out string) {
	t.Helper()
	text, err := exec.CommandContext(t.Context(), "python3", append([]string{"../docs/verify.py"}, args...)...).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), string(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, string(text)
}

func needVerifyPy(t *testing.T) {
	t.Helper()
	for _, program := range []string{"python3", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s here, which docs/verify.py needs", program)
		}
	}
}

// skipUnknown skips the test if docs/verify.py said that it cannot check a signature of such
// a key here. The key must be one of those for which the program may say so.
func skipUnknown(t *testing.T, name, out string) {
	t.Helper()
	lacks := strings.Contains(out, "ModuleNotFoundError") || strings.Contains(out, "UnsupportedAlgorithm")
	if lacks && strings.Contains(out, "this openssl cannot check") && (strings.Contains(name, "ml-dsa") || strings.Contains(name, "slh-dsa")) {
		t.Skipf("not checked here: %s", out)
	}
}

// forks runs a program of Python for each line of arguments. It forks, because to start Python
// takes longer than all that the program does.
const forks = `
import base64, calendar, decimal, hashlib, json, os, pathlib, re, runpy, subprocess, sys, tempfile
for line in sys.stdin:
    with tempfile.TemporaryFile() as out:
        pid = os.fork()
        if pid == 0:
            os.dup2(out.fileno(), 1), os.dup2(out.fileno(), 2)
            sys.argv = json.loads(line)
            sys.path.insert(0, os.path.dirname(sys.argv[0]))
            runpy.run_path(sys.argv[0], run_name="__main__")
            sys.exit()
        status = os.WEXITSTATUS(os.waitpid(pid, 0)[1])
        out.seek(0)
        print(json.dumps({"status": status, "out": out.read().decode()}))
`

// TestVerifyPy: docs/verify.py accepts each vector that is good, and refuses the others.
func TestVerifyPy(t *testing.T) {
	needVerifyPy(t)
	var lines bytes.Buffer
	all := readVectors(t)
	for _, v := range all {
		args := []string{"../docs/verify.py", vectorFile(v.Key), vectorFile(v.Trust), vectorFile(v.Envelope)}
		if v.Proof != "" {
			args = append(args, vectorFile(v.Proof))
		}
		lines.Write(append(must(json.Marshal(args)), '\n'))
	}
	c := exec.CommandContext(t.Context(), "python3", "-c", forks)
	c.Stdin = &lines
	verdicts := json.NewDecoder(bytes.NewReader(must(c.Output())))
	for _, v := range all {
		t.Run(v.Name, func(t *testing.T) {
			var verdict struct {
				Status int
				Out    string
			}
			if err := verdicts.Decode(&verdict); err != nil {
				t.Fatal(err)
			}
			skipUnknown(t, v.Name+v.Trust, verdict.Out)
			checkVerdict(t, v.Expect == "ok", verdict.Status, verdict.Out)
		})
	}
}

// checkVerdict: a program that read the output or the status alone would know the verdict.
func checkVerdict(t *testing.T, ok bool, status int, out string) {
	t.Helper()
	if (status == 0) != ok || status > 1 || strings.Contains(out, "OK: ") != ok || strings.Contains(out, "REFUSED: ") == ok {
		t.Errorf("status %d; good: %v:\n%s", status, ok, out)
	}
}

// TestVerifyPySize: an auditor has to read it.
func TestVerifyPySize(t *testing.T) {
	for _, file := range []string{"verify.py", "verify_log.py"} {
		lines := strings.Split(string(must(os.ReadFile("../docs/"+file))), "\n")
		if len(lines) >= 150 || slices.ContainsFunc(lines, func(l string) bool { return utf8.RuneCountInString(l) > 120 }) {
			t.Errorf("docs/%s has %d lines, or one of more than 120 columns", file, len(lines))
		}
	}
}

// TestVerifyPyFresh: docs/verify.py accepts a statement about each kind of key, and none in
// which a byte of the payload, the envelope or the proof was changed.
func TestVerifyPyFresh(t *testing.T) {
	needVerifyPy(t)
	trust := provenance.Trust{Signers: trusted("alice"), Threshold: 1}
	write := func(dir, name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for kind := range made {
		if kind == "alice" || kind == "bob" || kind == "mallory" {
			continue
		}
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			key := write(dir, "k.pem.pub", keyfile.PEM(keyfile.KindPublic, spki(kind)))
			write(dir, "k.pem.provenance.dsse.json", must(signed(t, statement(kind), "alice").Encode()))
			status, out := verifyPy(t, key, write(dir, "trust", must(json.Marshal(trust))))
			skipUnknown(t, kind, out)
			possession := "; the key itself signed it, too"
			if !statement(kind).SelfSigned {
				possession = "; the key itself did not"
			}
			if status != 0 || !strings.Contains(out, possession) {
				t.Errorf("status %d, want 0 and %q:\n%s", status, possession, out)
			}
		})
	}

	key, trustFile := vectorFile("ecdsa-p256.pub"), vectorFile("trust-log.json")
	envelope, proof := must(os.ReadFile(vectorFile("logged-after.provenance.dsse.json"))), must(os.ReadFile(vectorFile("logged-after.provenance.tlog-proof")))
	e := must(provenance.ParseEnvelope(envelope))
	changed := func(name string, envelope, proof []byte) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(dir, "k.provenance.tlog-proof", proof)
			status, out := verifyPy(t, key, trustFile, write(dir, "k.provenance.dsse.json", envelope))
			checkVerdict(t, false, status, out)
		})
	}
	flipped := func(data []byte, i int) []byte {
		data = bytes.Clone(data)
		data[i] ^= 1 << (i % 8)
		return data
	}
	for i := 0; i < len(e.Payload); i += 433 {
		c := e
		c.Payload = flipped(e.Payload, i)
		changed(fmt.Sprintf("payload/%d", i), append(must(json.Marshal(c)), '\n'), proof)
	}
	for i := 0; i < len(envelope); i += 1409 {
		changed(fmt.Sprintf("envelope/%d", i), flipped(envelope, i), proof)
	}
	// Not the signature of the stranger at the end, whose bytes mean nothing to anybody.
	for i := 0; i < bytes.LastIndex(proof, []byte("— ")); i += 211 {
		changed(fmt.Sprintf("proof/%d", i), envelope, flipped(proof, i))
	}
}

// TestVerifyPyFiles: docs/verify.py waits for no pipe, names what is no file, and a key in
// another form than PEM.
func TestVerifyPyFiles(t *testing.T) {
	needVerifyPy(t)
	dir := t.TempDir()
	ssh := filepath.Join(dir, "id.pub")
	if err := os.WriteFile(ssh, []byte("ecdsa-sha2-nistp256 AAAA somebody\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out := verifyPy(t, ssh, vectorFile("trust-log.json"), vectorFile("logged.provenance.dsse.json")); status != 1 || out != "REFUSED: not in PEM: "+ssh+"\n" {
		t.Errorf("a key of OpenSSH: status %d:\n%s", status, out)
	}
	pipe := filepath.Join(dir, "pipe")
	if out, err := exec.CommandContext(t.Context(), "mkfifo", pipe).CombinedOutput(); err != nil {
		t.Skipf("there are no pipes in folders here: %v: %s", err, out)
	}
	for _, path := range []string{pipe, dir, filepath.Join(dir, "none")} {
		for i := range 4 {
			args := []string{vectorFile("ecdsa-p256.pub"), vectorFile("trust-log.json"), vectorFile("logged.provenance.dsse.json"), vectorFile("logged.provenance.tlog-proof")}
			args[i] = path
			if status, out := verifyPy(t, args...); status != 1 || !strings.HasSuffix(out, "REFUSED: no file: "+path+"\n") {
				t.Errorf("argument %d is %s: status %d:\n%s", i, path, status, out)
			}
		}
	}
}
