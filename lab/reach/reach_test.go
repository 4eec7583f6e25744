// Package reach measures what rand.Reader = src reaches in other people's packages.
package reach

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding"
	"encoding/json"

	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/qrand/lab/reach/early"
	_ "example.com/qrand/lab/reach/late"
)

//go:generate go test -count=1 -run=^TestDocs$ -update .

var update = flag.Bool("update", false, "write the table into docs/reach.md")

// An answer is what a call does with the reader.
type answer string

const (
	all     answer = "all"     // whatever is random in the result comes from the reader
	some    answer = "some"    // it takes bytes, and something else is random in the result, too
	wasted  answer = "wasted"  // it takes bytes, and the result does not depend on them
	none    answer = "none"    // the result is random, and nothing of it comes from the reader
	nothing answer = "nothing" // nothing is random in the result
	refused answer = "refused" // it returns an error, or panics
)

// steady is a stream that counts what it gives. It leaves out a Read of a single byte, because
// Go's functions first read one byte or none, by chance.
type steady struct {
	rand  *mathrand.ChaCha8
	taken int
}

func newSteady(seed byte) *steady { return &steady{rand: mathrand.NewChaCha8([32]byte{seed})} }

func (s *steady) Read(p []byte) (int, error) {
	if len(p) == 1 {
		p[0] = 1
		return 1, nil
	}
	s.taken += len(p)
	return s.rand.Read(p)
}

// ask makes a call while the Source of package early gives the same bytes twice, and then others.
func ask(call func() (any, error)) (a answer, why string) {
	defer func() {
		if v := recover(); v != nil {
			a, why = refused, fmt.Sprint(v)
		}
	}()
	var results [3][]byte
	taken := 0
	for i, seed := range []byte{1, 1, 2} {
		r := newSteady(seed)
		early.Source.Set(r)
		made, err := call()
		if err == nil {
			results[i], err = marshal(made)
		}
		if err != nil {
			return refused, err.Error()
		}
		taken += r.taken
	}
	repeats := bytes.Equal(results[0], results[1])
	depends := !bytes.Equal(results[0], results[2])
	switch {
	case taken == 0 && repeats:
		return nothing, ""
	case taken == 0:
		return none, ""
	case !repeats:
		return some, ""
	case !depends:
		return wasted, ""
	}
	return all, ""
}

func marshal(made any) ([]byte, error) {
	switch made := made.(type) {
	case []byte:
		return made, nil
	case string:
		return []byte(made), nil
	case encoding.BinaryMarshaler:
		return made.MarshalBinary()
	}
	return x509.MarshalPKCS8PrivateKey(made)
}

// TestReach makes each call in a process that has set rand.Reader in main, in one that did so
// before other packages were initialized, and in one that tried to do so in a package that imports
// qrand. The last is too late, so that nothing differs from main.
func TestReach(t *testing.T) {
	rows := rows()
	if path := os.Getenv("REACH_OBSERVATIONS"); path != "" {
		if os.Getenv("REACH") == "main" {
			rand.Reader = early.Source
		}
		observed := make([][4]string, len(rows))
		for i, row := range rows {
			a, why := ask(row.make)
			observed[i] = [4]string{string(a), why, string(all)}
		}
		for i, row := range rows { // these change variables that the calls above read
			if row.with != nil {
				a, why := ask(func() (any, error) { return row.with(early.Source) })
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
	for _, when := range []string{"main", "early", "late"} {
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
				if when == "early" {
					want = row.early
				}
				if got := observed[i]; answer(got[0]) != want || answer(got[2]) != all {
					t.Errorf("%s, %s: %q %s, want %q; the advice: %q %s\ncorrect packages_test.go, and docs/reach.md with go generate",
						row.module, row.call, got[0], got[1], want, got[2], got[3])
				}
			}
		})
	}
}

// The table is between these lines.
const (
	tableBegin = "<!-- from lab/reach/packages_test.go, by go -C lab/reach generate -->\n\n"
	tableEnd   = "\n<!-- end -->\n"
)

// TestDocs: docs/reach.md shows the table as it is in packages_test.go, with the versions of go.mod.
func TestDocs(t *testing.T) {
	const path = "../../docs/reach.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(page), tableBegin)
	shown, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no lines %q and %q to put the table between", path, tableBegin, tableEnd)
	}
	table := "| Module | Call | Random bytes from `src` | Call instead |\n|---|---|---|---|\n"
	for _, row := range rows() {
		version := regexp.MustCompile(`(?m)^\s` + regexp.QuoteMeta(row.module) + ` (v[^-\s]+)`).FindSubmatch(mod)
		if version == nil {
			t.Fatalf("%s is not in go.mod", row.module)
		}
		cell, instead := "", row.instead
		switch {
		case row.main == all:
			cell = "all"
		case row.main == some:
			cell = "some"
		case row.main == none && row.early == all:
			cell = "**0**, it kept the earlier reader"
		case row.main == none && row.early == none:
			cell = "**0**"
		default:
			t.Fatalf("%s, %s: no word for %q and %q", row.module, row.call, row.main, row.early)
		}
		if instead == "" && row.main != all {
			instead = "it takes no reader"
		}
		table += fmt.Sprintf("| `%s` %s | %s | %s | %s |\n", row.module, version[1], row.call, cell, instead)
	}
	if shown == table {
		return
	}
	if !*update {
		t.Fatalf("the table of %s is not that of packages_test.go, which is\n%srun: go -C lab/reach generate", path, table)
	}
	if err := os.WriteFile(path, []byte(before+tableBegin+table+tableEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
