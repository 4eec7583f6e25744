package keygen_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"example.com/qrand/internal/built"
	"example.com/qrand/internal/readers"
)

//go:generate go test -count=1 -run=^TestStandardLibraryInREADME$ -update .

var update = flag.Bool("update", false, "write the table of stdlib_test.go into the README")

// The answers, as the table has them.
type answer = readers.Answer

const (
	all     = readers.All
	some    = readers.Some
	none    = readers.None
	nothing = readers.Nothing
	refused = readers.Refused
)

// settings are the GODEBUGs under which the functions are asked.
var settings = []struct {
	name    string
	column  int  // of group.want: FIPS modes change no answer,
	refuses bool // but one makes errors of some
}{
	{"", 0, false},
	{"cryptocustomrand=1", 1, false},
	{"fips140=on", 0, false},
	{"fips140=only", 0, true},
}

// An observation is what readers.Ask found out.
type observation struct {
	Answer answer
	Why    string
}

// TestStandardLibrary asks each function of the table, in a process of its own
// for each GODEBUG, so that it does not matter how this one was started.
func TestStandardLibrary(t *testing.T) {
	groups := standardLibrary()
	if path := os.Getenv("QRAND_OBSERVATIONS"); path != "" {
		observed := map[string]observation{}
		for _, g := range groups {
			for _, c := range g.calls {
				if _, twice := observed[c.name]; twice {
					t.Errorf("%s is in the table twice", c.name)
				}
				a, why := readers.Ask(c.make)
				observed[c.name] = observation{a, why}
			}
		}
		writeJSON(t, path, observed)
		return
	}
	for _, setting := range settings {
		t.Run("GODEBUG="+setting.name, func(t *testing.T) {
			t.Parallel()
			observed := elsewhere[observation](t, "^TestStandardLibrary$", setting.name, "QRAND_OBSERVATIONS")
			for _, g := range groups {
				for _, c := range g.calls {
					got, want := observed[c.name], g.want[setting.column]
					if got.Answer == want || got.Answer == refused && setting.refuses {
						continue
					}
					t.Errorf("%s: the table says %q, %s answers %q %s\n"+
						"Go has changed what it does with a reader: correct the table in stdlib_test.go,\n"+
						"the README's with go generate ./keygen, and what the README says around it.",
						c.name, want, runtime.Version(), got.Answer, got.Why)
				}
			}
		})
	}
}

// elsewhere runs tests again in a process with that GODEBUG, and returns what
// they write to the file that the variable names.
func elsewhere[V any](t *testing.T, tests, godebug, variable string) (written map[string]V) {
	t.Helper()
	if built.PureGo && strings.HasPrefix(godebug, "fips140=") {
		t.Skip("Go's FIPS 140-3 mode does not start in a program built with the purego tag")
	}
	path := filepath.Join(t.TempDir(), "written.json")
	cmd := exec.Command(os.Args[0], "-test.run="+tests, "-test.short", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), "GODEBUG="+godebug, variable+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("GODEBUG=%s: %v\n%s", godebug, err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &written); err != nil {
		t.Fatal(err)
	}
	return written
}

func writeJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestStandardLibraryInREADME: the README shows the table as it is in stdlib_test.go, whatever
// version of Go this is.
func TestStandardLibraryInREADME(t *testing.T) {
	table := "| Call | by default | with `GODEBUG=cryptocustomrand=1` |\n|---|---|---|\n"
	for _, g := range standardLibrary() {
		if g.label == "" {
			continue
		}
		table += fmt.Sprintf("| %s | %s%s | %s |\n", g.label, g.lead, cell(t, g.want[0]), cell(t, g.want[1]))
	}
	readers.CheckTable(t, "../README.md", "keygen/stdlib_test.go", "go generate ./keygen", table, *update)
}

// cell is how the README says how many of the bytes come from the reader.
func cell(t *testing.T, a answer) string {
	text, ok := map[answer]string{all: "all", some: "some", none: "**0**"}[a]
	if !ok {
		t.Fatalf("the README has no word for %q", a)
	}
	return text
}
