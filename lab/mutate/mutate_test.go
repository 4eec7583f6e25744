package main

import (
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
		`const label = "v1" => const label = "!v1"`,
		`var table = []int{7, 9} => var table = []int{9}`,
		`var table = []int{7, 9} => var table = []int{7, }`,
		`var table = []int{7, 9} => var table = []int{8, 9}`,
		`var table = []int{7, 9} => var table = []int{6, 9}`,
		`var table = []int{7, 9} => var table = []int{7, 10}`,
		`var table = []int{7, 9} => var table = []int{7, 8}`,
		`clear(key) => nothing`,
		`if on { … => nothing`,
		`if on { => if !(on) {`,
		`return min(a, b) => nothing`,
		`return min(a, b) => return max(a, b)`,
		`for i := 0; a < b && !on; i++ { … => nothing`,
		`for i := 0; a < b && !on; i++ { => for i := 0; !(a < b && !on); i++ {`,
		`for i := 0; a < b && !on; i++ { => for i := 1; a < b && !on; i++ {`,
		`for i := 0; a < b && !on; i++ { => for i := -1; a < b && !on; i++ {`,
		`for i := 0; a < b && !on; i++ { => for i := 0; !on; i++ {`,
		`for i := 0; a < b && !on; i++ { => for i := 0; a < b; i++ {`,
		`for i := 0; a < b && !on; i++ { => for i := 0; a <= b && !on; i++ {`,
		`for i := 0; a < b && !on; i++ { => for i := 0; a >= b && !on; i++ {`,
		`for i := 0; a < b && !on; i++ { => for i := 0; a < b && on; i++ {`,
		`for i := 0; a < b && !on; i++ { => for i := 0; a < b && !on; i-- {`,
		`b -= a + 1 => nothing`,
		`b -= a + 1 => b += a + 1`,
		`b -= a + 1 => b = a + 1`,
		`b -= a + 1 => b -= a - 1`,
		`b -= a + 1 => b -= a + 2`,
		`b -= a + 1 => b -= a + 0`,
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

// TestSurvivors: what survivors.txt argues for are mutants of the files as they
// are: who changes a line that it mentions looks at the argument again.
func TestSurvivors(t *testing.T) {
	argued, err := parseSurvivors(survivors)
	if err != nil {
		t.Fatal(err)
	}
	all, err := mutantsOf(files, filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		delete(argued, m.name())
	}
	for name := range argued {
		t.Errorf("there is no such mutant: %s", name)
	}
	for _, line := range []string{"drbg.go\tf\tchange\t", "drbg.go\tf\tchange", "no tabs"} {
		if _, err := parseSurvivors(line); err == nil {
			t.Errorf("%q was read", line)
		}
	}
}

// TestTry: in a module of its own, a mutant that a test kills, one that none does,
// one that would run for ever, and one that does not compile.
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
		fates, err := tester{dir: t.TempDir(), timeout: timeout, report: func(mutant, fate) {}}.try("m.go", chosen, 2)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range chosen {
			if got := fates[i].fate + fates[i].by; !strings.HasPrefix(got, wants[m.change]) {
				t.Errorf("%s: %s, want %s", m.change, got, wants[m.change])
			}
		}
	}
	try(time.Minute, map[string]string{
		"sum += n => sum -= n":           killed + " by TestF",
		"for n > 0 { => for n >= 0 {":    survived,
		"return sum => nothing":          doesNotBuild,
		"var least = 3 => var least = 4": killed + " by TestF",
		"var least = 3 => var least = 2": survived,
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
