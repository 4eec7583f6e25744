package keyfile_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/qrand/internal/built"
	"example.com/qrand/internal/keyfile"
)

// TestFIPS: whatever GODEBUG says about FIPS 140, no reader or writer panics, and none
// reads another key. What fips140=only forbids is an error that names the setting. A
// child process has the setting from its start.
func TestFIPS(t *testing.T) {
	if folder := os.Getenv("QRAND_KEYFILES"); folder != "" {
		results := map[string]string{}
		for _, k := range testKeys {
			if !k.slow {
				writeForms(k, results)
			}
		}
		files := must(filepath.Glob(filepath.Join(folder, "*")))(t)
		others := must(filepath.Glob("testdata/*/*.pem"))(t)
		for _, path := range append(files, others...) {
			pass := passphrase
			if !strings.HasPrefix(path, folder) {
				pass = []byte("correct horse")
			}
			f, err := keyfile.Parse(must(os.ReadFile(path))(t), pass)
			if err == nil {
				results["read "+path] = hex.EncodeToString(f.SPKI)
			} else {
				results["read "+path] = err.Error()
			}
		}
		if err := os.WriteFile(folder+".json", must(json.Marshal(results))(t), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	folder := filepath.Join(t.TempDir(), "keys")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, k := range testKeys {
		for _, f := range forms {
			if k.slow || tooSlow(k, f) {
				continue
			}
			key := must(k.make())(t)
			if data, err := f.make(key, must(keyfile.Public(key))(t)); err == nil {
				if err := os.WriteFile(filepath.Join(folder, k.name+" "+f.name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	under := func(godebug string) (results map[string]string) {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFIPS$")
		cmd.Env = append(os.Environ(), "GODEBUG="+godebug, "QRAND_KEYFILES="+folder)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("GODEBUG=%s: %v\n%s", godebug, err, out)
		}
		if err := json.Unmarshal(must(os.ReadFile(folder+".json"))(t), &results); err != nil {
			t.Fatal(err)
		}
		return results
	}
	byDefault := under("")
	if n := len(byDefault); n < 200 {
		t.Errorf("only %d results", n)
	}
	if built.PureGo {
		t.Skip("Go's FIPS 140-3 mode does not start in a program built with the purego tag")
	}
	for _, godebug := range []string{"fips140=on", "fips140=only"} {
		forbidden := 0
		for what, got := range under(godebug) {
			switch {
			case got == byDefault[what]:
			case godebug == "fips140=only" && strings.Contains(got, "FIPS 140-only mode (GODEBUG=fips140=only)"):
				forbidden++
			default:
				t.Errorf("GODEBUG=%s: %s: %.200s, by default %.200s", godebug, what, got, byDefault[what])
			}
		}
		if godebug == "fips140=only" && forbidden == 0 {
			t.Error("fips140=only forbids nothing: not even a salt of 8 bytes")
		}
	}
}

// tooSlow leaves one key of each encrypted form.
func tooSlow(k testKey, f form) bool {
	return strings.HasPrefix(f.name, "encrypted") && k.name != "ed448" && k.name != "ed25519"
}

// writeForms writes a key in each form, with a certificate and a request.
func writeForms(k testKey, results map[string]string) {
	key, err := k.make()
	if err != nil {
		results["make "+k.name] = err.Error()
		return
	}
	results["make "+k.name] = "made"
	public, err := keyfile.Public(key)
	if err != nil {
		results["public "+k.name] = err.Error()
		return
	}
	for _, f := range append(forms,
		form{name: "certificate", make: func(k, _ any) ([]byte, error) { return keyfile.SelfSigned(k, template, rand.Reader) }},
		form{name: "request", make: func(k, _ any) ([]byte, error) { return keyfile.Request(k, requestTemplate, rand.Reader) }},
	) {
		if tooSlow(k, f) {
			continue
		}
		result := "written"
		data, err := f.make(key, public)
		if err == nil {
			var file *keyfile.File
			if file, err = keyfile.Parse(data, passphrase); err == nil {
				spki, _ := keyfile.PublicDER(public)
				if !bytes.Equal(file.SPKI, spki) {
					result = "read as another key"
				}
			}
		}
		if err != nil {
			result = err.Error()
		}
		results["write "+k.name+" "+f.name] = result
	}
}
