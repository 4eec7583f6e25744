package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "example.com/qrand/keygen" // so that what it imports is there when a module is built offline
)

// fixable is a program that tells how many bytes are read from its reader.
const fixable = `
-- main.go --
package main

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"log"
)

type counter struct{ n int }

func (c *counter) Read(p []byte) (int, error) {
	c.n += len(p)
	return rand.Reader.Read(p)
}

func main() {
	src := new(counter)
	if _, err := ecdsa.GenerateKey(elliptic.P256(), src); err != nil {
		log.Fatal(err)
	}
	if _, err := ecdh.X25519().GenerateKey(src); err != nil {
		log.Fatal(err)
	}
	if _, err := rsa.GenerateKey(src, 2048); err != nil {
		log.Fatal(err)
	}
	fmt.Println(src.n)
}
-- main_test.go --
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"testing"
)

func TestKey(t *testing.T) {
	src := new(counter)
	if _, err := ecdsa.GenerateKey(elliptic.P256(), src); err != nil || src.n != 32 {
		t.Error(src.n, err)
	}
}
`

// TestFix: after -fix a program compiles, its keys are made from the reader, and
// there is nothing left to report; by go vet as well as stand-alone.
func TestFix(t *testing.T) {
	goMod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	goSum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	// The requirements of this module are the scratch module's too, so that
	// nothing has to be looked up.
	_, requirements, _ := strings.Cut(string(goMod), "\n")
	goMod = []byte("module scratch\n" + requirements +
		"\nrequire example.com/qrand v0.0.0\n\nreplace example.com/qrand => " + filepath.ToSlash(root) + "\n")
	for name, fix := range map[string][]string{
		"alone": {qrandvet, "-fix", "./..."},
		"vet":   {"go", "vet", "-vettool=" + qrandvet, "-fix", "./..."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := unpack(t, fixable)
			for file, content := range map[string][]byte{"go.mod": goMod, "go.sum": goSum} {
				if err := os.WriteFile(filepath.Join(dir, file), content, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			must := func(want string, args ...string) {
				t.Helper()
				out, errs, status := command(t, dir, []string{"GOFLAGS=-mod=mod"}, args[0], args[1:]...)
				if status != 0 || out != want {
					t.Fatalf("%s: status %d, printed %q, want %q\n%s", args, status, out, want, errs)
				}
			}
			must("0\n", "go", "run", ".")
			must("", fix...)
			must("128\n", "go", "run", ".") // 32 for ECDSA, 32 for X25519, 64 for RSA
			must("", qrandvet, "./...")
			main, err := os.ReadFile(filepath.Join(dir, "main.go"))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(main), `"crypto/rsa"`) || !strings.Contains(string(main), `"example.com/qrand/keygen"`) {
				t.Errorf("the imports are not right:\n%s", main)
			}
			if out, errs, status := command(t, dir, []string{"GOFLAGS=-mod=mod"}, "go", "test", "."); status != 0 {
				t.Errorf("go test: %s%s", out, errs)
			}
		})
	}
}

// TestFixedFilesCompile: so do the golden files of package ignoredreader, which
// have the odd cases.
func TestFixedFilesCompile(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("ignoredreader/testdata")); err != nil {
		t.Fatal(err)
	}
	golden, err := filepath.Glob(filepath.Join(dir, "fixed", "*.golden"))
	if err != nil || len(golden) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, name := range golden {
		if err := os.Rename(name, strings.TrimSuffix(name, ".golden")); err != nil {
			t.Fatal(err)
		}
	}
	if out, errs, status := command(t, dir, nil, "go", "build", "./fixed"); status != 0 {
		t.Error(out, errs)
	}
}
