package main

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
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

// scratch unpacks a module that requires this one, with the same requirements, so that
// nothing has to be looked up.
func scratch(t *testing.T, archive string) (dir string) {
	t.Helper()
	goMod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	goSum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	_, requirements, _ := strings.Cut(string(goMod), "\n")
	goMod = []byte("module scratch\n" + requirements +
		"\nrequire example.com/qrand v0.0.0\n\nreplace example.com/qrand => " + filepath.ToSlash(root) + "\n")
	dir = unpack(t, archive)
	for file, content := range map[string][]byte{"go.mod": goMod, "go.sum": goSum} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// fixes are the commands that fix, by name.
func fixes() map[string][]string {
	return map[string][]string{
		"alone": {qrandvet, "-fix", "./..."},
		"vet":   {"go", "vet", "-vettool=" + qrandvet, "-fix", "./..."},
	}
}

// TestFix: after -fix a program compiles, its keys are made from the reader, and
// there is nothing left to report; by go vet as well as stand-alone.
func TestFix(t *testing.T) {
	for name, fix := range fixes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := scratch(t, fixable)
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

// working is a program that passes its tests, and that a fix could break.
const working = `
-- curves.go --
package a

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"io"
)

var curve = elliptic.P256()

func Set(r io.Reader) (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(curve, r) }

func Params(r io.Reader) (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256().Params(), r) }

func On(c elliptic.Curve, r io.Reader) (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(c, r) }

func RSA(bits int, r io.Reader) (*rsa.PrivateKey, error) { return rsa.GenerateKey(r, bits) }

func Maybe(src io.Reader, use bool) (*rsa.PrivateKey, error) {
	var r io.Reader
	if use {
		r = src
	}
	return rsa.GenerateKey(r, 2048)
}
-- curves_test.go --
package a

import (
	"bytes"
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
)

type counter struct{ n int }

func (c *counter) Read(p []byte) (int, error) {
	c.n += len(p)
	return rand.Reader.Read(p)
}

// brainpool is a curve of RFC 5639 in form only: a copy of P-256 under another name.
func brainpool() elliptic.Curve {
	params := *elliptic.P256().Params()
	params.Name = "brainpoolP256r1"
	return &params
}

func TestKeys(t *testing.T) {
	src := new(counter)
	saved := curve
	curve = brainpool()
	defer func() { curve = saved }()
	if _, err := Set(src); err != nil {
		t.Error(err)
	}
	if _, err := Params(src); err != nil {
		t.Error(err)
	}
	if _, err := On(brainpool(), src); err != nil {
		t.Error(err)
	}
	if _, err := RSA(1096, src); err != nil {
		t.Error(err)
	}
	if _, err := Maybe(src, false); err != nil {
		t.Error(err)
	}
	if _, err := ecdh.P256().GenerateKey(bytes.NewReader(nil)); err != nil {
		t.Error(err)
	}
}
-- names.go --
package a

import (
	"crypto/ecdh"
	"io"
)

func Named(r io.Reader) (*ecdh.PrivateKey, error) { return ecdh.X25519().GenerateKey(r) }
-- names_windows.go --
package a

const qrandkeygen = "what the fix would call package keygen"
-- names_test.go --
package a

func keygen() {}
-- size/size.go --
package size

import (
	"crypto/rsa"
	"io"
)

const double = 2 * half

func Key(r io.Reader) (*rsa.PrivateKey, error) { return rsa.GenerateKey(r, double) }

func Other(r io.Reader) (*rsa.PrivateKey, error) { return rsa.GenerateKey(r, 2*once) }
-- set/set.go --
package set

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"io"
)

type reader struct{ io.Reader }

var source, other io.Reader = reader{rand.Reader}, reader{rand.Reader}

func Key() (*ecdsa.PrivateKey, error) {
	r := source
	return ecdsa.GenerateKey(elliptic.P256(), r)
}

func Other() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), other) }
-- set/set_test.go --
package set

import (
	"strings"
	"testing"
)

func TestKey(t *testing.T) {
	source = strings.NewReader("of a test")
	if _, err := Key(); err != nil {
		t.Error(err)
	}
}
-- size/once.go --
package size

const once = 1024
-- size/large.go --
//go:build !small

package size

const half = 1024
-- size/small.go --
//go:build small

package size

const half = 512
-- size/size_test.go --
package size

import (
	"crypto/rand"
	"io"
	"testing"
)

func TestKey(t *testing.T) {
	if _, err := Key(struct{ io.Reader }{rand.Reader}); err != nil {
		t.Error(err)
	}
}
-- onetest/a.go --
package onetest

import "crypto/ecdh"; import "io"; var limit = 3

func One(r io.Reader) (*ecdh.PrivateKey, error) { return ecdh.X25519().GenerateKey(r) }
-- comment/a.go --
package comment

import "crypto/ecdh"
import "io" /* a comment that
ends here */

func One(r io.Reader) (*ecdh.PrivateKey, error) { return ecdh.X25519().GenerateKey(r) }
-- tested/a.go --
package tested

import (
	"crypto/ecdh"
	"io"
)

func One(r io.Reader) (*ecdh.PrivateKey, error) { return ecdh.X25519().GenerateKey(r) }
-- tested/a_test.go --
package tested

type keygen struct{}
`

// TestFixKeepsWorking: what worked before -fix works after it, in the tests and on other
// systems, and under other build tags.
func TestFixKeepsWorking(t *testing.T) {
	for name, fix := range fixes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := scratch(t, working)
			works := func(when string) {
				t.Helper()
				for _, system := range []string{runtime.GOOS, "windows"} {
					args := []string{"vet", "./..."}
					if out, errs, status := command(t, dir, []string{"GOFLAGS=-mod=mod", "GOOS=" + system}, "go", args...); status != 0 {
						t.Errorf("%s, %s: %s%s", when, system, out, errs)
					}
				}
				for _, args := range [][]string{{"test", "./..."}, {"test", "-tags=small", "./size"}} {
					if out, errs, status := command(t, dir, []string{"GOFLAGS=-mod=mod"}, "go", args...); status != 0 {
						t.Errorf("%s, %s: %s%s", when, args, out, errs)
					}
				}
			}
			works("before")
			if out, errs, status := command(t, dir, []string{"GOFLAGS=-mod=mod"}, fix[0], fix[1:]...); status != 0 {
				t.Errorf("%s: %s%s", fix, out, errs)
			}
			works("after")
			fixed, err := os.ReadFile(filepath.Join(dir, "tested", "a.go"))
			if err != nil || !strings.Contains(string(fixed), "qrandkeygen.ECDH(ecdh.X25519(), r)") {
				t.Errorf("not fixed: %v\n%s", err, fixed)
			}
			fixed, err = os.ReadFile(filepath.Join(dir, "set", "set.go"))
			if err != nil || !strings.Contains(string(fixed), "keygen.ECDSA(elliptic.P256(), other)") {
				t.Errorf("not fixed: %v\n%s", err, fixed)
			}
			fixed, err = os.ReadFile(filepath.Join(dir, "size", "size.go"))
			if err != nil || !strings.Contains(string(fixed), "keygen.RSA(2*once, r)") {
				t.Errorf("not fixed: %v\n%s", err, fixed)
			}
		})
	}
}

// TestFixMakesNoCycle: no package that package keygen imports is made to import it.
func TestFixMakesNoCycle(t *testing.T) {
	out, errs, status := command(t, root, nil, "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./keygen")
	if status != 0 {
		t.Fatal(errs)
	}
	const file = "package keygen\n\nimport (\n\t\"crypto/ecdh\"\n\t\"io\"\n)\n\nfunc f(r io.Reader) { ecdh.P256().GenerateKey(r) }\n"
	modules := strings.Fields(out)
	slices.Sort(modules)
	for _, module := range append(slices.Compact(modules), "std", "m") {
		t.Run(module, func(t *testing.T) {
			t.Parallel()
			dir := unpack(t, "-- go.mod --\nmodule "+module+"\ngo 1.26\n-- keygen/a.go --\n"+file)
			out, errs, status := command(t, dir, nil, qrandvet, "-fix", "-diff", "./keygen")
			if fixed := strings.Contains(out, "keygen.ECDH"); fixed != (module == "m") || status != 0 {
				t.Errorf("status %d, %s%s", status, out, errs)
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
