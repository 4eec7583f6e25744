package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The parts of the modules below.
const (
	program = `
-- main.go --
package main

import (
	"crypto/rand"
	"os"
)

func main() { rand.Prime(os.Stdin, 64) }
`
	library = `
-- lib.go --
package lib

import (
	"crypto/rand"
	"io"
)

func Prime(r io.Reader) { rand.Prime(r, 64) }
`
	inTest = `
-- call_test.go --
package PACKAGE

import (
	"crypto/rand"
	"os"
	"testing"
)

func TestPrime(t *testing.T) { rand.Prime(os.Stdin, 64) }
`
)

// go126 and so on are modules without more.
const (
	go126 = "-- go.mod --\nmodule m\ngo 1.26\n"
	go125 = "-- go.mod --\nmodule m\ngo 1.25\n"
)

// debug is a file of package main with a directive.
func debug(line string) string {
	return "-- debug.go --\n// Of the program.\n\n//go:debug " + line + "\n\npackage main\n"
}

// debugTest is the same for tests.
func debugTest(pkg, line string) string {
	return "-- debug_test.go --\n//go:debug " + line + "\npackage " + pkg + "\n"
}

func tests(pkg string) string { return strings.Replace(inTest, "PACKAGE", pkg, 1) }

// TestSettings: what decides whether a reader is ignored is what the go command
// says that it builds into the program, or the test, whose call it is: that is
// asked for each row, too. Each module has one call.
func TestSettings(t *testing.T) {
	for _, test := range []struct {
		name   string
		files  string
		dir    string   // where the go command runs
		env    []string // {DIR} stands for the module's directory
		test   bool     // whether the call is in a test
		target string   // empty: .
		read   bool     // whether the reader is read
	}{
		{name: "go 1.26", files: go126 + program},
		{name: "go 1.26.0", files: "-- go.mod --\nmodule m\ngo 1.26.0\n" + program},
		{name: "go 1.25", files: go125 + program, read: true},
		{name: "go 1.25.9", files: "-- go.mod --\nmodule m\ngo 1.25.9\n" + program, read: true},
		{name: "go 1.25rc1", files: "-- go.mod --\nmodule m\ngo 1.25rc1\n" + program}, // sic
		{name: "no go line", files: "-- go.mod --\nmodule m\n" + program, read: true},
		{name: "no go.mod", files: program, target: "main.go"},
		{name: "GOPATH", files: go126 + program, env: []string{"GO111MODULE=off"}, read: true},

		{name: "godebug", files: go126 + "godebug cryptocustomrand=1\n" + program, read: true},
		{name: "godebug block", files: go126 + "godebug (\n\tpanicnil=1\n\tcryptocustomrand=1\n)\n" + program, read: true},
		{name: "godebug 0", files: go125 + "godebug cryptocustomrand=0\n" + program},
		{name: "another godebug", files: go126 + "godebug panicnil=1\n" + program},
		{name: "default 1.25", files: go126 + "godebug default=go1.25\n" + program, read: true},
		{name: "default 1.21", files: go126 + "godebug default=go1.21\n" + program, read: true},
		{name: "default 1.26", files: go125 + "godebug default=go1.26\n" + program},
		{name: "a key over default", files: go126 + "godebug (\n\tdefault=go1.25\n\tcryptocustomrand=0\n)\n" + program},

		{name: "go:debug", files: go126 + program + debug("cryptocustomrand=1"), read: true},
		{name: "go:debug with a tab", files: go126 + program + debug("\tcryptocustomrand=1 "), read: true},
		{name: "go:debug too late", files: go126 + program + "-- debug.go --\npackage main\n\n//go:debug cryptocustomrand=1\n"},
		{name: "go:debug over go.mod", files: go126 + "godebug cryptocustomrand=1\n" + program + debug("cryptocustomrand=0")},
		{name: "go:debug default", files: go126 + program + debug("default=go1.24"), read: true},
		{name: "go:debug default over go.mod's", files: go126 + "godebug default=go1.24\n" + program + debug("default=go1.26")},
		{name: "go.mod's key over go:debug default", files: go126 + "godebug cryptocustomrand=1\n" + program + debug("default=go1.26"), read: true},

		{name: "go.work", files: "-- go.work --\ngo 1.26\nuse ./m\n" + within("m", go125+program), dir: "m"},
		{name: "go.work without go line", files: "-- go.work --\nuse ./m\n" + within("m", "-- go.mod --\nmodule m\ngo 1.18\n"+program), dir: "m", read: true},
		{name: "godebug of go.work", files: "-- go.work --\ngo 1.26\nuse ./m\ngodebug cryptocustomrand=1\n" + within("m", go126+program), dir: "m", read: true},
		{name: "godebug of go.mod under go.work", files: "-- go.work --\ngo 1.26\nuse ./m\n" + within("m", go126+"godebug cryptocustomrand=1\n"+program), dir: "m"},
		{name: "the same without go.work", files: "-- go.work --\ngo 1.26\nuse ./m\n" + within("m", go126+"godebug cryptocustomrand=1\n"+program), dir: "m", env: []string{"GOWORK=off"}, read: true},
		{name: "another go.work", files: "-- w/go.work --\ngo 1.26\nuse ../m\ngodebug default=go1.25\n" + within("m", go126+program), dir: "m", env: []string{"GOWORK={DIR}/w/go.work"}, read: true},
		{name: "go:debug over go.work", files: "-- go.work --\ngo 1.26\nuse ./m\ngodebug cryptocustomrand=1\n" + within("m", go126+program+debug("cryptocustomrand=0")), dir: "m"},

		{name: "-modfile", files: go126 + program + alt(go126+"godebug cryptocustomrand=1\n"), env: []string{"GOFLAGS=-modfile=alt.mod"}, read: true},
		{name: "-modfile with its whole path", files: go126 + program + alt(go125), env: []string{"GOFLAGS=-mod=mod --modfile={DIR}/alt.mod"}, read: true},
		{name: "-modfile in quotes", files: go125 + program + strings.Replace(alt(go126), "alt.mod", "a l t.mod", 1), env: []string{"GOFLAGS=-mod=mod '-modfile=a l t.mod' -v"}},
		{name: "-modfile over the main module's lines", files: go126 + "godebug cryptocustomrand=1\n" + program + alt(go126), env: []string{"GOFLAGS=-modfile=alt.mod"}},
		{name: "-modfile above the package", files: go126 + within("sub", program) + alt(go125), env: []string{"GOFLAGS=-modfile=alt.mod"}, target: "./sub", read: true},
		{name: "-modfile by go env -w", files: go126 + program + alt(go125) + "-- env --\nGOFLAGS=-modfile=alt.mod\n", env: []string{"GOFLAGS=", "GOENV={DIR}/env"}, read: true},
		{name: "GOWORK by go env -w", files: "-- go.work --\ngo 1.26\nuse ./m\n" + within("m", go125+program) + "-- env --\nGOWORK=off\n", dir: "m", env: []string{"GOENV={DIR}/env"}, read: true},

		{name: "test", files: go126 + tests("lib"), test: true},
		{name: "test, go 1.25", files: go125 + tests("lib"), test: true, read: true},
		{name: "go:debug in a test", files: go126 + tests("lib") + debugTest("lib", "cryptocustomrand=1"), test: true, read: true},
		{name: "go:debug in the other test package", files: go126 + tests("lib") + debugTest("lib_test", "cryptocustomrand=1"), test: true, read: true},
		{name: "and in the first for the other", files: go126 + tests("lib_test") + debugTest("lib", "cryptocustomrand=1"), test: true, read: true},
		{name: "go:debug of main for its test", files: go126 + "-- main.go --\npackage main\n\nfunc main() {}\n" + debug("cryptocustomrand=1") + tests("main"), test: true, read: true},
		{name: "and for its other test", files: go126 + "-- main.go --\npackage main\n\nfunc main() {}\n" + debug("cryptocustomrand=1") + tests("main_test"), test: true, read: true},
		{name: "go:debug in a test is not for the program", files: go126 + program + debugTest("main", "cryptocustomrand=1")},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			root := unpack(t, test.files)
			dir := filepath.Join(root, test.dir)
			var env []string
			for _, variable := range test.env {
				env = append(env, strings.ReplaceAll(variable, "{DIR}", root))
			}
			target := test.target
			if target == "" {
				target = "."
			}

			format := "{{if not .ForTest}}{{.ImportPath}} {{.DefaultGODEBUG}}{{end}}"
			out, errs, status := command(t, dir, env, "go", "list", "-test", "-f", format, target)
			if status != 0 {
				t.Fatal(errs)
			}
			asked, found := false, false
			for line := range strings.Lines(out) {
				path, godebug, _ := strings.Cut(strings.TrimSpace(line), " ")
				if path != "" && strings.HasSuffix(path, ".test") == test.test {
					asked, found = true, strings.Contains(","+godebug+",", ",cryptocustomrand=1,")
				}
			}
			if !asked || found != test.read {
				t.Fatalf("the go command says %v, want %v\n%s", found, test.read, out)
			}

			want := 1
			if test.read {
				want = 0
			}
			out, errs, status = command(t, dir, env, "go", "vet", "-vettool="+qrandvet, target)
			if places, _ := reports(errs); len(places) != want || (status == 0) != test.read {
				t.Errorf("%d reports, status %d, want %d reports\n%s%s", len(places), status, want, out, errs)
			}
		})
	}
}

// alt names a module's go.mod alt.mod.
func alt(module string) string { return strings.Replace(module, "go.mod", "alt.mod", 1) }

// within moves an archive's files into a directory.
func within(dir, archive string) string {
	return strings.ReplaceAll("\n"+archive, "\n-- ", "\n-- "+dir+"/")
}

// TestLibrary: another package's calls are judged by its own go.mod, and by the
// flag -go, with which a library can be checked for those who build it; not by
// what its own tests say.
func TestLibrary(t *testing.T) {
	for _, test := range []struct {
		name, files, flag string
		want              int
	}{
		{"go 1.26", go126 + library, "", 1},
		{"go 1.25", go125 + library, "", 0},
		{"go 1.25 in a newer program", go125 + library, "-go=1.26", 1},
		{"with the prefix", go125 + library, "-go=go1.27.1", 1},
		{"go 1.26 in an older program", go126 + library, "-go=1.25", 0},
		{"go.mod's godebug is the main module's only", go126 + "godebug cryptocustomrand=1\n" + library, "-go=1.26", 1},
		{"a directive that is main's only", go126 + library + "-- debug.go --\n//go:debug cryptocustomrand=1\n\npackage lib\n", "", 1},
		{"tests that say otherwise", go126 + library + debugTest("lib", "cryptocustomrand=1"), "-go=1.26", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := unpack(t, test.files)
			for _, args := range [][]string{{"go", "vet", "-vettool=" + qrandvet}, {qrandvet}} {
				if test.flag != "" {
					args = append(args, test.flag)
				}
				_, out, _ := command(t, dir, nil, args[0], append(args[1:], ".")...)
				if places, _ := reports(out); len(places) != test.want {
					t.Errorf("%s: %d reports, want %d\n%s", args, len(places), test.want, out)
				}
			}
		})
	}
	if _, out, status := command(t, unpack(t, go126+library), nil, qrandvet, "-go=new", "."); status == 0 || !strings.Contains(out, "such as 1.26") {
		t.Errorf("an odd version: status %d, %s", status, out)
	}
}

// TestOlderThanGoVet: a program that was built by an older Go than that of go vet says so
// once, where go vet asks for its version, and not with an exit status for each package.
func TestOlderThanGoVet(t *testing.T) {
	for goVersion, fails := range map[string]bool{
		"go1.999.1":               true,
		"go1.999rc1 X:experiment": true,
		runtime.Version():         false,
		"go1.21":                  false,
		"devel go1.999-abcdef":    false,
		"":                        false,
	} {
		out, errs, status := command(t, ".", []string{"GOVERSION=" + goVersion}, qrandvet, "-V=full")
		if fails && (status != 1 || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "go1.999, the version of go vet: build it again") || out != "") {
			t.Errorf("%q: status %d, %q %q", goVersion, status, out, errs)
		}
		if !fails && (status != 0 || errs != "" || !strings.HasPrefix(out, "qrandvet version")) {
			t.Errorf("%q: status %d, %q %q", goVersion, status, out, errs)
		}
	}
}

// TestVetForgets: when a godebug line changes, go vet does not answer from its
// cache.
func TestVetForgets(t *testing.T) {
	dir := unpack(t, go126+program)
	for i, line := range []string{"", "godebug cryptocustomrand=1\n", "", "godebug default=go1.25\n"} {
		_, content, _ := strings.Cut(go126, "\n")
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(content+line), 0o666); err != nil {
			t.Fatal(err)
		}
		_, out, _ := command(t, dir, nil, "go", "vet", "-vettool="+qrandvet, ".")
		if places, _ := reports(out); len(places) != (i+1)%2 {
			t.Errorf("%q: %d reports\n%s", line, len(places), out)
		}
	}
}
