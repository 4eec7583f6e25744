// Package reach measures what rand.Reader = src reaches in other people's packages.
package reach

import (
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"example.com/qrand/internal/readers"
	"example.com/qrand/replace"
)

//go:generate go test -count=1 -run=^TestDocs$ -update .

var update = flag.Bool("update", false, "write the table into docs/reach.md")

// The answers, as the table has them.
type answer = readers.Answer

const (
	all  = readers.All
	some = readers.Some
	none = readers.None
)

// source is the reader that takes the place of rand.Reader. It reads from what it is set to.
type source struct {
	mu     sync.Mutex
	reader io.Reader
}

func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reader.Read(p)
}

// ask makes a call while the source gives the same bytes twice, and then others.
func (s *source) ask(call func() (any, error)) (a answer, why string) {
	return readers.Ask(func(r io.Reader) (any, error) {
		s.mu.Lock()
		s.reader = r
		s.mu.Unlock()
		return call()
	})
}

// TestReach makes each call in a process that has set rand.Reader in main, and in one that has
// called replace.Reader there.
func TestReach(t *testing.T) {
	rows := rows()
	if path := os.Getenv("REACH_OBSERVATIONS"); path != "" {
		src := &source{reader: rand.Reader}
		if os.Getenv("REACH") == "main" {
			rand.Reader = src
		} else if err := replace.Reader(src); err != nil {
			t.Fatal(err)
		}
		observed := make([][4]string, len(rows))
		for i, row := range rows {
			a, why := src.ask(row.make)
			observed[i] = [4]string{string(a), why, string(all)}
		}
		for i, row := range rows { // these change variables that the calls above read
			if row.with != nil {
				a, why := src.ask(func() (any, error) { return row.with(src) })
				observed[i][2], observed[i][3] = string(a), why
			}
		}
		data, err := json.Marshal(observed)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, when := range []string{"main", "replace"} {
		t.Run(when, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "observed.json")
			cmd := exec.Command(os.Args[0], "-test.run=^TestReach$", "-test.timeout=1m")
			cmd.Env = append(os.Environ(), "GODEBUG=", "REACH="+when, "REACH_OBSERVATIONS="+path)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var observed [][4]string
			if err := json.Unmarshal(data, &observed); err != nil {
				t.Fatal(err)
			}
			for i, row := range rows {
				want := row.main
				if when == "replace" {
					want = row.replace
				}
				if got := observed[i]; answer(got[0]) != want || answer(got[2]) != all {
					t.Errorf("%s, %s: %q %s, want %q; the advice: %q %s\ncorrect packages_test.go, and docs/reach.md with go generate",
						row.module, row.call, got[0], got[1], want, got[2], got[3])
				}
			}
		})
	}
}

// TestDocs: docs/reach.md shows the table as it is in packages_test.go, with the versions of go.mod.
func TestDocs(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	table := "| Module | Call | `rand.Reader = src` | `replace.Reader(src)` | Call instead |\n|---|---|---|---|---|\n"
	words := map[answer]string{all: "all", some: "some", none: "**0**"}
	for _, row := range rows() {
		version := regexp.MustCompile(`(?m)^\s` + regexp.QuoteMeta(row.module) + ` (v[^-\s]+)`).FindSubmatch(mod)
		if version == nil {
			t.Fatalf("%s is not in go.mod", row.module)
		}
		instead := row.instead
		if instead == "" && row.main != all {
			instead = "it takes no reader"
		}
		table += fmt.Sprintf("| `%s` %s | %s | %s | %s | %s |\n", row.module, version[1], row.call, words[row.main], words[row.replace], instead)
	}
	readers.CheckTable(t, "../../docs/reach.md", "lab/reach/packages_test.go", "go -C lab/reach generate", table, *update)
}
