package replace

import (
	"bytes"
	"crypto/fips140"
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const path = "example.com/qrand/replace"

// zeros is a reader that anybody recognizes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// drawn returns 32 bytes of rand.Read.
func drawn() []byte {
	p := bytes.Repeat([]byte{1}, 32)
	rand.Read(p)
	return p
}

// TestReader: rand.Reader reads from crypto/rand at first, then from what Reader was called with
// last, and after nil from crypto/rand again.
func TestReader(t *testing.T) {
	zero := make([]byte, 32)
	isZero := func() bool { return bytes.Equal(drawn(), zero) }
	kept := rand.Reader
	if isZero() || bytes.Equal(drawn(), drawn()) {
		t.Error("it is not crypto/rand before Reader is called")
	}
	if err := Reader(zeros{}); err != nil {
		t.Fatal(err)
	}
	p := drawn()
	if n, err := io.ReadFull(kept, p); !isZero() || !bytes.Equal(p, zero) || n != 32 || err != nil {
		t.Errorf("the reader is not read: %x, %d, %v", p, n, err)
	}
	if err := Reader(rand.Reader); err == nil || !strings.Contains(err.Error(), "cannot read from itself") || !isZero() {
		t.Errorf("Reader(rand.Reader) returned %v", err)
	}
	var none *os.File
	if err := Reader(none); err == nil || !strings.Contains(err.Error(), "a nil *os.File") || !isZero() {
		t.Errorf("Reader(%v) returned %v", none, err)
	}
	rand.Reader = os.Stdin
	err := Reader(nil)
	rand.Reader = ours
	if err == nil || !strings.Contains(err.Error(), "other code has set rand.Reader") || !isZero() {
		t.Errorf("with another rand.Reader: %v", err)
	}
	if err := Reader(nil); err != nil || isZero() || bytes.Equal(drawn(), drawn()) {
		t.Errorf("after Reader(nil), which returned %v, it is not crypto/rand", err)
	}
}

// TestOnly: in FIPS 140-only mode rand.Reader stays what it is, and Reader says so.
func TestOnly(t *testing.T) {
	if os.Getenv("GODEBUG") == "fips140=only" {
		if rand.Reader == ours {
			t.Error("rand.Reader was replaced")
		}
		check := func() {
			if err := Reader(zeros{}); err == nil || !strings.Contains(err.Error(), "fips140=only") || bytes.Equal(drawn(), make([]byte, 32)) {
				t.Errorf("Reader returned %v", err)
			}
		}
		check()
		fips140.WithoutEnforcement(check)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestOnly$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: TestOnly")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestEarly: what this package needs besides crypto/rand comes before it in the alphabet. Go
// initializes the first package in the alphabet whose imports are initialized. So while this
// package is not initialized, a package that imports crypto/rand and comes after it in the
// alphabet has to wait: one of what is missing here is always ready before.
func TestEarly(t *testing.T) {
	deps := func(path string) []string {
		out, err := exec.Command("go", "list", "-deps", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))
	}
	before := deps("crypto/rand")
	if len(before) < 20 {
		t.Fatalf("crypto/rand has %d dependencies: are they found?", len(before))
	}
	for _, p := range deps(path) {
		if !slices.Contains(before, p) && p > path {
			t.Errorf("%s is initialized after packages such as github.com/google/uuid, and so this one is: do not import it", p)
		}
	}
}
