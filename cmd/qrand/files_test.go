package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/qrand/internal/relaycmd"
	"example.com/qrand/qrypt"
)

// noService lets a command make its bytes from crypto/rand alone, at once.
func noService(t *testing.T) {
	t.Helper()
	for name, value := range map[string]string{qrypt.EnvEndpoints: "http://127.0.0.1:1", qrypt.EnvToken: "token-of-nobody-0123456789", qrypt.EnvTokenFile: "", qrypt.EnvDialect: "", qrypt.EnvCAFile: ""} {
		t.Setenv(name, value)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// TestNoKeyAfterFailure: a key whose SHA-256 could not be told is not left behind.
func TestNoKeyAfterFailure(t *testing.T) {
	noService(t)
	dir := t.TempDir()
	c, _, errs := screen(false, nil)
	c.out = brokenWriter{}
	status := execute(t.Context(), []string{"keygen", "ed25519", "--wait", "0s", "-o", filepath.Join(dir, "key")}, c)
	left, err := os.ReadDir(dir)
	if status != exitFailure || !strings.Contains(errs.String(), "no key: telling its SHA-256: no space left") || err != nil || len(left) > 0 {
		t.Errorf("status %d, files %v, %v: %s", status, left, err, errs)
	}
}

// TestNoTokenAfterFailure: a relay or an emulator that could not say where it is leaves no
// file with its token behind.
func TestNoTokenAfterFailure(t *testing.T) {
	noService(t)
	for _, args := range []string{"relay --dev --listen 127.0.0.1:0", "emulate"} {
		dir := t.TempDir()
		t.Setenv(relaycmd.EnvClients, filepath.Join(dir, "none.json"))
		c, _, errs := screen(false, nil)
		c.out = brokenWriter{}
		status := execute(t.Context(), append(strings.Fields(args), "--ca-file", filepath.Join(dir, "ca.pem"), "--env-file", filepath.Join(dir, "env")), c)
		if _, err := os.Stat(filepath.Join(dir, "env")); status != exitFailure || !errors.Is(err, os.ErrNotExist) || !strings.Contains(errs.String(), "no space left") {
			t.Errorf("%s: status %d, env %v: %s", args, status, err, errs)
		}
	}
}
