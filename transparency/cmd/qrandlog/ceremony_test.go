//go:build unix

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"example.com/qrand/provenance"
	"example.com/qrand/qrypttest"
	"example.com/qrand/relay/clients"
	"example.com/qrand/transparency/internal/witnesstest"
)

// TestCeremony runs the commands of docs/ceremony.md in a rehearsal: with an emulator, a log
// and a witness, and with passphrases from files.
func TestCeremony(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the script is for Linux: it uses sha256sum")
	}
	for _, tool := range []string{"bash", "curl", "openssl", "python3"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("not run: ", err)
		}
	}
	w := witnesstest.New(t, "witness.example/1", false)
	s := newStory(t, w)
	s.buildQrand(t)
	service := qrypttest.NewServer(qrypttest.Config{Rate: -1})
	defer service.Close()
	s.write(t, "ca.pem", service.CAPEM())
	writeCertificate(t, s.path("crt"), s.path("key"))
	token, err := clients.Add(s.path("log/clients.json"), clients.Client{Name: "ceremony"})
	if err != nil {
		t.Fatal(err)
	}
	url, stop := s.serve(t)
	defer stop()

	page, err := os.ReadFile("../../../docs/ceremony.md")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := filepath.Abs("../../../docs")
	if err != nil {
		t.Fatal(err)
	}
	commands := strings.NewReplacer(
		"https://log.example/keys", url,
		"REHEARSAL= QUANTUM=--quantum", "REHEARSAL=--rehearsal QUANTUM=",
		" --quantum\n", "\n",
		" --passphrase ", " --passphrase-file passphrase ",
		" --passphrase\n", " --passphrase-file passphrase\n",
		"--sign-with alice.pem", "--sign-with alice.pem --sign-passphrase-file passphrase",
		"--with bob.pem", "--with bob.pem --passphrase-file passphrase",
		"# REFUSED: log", "|| true",
		"docs/verify.py", filepath.Join(docs, "verify.py"),
	).Replace(code(string(page)))
	preparation, script, ok := strings.Cut(commands, "KEY=root.pem\n")
	_, preparation, built := strings.Cut(preparation, "sha256sum qrand\n") // it was built above
	if !ok || !built {
		t.Fatalf("where does the script begin?\n%s", commands)
	}
	run := func(commands string) string {
		cmd := exec.Command("bash", "-euo", "pipefail", "-c", commands)
		cmd.Dir = s.dir
		cmd.Env = append(os.Environ(), "PATH="+s.dir+":"+os.Getenv("PATH"), "SSL_CERT_FILE="+s.path("crt"), "CURL_CA_BUNDLE="+s.path("crt"),
			"QRYPT_ENDPOINTS="+strings.Join(service.Endpoints(), ","), "QRYPT_TOKEN="+service.Token(), "QRYPT_CA_FILE=ca.pem")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v:\n%s\n%s", err, commands, out)
		}
		return string(out)
	}
	s.write(t, "passphrase", []byte("not on a real machine\n"))
	s.write(t, "log.token", []byte(token+"\n"))
	run(preparation)

	trust := provenance.Trust{Threshold: 2, Emulated: true, Log: &provenance.TrustedLog{
		Key: strings.Join(s.vkeys, " "), Witnesses: []provenance.TrustedWitness{{Name: "W", Key: w.VKey}}, Quorum: 1, MaxDelay: "24h",
	}}
	for _, name := range []string{"alice", "bob"} {
		public, err := os.ReadFile(s.path(name + ".pem.pub"))
		if err != nil {
			t.Fatal(err)
		}
		trust.Signers = append(trust.Signers, provenance.TrustedKey{Name: name, PublicKey: string(public)})
	}
	text, err := json.Marshal(trust)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "trust.json", text)
	s.write(t, "script.txt", []byte(script))
	s.write(t, "ceremony.json", []byte(`{"id": "2026-1", "witnesses": ["Dave"]}`))
	out := run("KEY=root.pem\n" + script)
	for _, want := range []string{"entry 0", "the key itself signed it", "2 of 2 signers", "EMULATED"} {
		if !strings.Contains(out, want) {
			t.Errorf("the script does not say %q:\n%s", want, out)
		}
	}
}

// code is what is indented on a page: commands.
func code(page string) string {
	var b strings.Builder
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "    ") {
			b.WriteString(strings.TrimLeft(line, " "))
		}
	}
	return b.String()
}

func (s *story) write(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(s.path(name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// buildQrand builds the command in the folder of the story.
func (s *story) buildQrand(t testing.TB) {
	t.Helper()
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("there is no go command to build qrand with")
	}
	build := exec.Command(goTool, "build", "-o", s.path("qrand"), "./cmd/qrand")
	build.Dir = filepath.Join("..", "..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
