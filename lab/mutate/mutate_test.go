package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMutants: each operator makes the changes it says, and nothing else.
func TestMutants(t *testing.T) {
	const source = `package p

const label = "v1" // of something

var table = []int{7, 9}

func f(a, b int, on bool) int {
	clear(key)
	if on {
		return min(a, b)
	}
	for i := 0; a < b && !on; i++ {
		b -= a + 1
	}
	return 2
}
`
	want := []string{
		`label = "v1" => label = "!v1"`,
		`7 => nothing`,
		`9 => nothing`,
		`7 => 8`,
		`7 => 6`,
		`9 => 10`,
		`9 => 8`,
		`clear(key) => nothing`,
		`if on { … => nothing`,
		`on => !(on)`,
		`return min(a, b) => nothing`,
		`min(a, b) => max(a, b)`,
		`for i := 0; a < b && !on; i++ { … => nothing`,
		`a < b && !on => !(a < b && !on)`,
		`i := 0 => i := 1`,
		`i := 0 => i := -1`,
		`a < b && !on => !on`,
		`a < b && !on => a < b`,
		`a < b => a <= b`,
		`a < b => a >= b`,
		`!on => on`,
		`i++ => i--`,
		`b -= a + 1 => nothing`,
		`b -= a + 1 => b += a + 1`,
		`b -= a + 1 => b = a + 1`,
		`a + 1 => a - 1`,
		`a + 1 => a + 2`,
		`a + 1 => a + 0`,
		`return 2 => nothing`,
		`return 2 => return 3`,
		`return 2 => return 1`,
	}
	all, err := mutants("p.go", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range all {
		got = append(got, m.change)
		if m.text == source[m.begin:m.end] {
			t.Errorf("%s changes nothing", m.change)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("mutants\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestSurvivors: what survivors.txt argues for are mutants of the packages as they are:
// whoever changes an expression that it mentions looks at the argument again.
func TestSurvivors(t *testing.T) {
	argued, err := parseSurvivors(survivors)
	if err != nil {
		t.Fatal(err)
	}
	var packages []string // whole ones: a function may be in another file than those of files
	for _, file := range files {
		if strings.HasSuffix(file, ".go") {
			file = filepath.Dir(file)
		}
		packages = append(packages, file)
	}
	slices.Sort(packages)
	all, err := mutantsOf(slices.Compact(packages), filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range withoutMutant(argued, all) {
		t.Errorf("there is no such mutant: %s", name)
	}
	for _, line := range []string{"qrand\tf\tchange\t", "qrand\tf\tchange", "no tabs"} {
		if _, err := parseSurvivors(line); err == nil {
			t.Errorf("%q was read", line)
		}
	}
}

// TestNames: a mutant keeps its name when its function moves to another file or line,
// and when something else in the function changes. It loses it when what it changes is
// edited, and when something new looks the same.
func TestNames(t *testing.T) {
	const function = `
func (s *sum) add(n, least int) bool {
	if n < least || s.closed {
		return false
	}
	s.wipe()
	s.total = max(0, s.total+n)
	s.wipe()
	return true
}
`
	argued := map[string]string{
		"p\t(*sum).add\tn < least => n <= least":                "why",
		"p\t(*sum).add\treturn false => return true":            "why",
		"p\t(*sum).add\tmax(0, s.total+n) => max(1, s.total+n)": "why",
		"p\t(*sum).add\ts.total+n => s.total-n":                 "why",
		"p\t(*sum).add\ts.wipe() => nothing (2 of 2)":           "why",
		"p\tlimit\tlimit = 4 => limit = 5":                      "why",
	}
	const constants = "\nconst limit = 4\n"
	namesOf := func(sources ...string) (gone []string) {
		t.Helper()
		var all []mutant
		for i, source := range sources {
			found, err := mutants(fmt.Sprintf("%d.go", i), []byte("package p\n"+source))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, found...)
		}
		return withoutMutant(argued, all)
	}
	for name, sources := range map[string][]string{
		"as it was":                {constants + function},
		"in another order":         {function + constants},
		"in another file":          {constants, "\nfunc other() { work() }\n" + function},
		"with more in it":          {constants + strings.Replace(function, "return true", "s.count++\n\treturn true", 1)},
		"with more in a condition": {constants + strings.Replace(function, "|| s.closed", "|| s.closed || s.full()", 1)},
	} {
		if gone := namesOf(sources...); len(gone) > 0 {
			t.Errorf("%s: there is no %q", name, gone)
		}
	}
	for _, c := range []struct {
		before, after string
		want          int // names that are gone
	}{
		{"n < least", "n < least-1", 1},
		{"n < least", "n <= least", 1},
		{"return false", "return s.closed", 1},
		{"max(0, s.total+n)", "max(0, s.total-n)", 2},
		{"limit = 4", "limit = 8", 1},
		{"s.wipe()\n\ts.total", "s.total", 1},
		{"s.wipe()\n\ts.total", "s.wipe()\n\ts.wipe()\n\ts.total", 1},
		{"|| s.closed", "|| s.closed || s.total+n < 0", 1},
		{"s.total = max(0, s.total+n)", "s.total, s.count = max(0, s.total+n), s.count+1", 0},
		{"s.total = max(0, s.total+n)", "s.total = max(0, s.total+n)\n\ts.most = max(0, s.total+n)", 2},
		{"(s *sum) add", "(s *sum) plus", 5},
	} {
		changed := strings.Replace(constants+function, c.before, c.after, 1)
		if gone := namesOf(changed); len(gone) != c.want {
			t.Errorf("%q became %q: %d names are gone, want %d: %q", c.before, c.after, len(gone), c.want, gone)
		}
	}
}

// TestTry: in a module of its own, a mutant that a test kills, one that none does,
// one that would run without end, and one that does not compile.
func TestTry(t *testing.T) {
	aModule(t, "package m\n\nvar least = 3\n\nfunc f(n int) (sum int) {\n\tfor n > 0 {\n\t\tsum += n\n\t\tn--\n\t}\n\treturn sum\n}\n",
		"package m\n\nimport \"testing\"\n\nfunc TestF(t *testing.T) {\n\tif f(2) != 3 || f(2) < least {\n\t\tt.Error(f(2))\n\t}\n}\n")
	all, err := mutantsOf([]string{"m.go"}, ".")
	if err != nil {
		t.Fatal(err)
	}
	try := func(timeout time.Duration, wants map[string]string) {
		t.Helper()
		chosen := slices.DeleteFunc(slices.Clone(all), func(m mutant) bool { return wants[m.change] == "" })
		if len(chosen) != len(wants) {
			t.Fatalf("%d of the mutants wanted, want %d", len(chosen), len(wants))
		}
		outcomes, err := tester{dir: t.TempDir(), timeout: timeout, report: func(mutant, outcome) {}}.try("m.go", chosen, 2)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range chosen {
			if got := outcomes[i].what + outcomes[i].by; !strings.HasPrefix(got, wants[m.change]) {
				t.Errorf("%s: %s, want %s", m.change, got, wants[m.change])
			}
		}
	}
	try(time.Minute, map[string]string{
		"sum += n => sum -= n":   killed + " by TestF",
		"n > 0 => n >= 0":        survived,
		"return sum => nothing":  doesNotBuild,
		"least = 3 => least = 4": killed + " by TestF",
		"least = 3 => least = 2": survived,
	})
	try(time.Second, map[string]string{"n-- => nothing": killed + " by panic: test timed out"})
}

// aModule makes a module of one file and its test the working directory.
func aModule(t *testing.T, file, test string) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command to build mutants with")
	}
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"go.mod": "module m\n", "m.go": file, "m_test.go": test} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
