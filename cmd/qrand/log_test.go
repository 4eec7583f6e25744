package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"example.com/qrand/internal/logtest"
	"example.com/qrand/qrypttest"
)

// TestInterruptedLog: a key stays if Ctrl-C comes while its statement is being logged.
func TestInterruptedLog(t *testing.T) {
	serve(t, qrypttest.Config{Rate: -1})
	alice, _ := person(t, "alice", "ed25519")
	ctx, cancel := context.WithCancel(t.Context())
	log := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			io.Copy(io.Discard, r.Body)
			cancel()
			<-r.Context().Done() // the client hangs up
		case strings.HasPrefix(r.URL.Path, "/proof/"):
			w.WriteHeader(http.StatusNotFound)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer log.Close()
	c, _, errs := screen(false, nil)
	key := filepath.Join(t.TempDir(), "k")
	status := execute(ctx, []string{"keygen", "ed25519", "-o", key, "--sign-with", alice, "--log", log.URL}, c)
	want := regexp.MustCompile(`qrand: pending: the key and its statement are complete: for the proof, run qrand record prove [^ ]*/k.provenance.dsse.json --log http://127.0.0.1:\d+\nqrand: interrupted\n$`)
	if !want.MatchString(errs.String()) || status != exitFailure {
		t.Errorf("status %d: %s", status, errs)
	}
	for _, suffix := range []string{"", ".pub", recordSuffix, statementSuffix} {
		if _, err := os.Stat(key + suffix); err != nil {
			t.Error(err)
		}
	}
	c, _, errs = screen(false, nil)
	if status := execute(ctx, []string{"record", "prove", key, "--log", log.URL}, c); status != exitFailure || errs.String() != "qrand: interrupted\n" {
		t.Errorf("record prove: status %d: %s", status, errs)
	}
}

// TestProofWritable: no log is asked for a proof that could not be written.
func TestProofWritable(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has a folder that nobody can write into, and that leads to a statement: /proc/self/fd")
	}
	serve(t, qrypttest.Config{Rate: -1})
	alice, _ := person(t, "alice", "ed25519")
	log := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the log was asked") }))
	defer log.Close()
	key := filepath.Join(t.TempDir(), "k")
	c, _, errs := screen(false, nil)
	if status := execute(t.Context(), []string{"keygen", "ed25519", "-o", key, "--sign-with", alice}, c); status != exitOK {
		t.Fatalf("status %d: %s", status, errs)
	}
	f, err := os.Open(key + statementSuffix)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	statement := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	c, _, errs = screen(false, nil)
	if status := execute(t.Context(), []string{"record", "prove", statement, "--log", log.URL}, c); status != exitFailure || !strings.Contains(errs.String(), statement+proofSuffix+": ") {
		t.Errorf("status %d: %s", status, errs)
	}
}

// TestTooLargeToLog: no key is made if no log takes its statement, nor if what the log calls its
// head is none.
func TestTooLargeToLog(t *testing.T) {
	serve(t, qrypttest.Config{Rate: -1})
	alice, _ := person(t, "alice", "ed25519")
	tree := logtest.NewTree()
	large := logtest.Signed(tree.Head(0), "— log.example/keys "+base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 36<<10))+"\n")
	for head, want := range map[string]string{
		large:                      "no key: its statement would have ",
		"<html>log in here</html>": " answers is not a checkpoint: it is not a signed note: is it the address of a log?",
		strings.Replace(large, "log.example/keys\n0", "log.example/keys\n00", 1): "answers is not a checkpoint: bad size or hash",
	} {
		log := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(head)) }))
		dir := t.TempDir()
		c, _, errs := screen(false, nil)
		status := execute(t.Context(), []string{"keygen", "ed25519", "-o", dir + "/k", "--sign-with", alice, "--log", log.URL}, c)
		log.Close()
		if files, err := os.ReadDir(dir); err != nil || len(files) > 0 || status != exitFailure || !strings.Contains(errs.String(), want) {
			t.Errorf("%.40q: status %d, %v: %s", head, status, files, errs)
		}
	}
}

// TestAfterOfAnotherLog: no key is made whose statement names a head that the log never had. With
// the log away, nobody knows.
func TestAfterOfAnotherLog(t *testing.T) {
	serve(t, qrypttest.Config{Rate: -1})
	alice, _ := person(t, "alice", "ed25519")
	log := logtest.NewServer()
	defer log.Close()
	dir := t.TempDir()
	token, after := filepath.Join(dir, "token"), filepath.Join(dir, "head")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(token, log.Token)
	keygen := func(name, head string) (status int, problem string) {
		write(after, head)
		c, _, errs := screen(false, nil)
		return execute(t.Context(), []string{"keygen", "ed25519", "-o", filepath.Join(dir, name), "--sign-with", alice, "--after", after, "--log", log.URL, "--log-token-file", token}, c), errs.String()
	}
	other, later := *logtest.NewTree("leaf"), logtest.NewTree("leaf")
	other.Origin = "log.example/others"
	const line = "— log.example/keys AAAAAAAA\n"
	for head, want := range map[string]string{
		logtest.Signed(other.Head(0), line): `no key: --after has the head of the log "log.example/others" with 0 entries, and at --log is "log.example/keys" with 0: no proof could be for both`,
		logtest.Signed(later.Head(1), line): `"log.example/keys" with 1 entries, and at --log is "log.example/keys" with 0`,
	} {
		status, problem := keygen("k", head)
		if _, err := os.Stat(filepath.Join(dir, "k")); err == nil || status != exitFailure || !strings.Contains(problem, want) {
			t.Errorf("status %d, %v: %s, want %s", status, err, problem, want)
		}
	}
	if status, problem := keygen("good", log.Head()); status != exitOK {
		t.Errorf("status %d, %s", status, problem)
	}
	log.Fail(http.StatusServiceUnavailable)
	status, problem := keygen("away", logtest.Signed(other.Head(0), line))
	if status != exitOK || !strings.Contains(problem, "pending: ") || strings.Contains(problem, "will name no head") {
		t.Errorf("with the log away: status %d, %s", status, problem)
	}
}
