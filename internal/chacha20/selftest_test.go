package chacha20

import (
	"os"
	"strings"
	"testing"
)

// TestSelfTest: it passes on this processor, and its known answer is the line of
// the file of vectors.
func TestSelfTest(t *testing.T) {
	if err := SelfTest(); err != nil {
		t.Error(err)
	}
	vectors, err := os.ReadFile("../../testdata/rfc8439.txt")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(vectors), "2.3.2 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 000000090000004a00000000 1 "+rfcBlock+"\n") {
		t.Error("the known answer is not section 2.3.2's")
	}
}

// BenchmarkSelfTest is what the first New in a process takes longer.
func BenchmarkSelfTest(b *testing.B) {
	for b.Loop() {
		if err := SelfTest(); err != nil {
			b.Fatal(err)
		}
	}
}
