package keygen_test

import (
	"bytes"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/x509"
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"example.com/qrand/internal/built"
)

//go:generate go test -count=1 -run=^TestStandardLibraryInREADME$ -update .

var update = flag.Bool("update", false, "write the table of stdlib_test.go into the README")

// An answer is what a function does with the reader it is passed, or finds in
// rand.Reader.
type answer string

const (
	all     answer = "all"     // whatever is random in the result comes from the reader
	some    answer = "some"    // it takes bytes, and something else is random in the result too
	wasted  answer = "wasted"  // it takes bytes, and the result does not depend on them
	none    answer = "none"    // the result is random, and nothing of it comes from the reader
	nothing answer = "nothing" // nothing is random in the result
	refused answer = "refused" // it returns an error, or panics
)

// ask calls a function with the same bytes twice and then with others.
func ask(c call) (a answer, why string) {
	defer func() {
		if v := recover(); v != nil {
			a, why = refused, fmt.Sprint(v)
		}
	}()
	var results [3][]byte
	taken := 0
	for i, seed := range []byte{1, 1, 2} {
		r := &steady{*newStream(seed)}
		made, err := c.make(r)
		if err != nil {
			return refused, err.Error()
		}
		if results[i], err = marshal(made); err != nil {
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
	case *[32]byte:
		return made[:], nil
	case *big.Int:
		return made.Bytes(), nil
	case *mlkem.DecapsulationKey768:
		return made.Bytes(), nil
	case *mlkem.DecapsulationKey1024:
		return made.Bytes(), nil
	case encoding.BinaryMarshaler:
		return made.MarshalBinary()
	}
	return x509.MarshalPKCS8PrivateKey(made)
}

// TestAsk finds out each answer, of functions that read a byte before and of
// those that do not.
func TestAsk(t *testing.T) {
	for want, f := range map[answer]func(io.Reader) (any, error){
		all:     func(r io.Reader) (any, error) { return read(r, 32), nil },
		some:    func(r io.Reader) (any, error) { return append(read(r, 32), rand.Text()...), nil },
		wasted:  func(r io.Reader) (any, error) { read(r, 32); return "the same", nil },
		none:    func(io.Reader) (any, error) { return rand.Text(), nil },
		nothing: func(io.Reader) (any, error) { return "the same", nil },
		refused: func(io.Reader) (any, error) { return nil, errBroken },
	} {
		decoys := 0
		if got, why := ask(call{make: func(r io.Reader) (any, error) {
			read(r, decoys&1) // the second call with the same bytes does, the first does not
			decoys++
			return f(r)
		}}); got != want {
			t.Errorf("%s: %s %s", want, got, why)
		}
	}
	if got, why := ask(call{make: func(io.Reader) (any, error) { panic("no") }}); got != refused || why != "no" {
		t.Errorf("a panic: %s %s", got, why)
	}
}

func read(r io.Reader, n int) []byte {
	p := make([]byte, n)
	r.Read(p)
	return p
}

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

// An observation is what ask found out.
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
				a, why := ask(c)
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

// The README's table is between these lines.
const (
	tableBegin = "<!-- from keygen/stdlib_test.go, by go generate ./keygen -->\n\n"
	tableEnd   = "\n<!-- end -->\n"
)

// TestStandardLibraryInREADME: the README shows the table as it is in stdlib_test.go, whatever
// version of Go this is.
func TestStandardLibraryInREADME(t *testing.T) {
	const path = "../README.md"
	readme, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(readme), tableBegin)
	shown, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok1 || !ok2 {
		t.Fatalf("the README has no lines %q and %q to put the table between", tableBegin, tableEnd)
	}
	table := "| Call | by default | with `GODEBUG=cryptocustomrand=1` |\n|---|---|---|\n"
	for _, g := range standardLibrary() {
		if g.label == "" {
			continue
		}
		table += fmt.Sprintf("| %s | %s%s | %s |\n", g.label, g.lead, cell(t, g.want[0]), cell(t, g.want[1]))
	}
	if shown == table {
		return
	}
	if !*update {
		t.Fatalf("the README's table is not that of stdlib_test.go, which is\n%srun: go generate ./keygen", table)
	}
	if err := os.WriteFile(path, []byte(before+tableBegin+table+tableEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// cell is how the README says how many of the bytes come from the reader.
func cell(t *testing.T, a answer) string {
	text, ok := map[answer]string{all: "all", some: "some", none: "**0**"}[a]
	if !ok {
		t.Fatalf("the README has no word for %q", a)
	}
	return text
}
