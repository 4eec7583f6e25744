package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"example.com/qrand/internal/keyfile"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "32": 32, " 32 ": 32, "32B": 32, "4KiB": 4096, "4 KiB": 4096, "4kib": 4096, "10MB": 10_000_000,
		"1.5KiB": 1536, "1GiB": 1 << 30, "0.5GiB": 1 << 29, ".5kB": 500, "4EiB": 1 << 62,
		"9007199254740993":    1<<53 + 1, // no float64
		"4611686018427387904": 1 << 62,
	} {
		if n, err := parseSize(text); err != nil || n != want {
			t.Errorf("parseSize(%q) = %d, %v, want %d", text, n, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                    "not a size",
		"many":                "not a size",
		".":                   "not a size",
		"1.2.3":               "not a size",
		"1,000":               "no unit",
		"1e3":                 "no unit",
		"-1":                  "negative",
		"-1KiB":               "negative",
		"3 parsecs":           "no unit",
		"0":                   "at least one",
		"0KiB":                "at least one",
		"1.5":                 "whole number",
		"0.3KiB":              "whole number",
		"4611686018427387905": "too large",
		"5EiB":                "too large",
		"99999999999EiB":      "too large",
		"NaN":                 "not a size",
		"Inf":                 "not a size",
		"+5":                  "not a size",
		"0x10":                "no unit",
		"٣":                   "not a size",
	} {
		if n, err := parseSize(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseSize(%q) = %d, %v, want an error with %q", text, n, err, want)
		}
	}
}

// TestNamesFlag: no name of a list is lost.
func TestNamesFlag(t *testing.T) {
	for text, want := range map[string]string{
		"a": "a", "a,b": "a|b", "a\nb,c\n": "a|b|c", "a\r\nb\r\n": "a|b", `"urn:x:1,2",b`: "urn:x:1,2|b", "a,": "a|", "": "no name", "\n": "no name", `a"b`: "commas between",
	} {
		c := certificateOptions{}
		cmd := new(cobra.Command)
		c.addTo(cmd)
		err := cmd.ParseFlags([]string{"--san", text})
		if got := strings.Join(c.names, "|"); err != nil && !strings.Contains(err.Error(), want) || err == nil && got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	var n namesFlag
	if n.Set("a") != nil || n.Set("b,c") != nil || n.String() != "a,b,c" {
		t.Errorf("given twice: %q", n)
	}
}

// TestReadSecret: a pipe and a file are read to their end, and no more than a secret has.
func TestReadSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write := func(n int) {
		if err := os.WriteFile(path, make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []int{0, 1, keyfile.MaxSize} {
		write(n)
		if data, err := readSecret(path); err != nil || len(data) != n {
			t.Errorf("%d bytes of %d, %v", len(data), n, err)
		}
	}
	write(keyfile.MaxSize + 1)
	for _, args := range [][]string{{"--fingerprint-key", path}, {"--passphrase-file", path}} {
		c, _, errs := screen(false, nil)
		if status := execute(t.Context(), append([]string{"keygen", "ed25519"}, args...), c); status != exitFailure || !strings.Contains(errs.String(), args[0]+": "+path+" has more than 1048576 bytes: no secret is that large") {
			t.Errorf("%s: status %d, %s", args[0], status, errs)
		}
	}
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no named pipes in folders")
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if out, err := exec.Command("mkfifo", pipe).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	go os.WriteFile(pipe, []byte("correct horse"), 0o600)
	if data, err := readSecret(pipe); err != nil || string(data) != "correct horse" {
		t.Errorf("%q, %v", data, err)
	}
}

func FuzzParseSize(f *testing.F) {
	for _, seed := range []string{"32", "1.5KiB", "4EiB", "-1", "1,000", "999999999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := parseSize(text); err == nil && (n < 1 || n > maxSize) {
			t.Errorf("parseSize(%q) = %d", text, n)
		}
	})
}
