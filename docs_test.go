package qrand

import (
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// TestDocPrograms: each Go program of the README and of docs is part of an Example,
// which compiles and runs. If it makes a key, it waits for a block before.
func TestDocPrograms(t *testing.T) {
	files, err := filepath.Glob("example_*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, "relaynats/example_client_test.go", "qrandprom/example_test.go", "replace/example_test.go")
	var examples strings.Builder
	for _, file := range files {
		text := readText(t, file)
		examples.WriteString(text) // for programs with functions of their own
		for line := range strings.Lines(text) {
			examples.WriteString(strings.TrimPrefix(line, "\t"))
		}
	}
	programs := map[string]int{}
	for _, page := range pages(t) {
		for _, program := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(readText(t, page), -1) {
			programs[page]++
			if !strings.Contains(examples.String(), "\n"+program[1]) {
				t.Errorf("%s: no Example has this program:\n%s", page, program[1])
			}
			if before, _, makesKey := strings.Cut(program[1], "keygen."); makesKey && !strings.Contains(before, "WaitSeeded(") {
				t.Errorf("%s: this program makes a key and did not wait for a block:\n%s", page, program[1])
			}
		}
	}
	for page, want := range map[string]int{"README.md": 2, "docs/modes.md": 2, "docs/reach.md": 1, "docs/keys.md": 2, "docs/tls.md": 2, "docs/testing.md": 1, "docs/fleet.md": 1} {
		if programs[page] < want {
			t.Errorf("%s has %d programs, want %d or more", page, programs[page], want)
		}
	}
}

// TestPackageExamples: each public package, in every module that users import, has an Example
// whose output go test compares.
func TestPackageExamples(t *testing.T) {
	public := map[string]bool{} // whether there is such an Example, by folder
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{"internal", "cmd", "examples", "lab", "release", "testdata", ".git"}, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(filepath.Dir(path))
		public[folder] = public[folder] || slices.ContainsFunc(doc.Examples(file), func(e *doc.Example) bool { return e.Output != "" })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(public) < 12 {
		t.Errorf("%d packages: are they found?", len(public))
	}
	for folder, has := range public {
		if !has {
			t.Errorf("package %s has no Example with an output", folder)
		}
	}
}

// TestDocLinks: each relative link of a page leads to a file or a folder that
// exists, and to a heading that the page has.
func TestDocLinks(t *testing.T) {
	links := 0
	for _, page := range pages(t) {
		text := regexp.MustCompile("(?ms)^```.*?^```").ReplaceAllString(readText(t, page), "")
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)|\bsrc(?:set)?="([^"]+)"`).FindAllStringSubmatch(text, -1) {
			link := m[1] + m[2]
			if strings.Contains(link, "://") {
				continue
			}
			links++
			path, anchor, hasAnchor := strings.Cut(link, "#")
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", page, link, err)
			} else if hasAnchor && !anchors(readText(t, target))[anchor] {
				t.Errorf("%s links to %s: %s has no such heading", page, link, target)
			}
		}
	}
	if links < 50 {
		t.Errorf("%d links: are they found?", links)
	}
}

// TestFieldNames: each test that docs/field.md names exists.
func TestFieldNames(t *testing.T) {
	var tests strings.Builder
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			tests.WriteString(readText(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(readText(t, "docs/field.md"), -1)
	if len(names) < 25 {
		t.Errorf("%d names: are they found?", len(names))
	}
	for _, name := range names {
		if !strings.Contains(tests.String(), "\nfunc "+name[1]+"(") {
			t.Errorf("docs/field.md names %s, which does not exist", name[1])
		}
	}
}

// anchors are the names that GitHub gives to the headings of a page.
func anchors(page string) map[string]bool {
	names := map[string]bool{}
	page = regexp.MustCompile("(?ms)^```.*?^```").ReplaceAllString(page, "")
	for _, heading := range regexp.MustCompile(`(?m)^#+ +(.*?) *$`).FindAllStringSubmatch(page, -1) {
		names[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, heading[1])] = true
	}
	return names
}

// pages are the paths of all Markdown files.
func pages(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case filepath.Ext(path) == ".md":
			paths = append(paths, filepath.ToSlash(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
