package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// goMod126 requires the stub of package keygen that package ignoredreader's tests use.
func goMod126(t *testing.T) string {
	t.Helper()
	stub, err := filepath.Abs("ignoredreader/testdata/qrand")
	if err != nil {
		t.Fatal(err)
	}
	return go126 + "require example.com/qrand v0.0.0\nreplace example.com/qrand => " + filepath.ToSlash(stub) + "\n"
}

// TestLineComments: lines and files are those of the file itself, whatever its //line
// comments say, and those of the original where cgo has rewritten it. Each package has one
// call that is exempt and one that is not.
func TestLineComments(t *testing.T) {
	const imports = "import (\n\t\"crypto/rand\"\n\t\"io\"\n)\n\n"
	const calls = "func f(r io.Reader) {\n\t//qrandvet:ignore says why\n\trand.Prime(r, 64)\n\n\trand.Prime(r, 64)\n}\n"
	for _, test := range []struct{ name, files string }{
		{"lines past the end", go126 + "-- a.go --\npackage a\n\n" + imports + "//line g.y:5000\n\n" + calls},
		{"lines before", go126 + "-- a.go --\npackage a\n\n" + imports + "//line g.y:2\n" + calls},
		{"the same line for both", go126 + "-- a.go --\npackage a\n\n" + imports + strings.ReplaceAll(calls, "\n\n", "\n//line g.y:8\n\n")},
		{"cgo", go126 + "-- a.go --\npackage a\n\n// int three() { return 3; }\nimport \"C\"\n\n" + imports + "var three = C.three()\n\n" + calls},
		{"cgo in a main package", go126 + "-- debug.go --\n//go:debug default=go1.26\npackage main\nfunc main() {}\n" +
			"-- a.go --\npackage main\n\n// int three() { return 3; }\nimport \"C\"\n\n" + imports + "var three = C.three()\n\n" + calls},
		{"another module's file", go126 + "-- old/go.mod --\nmodule old\ngo 1.25\n-- a.go --\n//line old/a.y:1\npackage a\n\n" + imports + calls},
		{"a test", go125 + "-- a.go --\npackage a\n" + debugTest("a_test", "cryptocustomrand=0") +
			"-- a_test.go --\n//line a.y:1\npackage a\n\n" + imports + calls},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if strings.HasPrefix(test.name, "cgo") {
				if out, err := exec.Command("go", "env", "CGO_ENABLED").Output(); err != nil || strings.TrimSpace(string(out)) != "1" {
					t.Skip("cgo is not enabled, or has no C compiler")
				}
			}
			dir := unpack(t, test.files)
			for _, args := range [][]string{{"go", "vet", "-vettool=" + qrandvet, "."}, {qrandvet, "."}} {
				_, out, _ := command(t, dir, nil, args[0], args[1:]...)
				if n := strings.Count(out, "ignores its reader"); n != 1 || strings.Contains(out, "panic") {
					t.Errorf("%s: %d reports, want 1\n%s", args, n, out)
				}
			}
		})
	}
}

// TestFixLineComments: an import goes to where the file has its imports.
func TestFixLineComments(t *testing.T) {
	body := "func f(r io.Reader) {\n\tx := 1\n" + strings.Repeat("\t_ = x\n", 20) + "\tecdh.P256().GenerateKey(r)\n}\n"
	for name, file := range map[string]string{
		"after the imports":  "package a\n\nimport \"crypto/ecdh\"\nimport \"io\"\n//line t.qtpl:9\n" + body,
		"past the end":       "package a\n\nimport \"crypto/ecdh\"\n//line t.qtpl:500\nimport \"io\"\n\n" + body,
		"above the package":  "//line t.qtpl:9\npackage a\n\nimport \"crypto/ecdh\"\nimport \"io\"\n\n" + body,
		"within parentheses": "package a\n\nimport (\n\t\"crypto/ecdh\"\n//line t.qtpl:1\n\t\"io\"\n//line t.qtpl:1\n)\n\n" + body,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := unpack(t, goMod126(t)+"-- a.go --\n"+file)
			out, errs, status := command(t, dir, nil, qrandvet, "-fix", ".")
			if status != 0 {
				t.Fatal(out, errs)
			}
			if out, errs, status := command(t, dir, nil, "go", "vet", "."); status != 0 {
				t.Error(out, errs)
			}
			if _, out, _ := command(t, dir, nil, qrandvet, "."); out != "" {
				t.Error("not fixed:", out)
			}
		})
	}
}
