package main

import (
	"go/build"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestReplaced: where a program sets rand.Reader, the variables and the calls that are reported
// are those that read nothing of it when the program runs. The two ways to run qrandvet agree.
// A program that does not set it gets no report, whatever it imports.
func TestReplaced(t *testing.T) {
	dir := filepath.Join("testdata", "replaced")
	out, errs, status := command(t, dir, nil, "go", "run", ".")
	if status != 0 {
		t.Fatal(out, errs)
	}
	var kept, ignored []string
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(line, "kept "); ok {
			kept = append(kept, strings.TrimSpace(name))
		} else if place, ok := strings.CutPrefix(line, "ignored "); ok {
			ignored = append(ignored, strings.TrimSpace(place))
		}
	}
	slices.Sort(kept)
	slices.Sort(ignored)
	wanted := 10
	if slices.Contains(build.Default.ReleaseTags, "go1.27") { // mldsa.GenerateKey
		wanted++
	}
	if len(kept) != 24 || len(ignored) != wanted {
		t.Fatalf("read nothing: the variables %q and the calls %q", kept, ignored)
	}
	calls := append([]string{"lib.go:23"}, ignored...) // and not those of far.go, which only the other module imports
	slices.Sort(calls)
	for _, args := range [][]string{{"go", "vet", "-vettool=" + qrandvet}, {qrandvet}} {
		t.Run(filepath.Base(args[0]), func(t *testing.T) {
			_, out, _ := command(t, dir, nil, args[0], append(args[1:], "./...")...)
			found := map[string][]string{} // by package
			for line := range strings.Lines(out) {
				if strings.HasPrefix(line, "#") {
					continue
				}
				path, message, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "./"), ": ")
				if !ok {
					t.Errorf("no report: %q", line)
				}
				path = filepath.ToSlash(path)
				from := "."
				for _, p := range []string{"indirect", "always", "unset", "random", "lib"} {
					if strings.Contains(path, p+"/") {
						from = p
					}
				}
				found[from] = append(found[from], message)
			}
			for from, want := range map[string]string{
				".":        "the new rand.Reader does not reach ",
				"indirect": "the rand.Reader that m/random sets (random.go:9) does not reach ",
				"always":   "the rand.Reader that lib.example/always sets (always.go:9) does not reach ",
			} {
				var variables, places []string
				for _, message := range found[from] {
					rest, ok := strings.CutPrefix(message, want)
					if !ok {
						t.Errorf("%s: %q does not begin with %q", from, message, want)
					}
					if m := regexp.MustCompile(`^m(?:/kept)?, whose variable (\w+) keeps`).FindStringSubmatch(rest); m != nil {
						variables = append(variables, m[1])
						continue
					}
					for _, m := range regexp.MustCompile(`\((\w+.go:\d+)\)`).FindAllStringSubmatch(rest, -1) {
						places = append(places, m[1])
					}
				}
				slices.Sort(variables)
				slices.Sort(places)
				wantVariables := kept
				if from != "." {
					wantVariables = slices.DeleteFunc(slices.Clone(kept), func(name string) bool { return name == "ours" })
				}
				if !slices.Equal(variables, wantVariables) {
					t.Errorf("%s: reported are the variables %q, want %q", from, variables, wantVariables)
				}
				if !slices.Equal(places, calls) {
					t.Errorf("%s: reported are the calls %q, want %q", from, places, calls)
				}
				delete(found, from)
			}
			if len(found) > 0 {
				t.Errorf("reported without an assignment: %q", found)
			}
			for _, advice := range []string{
				"variable settable keeps the one of before (kept.go:56): call kept.SetReader\n",
				"variable wrapped keeps the one of before (kept.go:57): call kept.SetWrapped\n",
				"variable Exported keeps the one of before (kept.go:55): set kept.Exported, too\n",
			} {
				if strings.Count(out, advice) != 3 {
					t.Errorf("not three times: %q", advice)
				}
			}
		})
	}
	// With the setting only those are left that never read a reader.
	_, out, _ = command(t, dir, nil, qrandvet, "-go=1.25", ".")
	if strings.Contains(out, "ecdsa.") || strings.Count(out, "mlkem.GenerateKey768") != 1 || strings.Count(out, "whose variable") != len(kept) {
		t.Errorf("with -go=1.25:\n%s", out)
	}
}

// TestReplacedEarly: where a program uses package replace, the variables and the calls that are
// reported are those that read nothing of the reader when the program runs.
func TestReplacedEarly(t *testing.T) {
	dir := filepath.Join("testdata", "early")
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	modfile := filepath.Join(t.TempDir(), "go.mod") // go adds what qrand's module needs to a copy
	if err := os.WriteFile(modfile, mod, 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"GOFLAGS=-mod=mod -modfile=" + modfile}
	out, errs, status := command(t, dir, env, "go", "run", ".")
	if status != 0 {
		t.Fatal(out, errs)
	}
	var calls []string
	for line := range strings.Lines(out) {
		if place, ok := strings.CutPrefix(line, "ignored "); ok {
			calls = append(calls, strings.TrimSpace(place))
		} else if line != "kept alphabet\n" {
			t.Errorf("the program printed %q", line)
		}
	}
	slices.Sort(calls)
	_, out, _ = command(t, dir, env, qrandvet, "./...")
	var variables, places []string
	for line := range strings.Lines(out) {
		_, rest, ok := strings.Cut(line, "main.go:12:2: the rand.Reader that example.com/qrand/replace sets (replace.go:")
		if !ok {
			t.Errorf("no report at the import: %q", line)
		}
		if strings.Contains(rest, "whose variable") {
			variables = append(variables, rest)
			continue
		}
		for _, m := range regexp.MustCompile(`\((\w+.go:\d+)\)`).FindAllStringSubmatch(rest, -1) {
			places = append(places, m[1])
		}
	}
	slices.Sort(places)
	if len(variables) != 1 || !strings.Contains(variables[0], "does not reach alphabet.example, whose variable Reader keeps") {
		t.Errorf("reported are the variables %q", variables)
	}
	if len(calls) < 10 || !slices.Equal(places, calls) {
		t.Errorf("reported are the calls %q, want %q", places, calls)
	}
}
