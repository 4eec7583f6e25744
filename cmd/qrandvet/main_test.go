package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/build"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
	"golang.org/x/tools/txtar"
)

// qrandvet is the built command, and root the directory of this module.
var qrandvet, root string

func TestMain(m *testing.M) {
	if _, err := exec.LookPath("go"); err != nil {
		fmt.Println("skipping all tests of qrandvet: there is no go command to build and run it with")
		return
	}
	dir, err := os.MkdirTemp("", "qrandvet")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(run(m, dir))
}

func run(m *testing.M, dir string) int {
	defer os.RemoveAll(dir)
	qrandvet = filepath.Join(dir, "qrandvet.exe")
	if out, err := exec.Command("go", "build", "-o", qrandvet, ".").CombinedOutput(); err != nil {
		fmt.Printf("building qrandvet: %v\n%s", err, out)
		return 1
	}
	var err error
	if root, err = filepath.Abs("../.."); err != nil {
		fmt.Println(err)
		return 1
	}
	return m.Run()
}

// command runs a command in a directory, offline, and returns what it prints and
// its exit status.
func command(t *testing.T, dir string, env []string, name string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "GOPROXY=off", "GOFLAGS=-mod=readonly", "GOWORK=", "GODEBUG=")
	cmd.Env = append(cmd.Env, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// unpack writes a txtar archive into a directory of its own.
func unpack(t *testing.T, archive string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "[m]") // a pattern to path/filepath, which -fix must not take it for
	files, err := txtar.FS(txtar.Parse([]byte(archive)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, files); err != nil {
		t.Fatal(err)
	}
	return dir
}

var report = regexp.MustCompile(`(?m)^(?:\./)?(?:.*[/\\])?(\w+\.go:\d+):\d+: (.*)$`)

// reports are the places, as file:line, and the messages that the output of
// qrandvet or go vet has.
func reports(output string) (places, messages []string) {
	for _, match := range report.FindAllStringSubmatch(output, -1) {
		places = append(places, match[1])
		messages = append(messages, match[2])
	}
	return places, messages
}

// TestWrong: seven wrong calls are seven reports, as a vettool and stand-alone.
func TestWrong(t *testing.T) {
	dir := filepath.Join("testdata", "wrong")
	want := []string{
		"main.go:20: ecdsa.GenerateKey",
		"main.go:22: (ecdh.Curve).GenerateKey",
		"main.go:24: (ecdh.Curve).GenerateKey",
		"main.go:26: rsa.GenerateKey",
		"main.go:28: rand.Prime",
		"main.go:31: ecdsa.SignASN1",
		"main.go:34: x509.CreateCertificate",
	}
	for _, test := range []struct {
		args   []string
		status int
	}{
		{[]string{"go", "vet", "-vettool=" + qrandvet, "./..."}, 1},
		{[]string{qrandvet, "./..."}, 3},
	} {
		_, out, status := command(t, dir, nil, test.args[0], test.args[1:]...)
		var got []string
		places, messages := reports(out)
		for i, place := range places {
			name, _, _ := strings.Cut(messages[i], " ")
			got = append(got, place+": "+name)
		}
		if !slices.Equal(got, want) || status != test.status {
			t.Errorf("%s: status %d, reports %q, want %d and %q\n%s", test.args, status, got, test.status, want, out)
		}
	}
}

// TestMeasured: the calls that are reported are those that take no byte of their
// reader and could have used some, by running them; and with an old go line
// these take some, and only what ignores its reader under every setting is reported.
func TestMeasured(t *testing.T) {
	for _, goLine := range []string{"1.26", "1.25"} {
		t.Run(goLine, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS("testdata/measured")); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module measured\n\ngo "+goLine+"\n"), 0o666); err != nil {
				t.Fatal(err)
			}
			out, errs, status := command(t, dir, nil, "go", "run", ".")
			if status != 0 {
				t.Fatal(out, errs)
			}
			calls := 0
			var want []string
			for line := range strings.Lines(out) {
				var place, kind string
				var taken int
				if _, err := fmt.Sscan(line, &place, &taken, &kind); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				calls++
				if kind == "random" && taken == 0 {
					want = append(want, place)
				}
				if kind == "deterministic" && taken != 0 {
					t.Errorf("%s takes %d bytes", place, taken)
				}
			}
			wantedCalls, wanted := 42, map[string]int{"1.26": 20, "1.25": 0}[goLine]
			if slices.Contains(build.Default.ReleaseTags, "go1.27") { // ML-DSA, which no setting changes
				wantedCalls, wanted = wantedCalls+8, wanted+8
			}
			if calls != wantedCalls || len(want) != wanted {
				t.Errorf("%d calls, of which %d take nothing, want %d and %d", calls, len(want), wantedCalls, wanted)
			}
			_, out, _ = command(t, dir, nil, "go", "vet", "-vettool="+qrandvet, ".")
			got, _ := reports(out)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("reported are %q, but %q take no byte\n%s", got, want, out)
			}
		})
	}
}

// TestMeasuresAll: every function of the standard library's crypto that takes a reader is
// among those that TestMeasured runs, so that no new one goes unnoticed. Methods of interfaces
// do what the type behind them does.
func TestMeasuresAll(t *testing.T) {
	const mode = packages.NeedName | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedSyntax | packages.NeedImports | packages.NeedDeps
	crypto, err := packages.Load(&packages.Config{Mode: mode &^ packages.NeedSyntax &^ packages.NeedTypesInfo}, "crypto/...")
	if err != nil {
		t.Fatal(err)
	}
	measured, err := packages.Load(&packages.Config{Dir: "testdata/measured", Mode: mode}, ".")
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]bool{}
	for _, p := range measured {
		for _, object := range p.TypesInfo.Uses {
			if f, ok := object.(*types.Func); ok {
				calls[f.FullName()] = true
			}
		}
	}
	found := 0
	check := func(f *types.Func) {
		for param := range f.Signature().Params().Variables() {
			if !f.Exported() || param.Type().String() != "io.Reader" {
				continue
			}
			found++
			if !calls[f.FullName()] {
				t.Errorf("testdata/measured does not call %s", f.FullName())
			}
		}
	}
	for _, p := range crypto {
		if strings.Contains(p.PkgPath, "internal") {
			continue
		}
		for _, name := range p.Types.Scope().Names() {
			switch object := p.Types.Scope().Lookup(name).(type) {
			case *types.Func:
				check(object)
			case *types.TypeName:
				if named, ok := object.Type().(*types.Named); ok && object.Exported() {
					for method := range named.Methods() {
						check(method)
					}
				}
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d functions take a reader", found)
	}
}

// TestOwnName: the program calls itself qrandvet.
func TestOwnName(t *testing.T) {
	_, stderr, status := command(t, t.TempDir(), nil, qrandvet, "-no-such-flag")
	if status != 2 || !strings.Contains(stderr, "Usage: qrandvet ") || strings.Contains(stderr, "ignoredreader") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

// TestHelp: the page is the command's documentation, and names what it must.
func TestHelp(t *testing.T) {
	out, _, status := command(t, ".", nil, qrandvet, "-h")
	for _, part := range []string{"Since Go 1.26", "qrandvet -fix ./...", "//qrandvet:ignore", "-go=1.26", "SetRand"} {
		if !strings.Contains(out, part) {
			t.Errorf("the help has no %q", part)
		}
	}
	if lines := strings.Count(out, "\n"); status != 0 || lines > 96 {
		t.Errorf("status %d, %d lines", status, lines)
	}
	if out, _, status := command(t, ".", nil, qrandvet, "--version"); status != 0 || !strings.HasPrefix(out, "qrandvet ") {
		t.Errorf("--version: status %d\n%s", status, out)
	}
	if _, out, status := command(t, ".", nil, qrandvet); status != 2 || !strings.Contains(out, "-h") {
		t.Errorf("without arguments: status %d, %s", status, out)
	}
}
