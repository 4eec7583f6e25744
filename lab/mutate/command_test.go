package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestCommand: for a file with a function that can be batched and one that cannot, the
// command lists the mutants, prints those that no test notices, and sums up. It does not
// try a mutant that is argued for.
func TestCommand(t *testing.T) {
	aModule(t, `package m

type count struct{ n int }

func (c *count) add(n int) { c.n += n }

func total(more ...int) (c count) {
	for _, n := range more {
		c.add(n)
	}
	return c
}
`, `package m

import "testing"

func TestTotal(t *testing.T) {
	if total(1, 2).n != 3 {
		t.Error("not 3")
	}
}
`)
	defer func(saved string) { survivors = saved }(survivors)
	survivors = "m\ttotal\treturn c => nothing\tit does not compile\n"
	const minus = "m\t(*count).add\tc.n += n => c.n -= n"
	for _, c := range []struct {
		args   string
		code   int
		stdout string // a regular expression
		stderr string // what is in it
	}{
		{"-list m.go", 0, `^m.go:5\t\(\*count\).add\t[^\n]*\n(?s:.*)m.go:9\ttotal\tc.add\(n\) => nothing\n`, ""},
		{"-list -match c.add m.go", 0, `^m.go:9\ttotal\tc.add\(n\) => nothing\n$`, ""},
		{"-v m.go", 0, "(?s)^m.go:5: killed by TestTotal.*" + regexp.QuoteMeta(minus) +
			".*m.go:9: does not compile: .*\n5 mutants, 4 killed, 1 argued, 0 unexplained; 1 more do not compile", ""},
		{"-run TestNothing -match minus|-= m.go", 1, "^m.go:5: SURVIVED\n" + regexp.QuoteMeta(minus) + "\n1 mutants, 0 killed, 0 argued, 1 unexplained; 0 more do not compile", ""},
		{"", 1, "^$", "run this from the folder lab"},
		{"m_missing.go", 1, "^$", "m_missing.go"},
		{"-match ( m.go", 2, "^$", "missing closing )"},
		{"-h", 0, "^$", "-parallel"},
		{"-fast", 2, "^$", "-fast"},
	} {
		var stdout, stderr bytes.Buffer
		if code := command(append([]string{"-C", "."}, strings.Fields(c.args)...), &stdout, &stderr); code != c.code {
			t.Errorf("%q ends with %d, want %d:\n%s", c.args, code, c.code, stderr.String())
		}
		if !regexp.MustCompile(c.stdout).Match(stdout.Bytes()) {
			t.Errorf("%q: not as %q:\n%s", c.args, c.stdout, stdout.String())
		}
		if !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("%q: no %q in\n%s", c.args, c.stderr, stderr.String())
		}
	}
}

// TestGone: an argument about something that is no mutant any more is reported before
// any test is run.
func TestGone(t *testing.T) {
	aModule(t, "package m\n\nfunc f() int { return 1 }\n", "package m\n")
	defer func(saved []string, argued string) { files, survivors = saved, argued }(files, survivors)
	files, survivors = []string{"."}, "m\tf\treturn 1 => return 2\twhy\nm\tf\treturn 3 => return 4\twhy\n"
	var stdout, stderr bytes.Buffer
	if code := command([]string{"-C", "."}, &stdout, &stderr); code != 1 || stdout.Len() > 0 || !strings.HasSuffix(stderr.String(), "now\nm\tf\treturn 3 => return 4\n") {
		t.Errorf("ends with %d and\n%s%s", code, stdout.String(), stderr.String())
	}
}

// TestBroken: the command ends with an error that says why if the files, the tests or
// survivors.txt are such that nothing can be found out.
func TestBroken(t *testing.T) {
	aModule(t, "package m\n\nfunc f() int { return 1 }\n", "package m\n\nimport \"testing\"\n\nfunc TestF(t *testing.T) { t.Error(\"always\") }\n")
	defer func(saved string) { survivors = saved }(survivors)
	for _, c := range []struct{ name, file, survivors, want string }{
		{"tests that fail without a mutant", "package m\n\nfunc f() int { return 1 }\n", "", "the tests fail without a mutant by TestF"},
		{"such tests, of a file with no function", "package m\n\nvar n = 1\n", "", "the tests fail without a mutant by TestF"},
		{"no Go", "package m\n\nfunc f( {\n", "", "expected"},
		{"what does not compile", "package m\n\nfunc f() int { return g() }\n", "", "with its mutants does not compile"},
		{"an argument without a reason", "package m\n", "m\tf\tchange\t\n", "survivors.txt:1"},
	} {
		if err := os.WriteFile("m.go", []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		survivors = c.survivors
		var stdout, stderr bytes.Buffer
		if code := command([]string{"-C", ".", "m.go"}, &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), c.want) || stdout.Len() > 0 {
			t.Errorf("%s: ends with %d and %q, want 1 and %q", c.name, code, stderr.String(), c.want)
		}
	}
}

// TestBatchable: a function whose call cannot be passed on gets a build for each of its
// mutants.
func TestBatchable(t *testing.T) {
	for source, want := range map[string]bool{
		"func f(a, b int) { g() }":            true,
		"func f() { g() }":                    true,
		"func (r *t) f(a int) { g() }":        true,
		"func (*t) f(a int) { g() }":          false,
		"func (_ *t) f(a int) { g() }":        false,
		"func f(_ int) { g() }":               false,
		"func f(int) { g() }":                 false,
		"func f(a ...int) { g() }":            false,
		"func f[T any](a T) { g() }":          false,
		"var a = []int{1}":                    false,
		"type t struct{ a int }\n\nvar a = 1": false,
	} {
		all, err := mutants("p.go", []byte("package p\n\n"+source+"\n"))
		if err != nil || len(all) == 0 {
			t.Fatalf("%s: %d mutants, %v", source, len(all), err)
		}
		if got := all[0].batchable(); got != want {
			t.Errorf("%s: %t, want %t", source, got, want)
		}
	}
}

// TestRunOne: a test binary that cannot be started kills no mutant.
func TestRunOne(t *testing.T) {
	if _, _, err := runOne(binary{"./missing", "."}, "-test.run=.", 1, time.Second); err == nil {
		t.Error("a test binary that is missing is no error")
	}
}
