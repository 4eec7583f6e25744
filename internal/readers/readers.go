// Package readers finds out, for tests, what a call does with its reader, and keeps the tables
// of pages that tell it.
package readers

import (
	"bytes"
	"crypto/mlkem"
	"crypto/x509"
	"encoding"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"strings"
	"testing"
)

// An Answer is what a call does with the reader that it is passed, or finds in rand.Reader.
type Answer string

const (
	All     Answer = "all"     // whatever is random in the result comes from the reader
	Some    Answer = "some"    // it takes bytes, and something else is random in the result too
	Wasted  Answer = "wasted"  // it takes bytes, and the result does not depend on them
	None    Answer = "none"    // the result is random, and nothing of it comes from the reader
	Nothing Answer = "nothing" // nothing is random in the result
	Refused Answer = "refused" // it returns an error, or panics
)

// Ask makes a call with the same bytes twice and then with others.
func Ask(call func(io.Reader) (any, error)) (a Answer, why string) {
	defer func() {
		if v := recover(); v != nil {
			a, why = Refused, fmt.Sprint(v)
		}
	}()
	var results [3][]byte
	taken := 0
	for i, seed := range []byte{1, 1, 2} {
		r := &steady{rand: mathrand.NewChaCha8([32]byte{seed})}
		made, err := call(r)
		if err == nil {
			results[i], err = marshal(made)
		}
		if err != nil {
			return Refused, err.Error()
		}
		taken += r.taken
	}
	repeats := bytes.Equal(results[0], results[1])
	depends := !bytes.Equal(results[0], results[2])
	switch {
	case taken == 0 && repeats:
		return Nothing, ""
	case taken == 0:
		return None, ""
	case !repeats:
		return Some, ""
	case !depends:
		return Wasted, ""
	}
	return All, ""
}

// steady is a deterministic reader that counts what it gives. It does not count a Read of a
// single byte, and goes on as if it had not happened. Go's functions first read one byte or
// none, by chance, so that nobody relies on the same bytes giving the same result.
type steady struct {
	rand  *mathrand.ChaCha8
	taken int
}

func (s *steady) Read(p []byte) (int, error) {
	if len(p) == 1 {
		p[0] = 1
		return 1, nil
	}
	s.taken += len(p)
	return s.rand.Read(p)
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

// CheckTable checks that a page shows a table as it is in the source, or writes it there. In the
// page it is behind a line that names the source and the command that writes it.
func CheckTable(t *testing.T, page, source, command, table string, write bool) {
	t.Helper()
	begin, end := fmt.Sprintf("<!-- from %s, by %s -->\n\n", source, command), "\n<!-- end -->\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(text), begin)
	shown, after, ok2 := strings.Cut(rest, end)
	switch {
	case !ok1 || !ok2:
		t.Fatalf("%s has no lines %q and %q to put the table between", page, begin, end)
	case shown != table && !write:
		t.Fatalf("the table of %s is not that of %s, which is\n%srun: %s", page, source, table, command)
	case shown != table:
		if err := os.WriteFile(page, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
