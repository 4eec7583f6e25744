package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
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
