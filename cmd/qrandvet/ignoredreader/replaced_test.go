package ignoredreader

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestStandard: no package of the standard library keeps rand.Reader in a variable.
func TestStandard(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}\t{{.GoFiles}}\t{{.Imports}}", "std").Output()
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for line := range strings.Lines(string(out)) {
		dir, rest, _ := strings.Cut(strings.TrimSpace(line), "\t")
		files, imports, _ := strings.Cut(rest, "\t")
		if !slices.Contains(strings.Fields(strings.Trim(imports, "[]")), "crypto/rand") {
			continue
		}
		for _, name := range strings.Fields(strings.Trim(files, "[]")) {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			read++
			for _, decl := range file.Decls {
				if f, ok := decl.(*ast.FuncDecl); ok && f.Name.Name != "init" {
					continue
				}
				ast.Inspect(decl, func(n ast.Node) bool {
					if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Reader" {
						if p, ok := s.X.(*ast.Ident); ok && strings.HasSuffix(p.Name, "rand") {
							t.Errorf("%s/%s keeps it", dir, name)
						}
					}
					return true
				})
			}
		}
	}
	if read < 20 {
		t.Errorf("%d files: are they found?", read)
	}
}

// TestOfRand: ofRand has what crypto/rand needs on each system. A package that it lacks would be
// taken for one that is initialized later than it is.
func TestOfRand(t *testing.T) {
	for _, system := range []string{"linux", "windows", "darwin", "freebsd", "plan9", "js"} {
		arch := "amd64"
		if system == "js" {
			arch = "wasm"
		}
		cmd := exec.Command("go", "list", "-deps", "crypto/rand")
		cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range strings.Fields(string(out)) {
			if path > replacePath && !ofRand[path] && !strings.Contains(path, "internal") && !strings.HasPrefix(path, "vendor/") {
				t.Errorf("%s: crypto/rand needs %s", system, path)
			}
		}
	}
}
