package ignoredreader

import (
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/token"
	"go/version"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/tools/go/analysis"
)

// A setting is what decides the defaults of GODEBUG for a program.
type setting struct {
	goVersion string            // of a go line; empty: that of the go command
	godebug   map[string]string // from the godebug lines of go.mod, go.work and Go files
}

// firstIgnoring is the first Go 1.N in which readers are ignored.
const firstIgnoring = 26

// ignoresReaders reports whether a program with this setting ignores readers. The key
// cryptocustomrand wins over a default, wherever the two stand, and a default over a go
// line.
func (s setting) ignoresReaders() bool {
	if value, ok := s.godebug["cryptocustomrand"]; ok {
		return value != "1"
	}
	v := s.goVersion
	if value, ok := s.godebug["default"]; ok {
		v = strings.TrimPrefix(value, "go")
	}
	// The go command compares only the N of 1.N and 1.N.P. A version such as 1.25rc1
	// counts as the newest there, and so it does here.
	minor, ok := strings.CutPrefix(v, "1.")
	if !ok {
		return true
	}
	minor, _, _ = strings.Cut(minor, ".")
	n, err := strconv.Atoi(minor)
	return err != nil || n >= firstIgnoring
}

// assumed is the flag -go.
var assumed string

func init() {
	Analyzer.Flags.Func("go", "assume a main module with this go `version`, such as 1.26, and no godebug lines,\n"+
		"in place of what go.mod and go.work say (for libraries, which others build)", func(s string) error {
		s = strings.TrimPrefix(s, "go")
		if !version.IsValid("go" + s) {
			return errors.New("want a version of Go, such as 1.26")
		}
		assumed = s
		return nil
	})
}

// Settings describes what the go.mod and go.work files of a directory say about readers, in one of
// few ways. It is for caches of results: go vet does not know that Analyzer reads these files, so a
// vettool should make it part of the version that it prints for -V=full.
func Settings(dir string) string {
	s, err := moduleSetting(dir)
	custom, ok := s.godebug["cryptocustomrand"]
	delete(s.godebug, "cryptocustomrand") // which //go:debug lines of a package can set anew
	return fmt.Sprintf("%t %t %t %v", ok, custom == "1", s.ignoresReaders(), err)
}

// environment returns what the go command goes by in a directory: its own environment, and
// what go env -w has written. Without a go command it is the environment alone.
func environment(dir string) (flags, mode, work string) {
	cmd := exec.Command("go", "env", "GOFLAGS", "GO111MODULE", "GOWORK")
	cmd.Dir = dir
	if out, err := cmd.Output(); err == nil {
		if lines := strings.Split(string(out), "\n"); len(lines) >= 3 {
			return lines[0], lines[1], strings.TrimSpace(lines[2])
		}
	}
	if work = os.Getenv("GOWORK"); work == "" {
		work = above(dir, "go.work")
	}
	return os.Getenv("GOFLAGS"), os.Getenv("GO111MODULE"), work
}

// moduleSetting reads go.work if one is in force, and go.mod otherwise, as the go command
// does. With a go.work, no godebug line of a go.mod counts.
func moduleSetting(dir string) (setting, error) {
	if assumed != "" {
		return newSetting(assumed, nil), nil
	}
	flags, mode, work := environment(dir)
	if mode == "off" {
		return newSetting("1.20", nil), nil
	}
	if work != "" && work != "off" {
		data, err := os.ReadFile(work)
		if err != nil {
			return setting{}, err
		}
		file, err := modfile.ParseWork(work, data, anyVersion)
		if err != nil {
			return setting{}, err
		}
		return newSetting(goLine(file.Go, "1.18"), file.Godebug), nil
	}
	mod := above(dir, "go.mod")
	if mod == "" {
		return newSetting("", nil), nil // as for go run x.go
	}
	if other := modFile(flags); other != "" {
		// The go command was started where the file is, which may be above dir.
		if !filepath.IsAbs(other) {
			other = above(dir, other)
		}
		if other == "" {
			return setting{}, fmt.Errorf("GOFLAGS has -modfile=%s, which is not in %s or above: write its whole path", modFile(flags), dir)
		}
		mod = other
	}
	data, err := os.ReadFile(mod)
	if err != nil {
		return setting{}, err
	}
	file, err := modfile.Parse(mod, data, anyVersion)
	if err != nil {
		return setting{}, err
	}
	return newSetting(goLine(file.Go, "1.16"), file.Godebug), nil
}

// modFile returns the value of -modfile in GOFLAGS, where spaces are between the flags, and a
// flag with spaces is in quotes of one of the two kinds.
func modFile(flags string) (file string) {
	for flags = strings.TrimSpace(flags); flags != ""; flags = strings.TrimSpace(flags) {
		var flag string
		if quote := flags[:1]; quote == "'" || quote == `"` {
			flag, flags, _ = strings.Cut(flags[1:], quote)
		} else {
			flag, flags, _ = strings.Cut(flags, " ")
		}
		if value, ok := strings.CutPrefix("-"+strings.TrimLeft(flag, "-"), "-modfile="); ok {
			file = value
		}
	}
	return file
}

func newSetting(goVersion string, godebug []*modfile.Godebug) setting {
	s := setting{goVersion, map[string]string{}}
	for _, g := range godebug {
		s.godebug[g.Key] = g.Value
	}
	return s
}

func goLine(line *modfile.Go, otherwise string) string {
	if line == nil {
		return otherwise
	}
	return line.Version
}

// anyVersion accepts all versions in a go.mod, such as branches: they do not matter here.
func anyVersion(_, version string) (string, error) { return version, nil }

// above finds a file in dir or the nearest directory above it.
func above(dir, name string) string {
	for {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

// settingOf returns the setting of the program that the file belongs to. That is the program
// of a package main, and the test binary of a _test.go file. For other files it is a
// program that has only the settings of go.mod and go.work.
func settingOf(pass *analysis.Pass, file *ast.File) (setting, error) {
	name, err := filepath.Abs(nameOf(pass.Fset, file))
	if err != nil {
		return setting{}, fmt.Errorf("ignoredreader: %w", err)
	}
	dir := filepath.Dir(name)
	s, err := moduleSetting(dir)
	if err != nil {
		return setting{}, fmt.Errorf("ignoredreader: reading the settings of the module: %w", err)
	}
	test := isTest(name)
	if test {
		// The directives of a test binary may be in files of another package: package p
		// and package p_test are in the same binary.
		p, _ := build.ImportDir(dir, 0) // an error leaves what could be read
		for _, list := range [][]build.Directive{p.Directives, p.TestDirectives, p.XTestDirectives} {
			for _, d := range list {
				s.apply(d.Text)
			}
		}
	}
	if test || pass.Pkg.Name() == "main" {
		for _, f := range pass.Files {
			if !test && isTest(nameOf(pass.Fset, f)) {
				continue
			}
			for _, text := range directives(f) {
				s.apply(text)
			}
		}
	}
	return s, nil
}

// nameOf returns the name of the file, not the one that a //line comment gives it. For a
// file that cgo has rewritten elsewhere it is that of the original, which cgo gives in a
// //line comment above line 4.
func nameOf(fset *token.FileSet, file *ast.File) string {
	tf := fset.File(file.FileStart)
	if len(file.Comments) > 0 && file.Comments[0].List[0].Text == "// Code generated by cmd/cgo; DO NOT EDIT." && tf.LineCount() >= 4 {
		return fset.Position(tf.LineStart(4)).Filename
	}
	return tf.Name()
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }

// directives returns the comments before the package clause.
func directives(file *ast.File) (texts []string) {
	for _, group := range file.Comments {
		if group.Pos() >= file.Package {
			break
		}
		for _, comment := range group.List {
			texts = append(texts, comment.Text)
		}
	}
	return texts
}

// apply lets a //go:debug line override earlier ones, unless the go command would skip it.
func (s setting) apply(text string) {
	rest, ok := strings.CutPrefix(text, "//go:debug")
	if !ok || rest == "" || !strings.ContainsAny(rest[:1], " \t") {
		return
	}
	key, value, ok := strings.Cut(strings.TrimSpace(rest), "=")
	if !ok || strings.ContainsAny(key+value, " \t,") || key == "default" && !version.IsValid(value) {
		return
	}
	s.godebug[key] = value
}
