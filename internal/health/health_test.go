package health

import (
	"bytes"
	"errors"
	"math"
	"math/big"
	mathrand "math/rand/v2"
	"testing"

	"example.com/qrand/internal/verbs"
)

func goodBlock(seed byte) []byte {
	p := make([]byte, 1024)
	mathrand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

// TestCutoffs computes the cutoffs from their definitions in SP 800-90B, for
// H = 8 and alpha = 2^-40, in exact arithmetic.
func TestCutoffs(t *testing.T) {
	const h, log2alpha = 8, -40
	if got := 1 + int(math.Ceil(-log2alpha/float64(h))); got != repetitionCutoff { // section 4.4.1
		t.Errorf("repetition count cutoff is %d, want %d", repetitionCutoff, got)
	}
	// Section 4.4.2: the least C with P(B(W, 2^-H) >= C) <= alpha. In units of
	// 2^-(H W), the chance of k is binomial(W, k) * (2^H - 1)^(W-k).
	alpha := new(big.Int).Lsh(big.NewInt(1), h*proportionWindow+log2alpha)
	tail, cutoff := new(big.Int), int64(proportionWindow)
	for ; ; cutoff-- {
		chance := new(big.Int).Exp(big.NewInt(1<<h-1), big.NewInt(proportionWindow-cutoff), nil)
		chance.Mul(chance, new(big.Int).Binomial(proportionWindow, cutoff))
		if tail.Add(tail, chance); tail.Cmp(alpha) > 0 {
			break
		}
	}
	if cutoff+1 != proportionCutoff {
		t.Errorf("adaptive proportion cutoff is %d, want %d", proportionCutoff, cutoff+1)
	}
}

// TestRepetition: six equal bytes are too many, five are not, anywhere.
func TestRepetition(t *testing.T) {
	for at := 0; at+repetitionCutoff < 1024; at++ {
		p := goodBlock(1)
		value := p[at] // the run begins here, and whatever came before differs
		for at > 0 && p[at-1] == value {
			p[at-1]++
		}
		fill := func(n int) []byte {
			q := bytes.Clone(p)
			copy(q[at:], bytes.Repeat([]byte{value}, n))
			if q[at+n] == value {
				q[at+n]++
			}
			return q
		}
		if err := Check(fill(repetitionCutoff - 1)); err != nil {
			t.Fatalf("five equal bytes at %d: %v", at, err)
		}
		if err := Check(fill(repetitionCutoff)); !errors.Is(err, ErrUnhealthy) {
			t.Fatalf("six equal bytes at %d: %v", at, err)
		}
	}
}

// TestProportion: the first byte of a window 19 times in it is too often, 18
// times is not, in either window.
func TestProportion(t *testing.T) {
	for _, window := range []int{0, proportionWindow} {
		fill := func(n int) []byte {
			p := goodBlock(2)
			value := p[window]
			for i := range p {
				if p[i] == value {
					p[i]++
				}
			}
			for i := range n { // apart, so that no run is one
				p[window+i*proportionWindow/n] = value
			}
			return p
		}
		if err := Check(fill(proportionCutoff - 1)); err != nil {
			t.Errorf("18 in the window at %d: %v", window, err)
		}
		if err := Check(fill(proportionCutoff)); !errors.Is(err, ErrUnhealthy) {
			t.Errorf("19 in the window at %d: %v", window, err)
		}
		const last = 512 - 1 // of the window: SP 800-90B section 4.4.2
		p := fill(proportionCutoff - 1)
		if p[window+last] = p[window]; !errors.Is(Check(p), ErrUnhealthy) {
			t.Errorf("the last sample of the window at %d is not counted", window)
		}
	}
}

// TestGoodAndBad: good blocks pass, and each way of being stuck is found.
func TestGoodAndBad(t *testing.T) {
	for seed := range 255 {
		if err := Check(goodBlock(byte(seed))); err != nil {
			t.Errorf("a good block: %v", err)
		}
	}
	for name, p := range map[string][]byte{
		"zeros":       make([]byte, 1024),
		"ones":        bytes.Repeat([]byte{0xff}, 1024),
		"alternating": bytes.Repeat([]byte{0x55, 0xaa}, 512),
		"a word":      bytes.Repeat([]byte("entropy."), 128),
		"text":        bytes.Repeat([]byte("<html><head><title>301 Moved Permanently</title></head><body>..."), 16),
		"digits":      bytes.Repeat([]byte("31415926535897932384626433832795"), 32),
	} {
		if err := Check(p); !errors.Is(err, ErrUnhealthy) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMemory: the last 4096 blocks are recognized, and the one before them is not.
func TestMemory(t *testing.T) {
	const remembered = 4096 // as SECURITY.md says
	m := NewMemory([]byte{1}, Remembered)
	block := func(n int) []byte { return []byte{byte(n), byte(n >> 8)} }
	for n := range remembered {
		if err := m.Add(block(n)); err != nil {
			t.Fatalf("block %d: %v", n, err)
		}
	}
	for n := range remembered {
		if err := m.Add(block(n)); !errors.Is(err, ErrRepeated) {
			t.Fatalf("block %d again: %v", n, err)
		}
	}
	for n := remembered; n < 3*remembered; n++ { // each new one displaces the oldest
		if err := m.Add(block(n)); err != nil {
			t.Fatalf("block %d: %v", n, err)
		}
		if err := m.Add(block(n - remembered + 1)); err != ErrRepeated {
			t.Fatalf("block %d, the second oldest, again: %v", n-remembered+1, err)
		}
		if len(m.set) != remembered || len(m.ring) != remembered {
			t.Fatalf("after block %d there are %d fingerprints", n, len(m.set))
		}
	}
	if err := m.Add(block(0)); err != nil {
		t.Errorf("a block from before the last 4096: %v", err)
	}
}

// TestFingerprintsAreKeyed: another key gives other fingerprints.
func TestFingerprintsAreKeyed(t *testing.T) {
	a, b := NewMemory([]byte{1}, 1), NewMemory([]byte{2}, 1)
	a.Add([]byte("block"))
	b.Add([]byte("block"))
	if a.ring[0] == b.ring[0] {
		t.Error("the fingerprints do not depend on the key")
	}
	if a.KeyID() == b.KeyID() {
		t.Error("the names of the keys are the same")
	}
}

// TestPrintedMemory: no verb prints the key, also not of a value that holds a Memory.
func TestPrintedMemory(t *testing.T) {
	const key = "fingerprints-have-this-MAC-key.."
	m := NewMemory([]byte(key), 2)
	m.Add(goodBlock(1))
	for name, v := range map[string]any{
		"Memory":                     m,
		"copy of a Memory":           *m,
		"Memory in a field":          struct{ m *Memory }{m},
		"Memory by value in a field": struct{ m Memory }{*m},
	} {
		if shown := verbs.Showing(v, key); shown != nil {
			t.Errorf("%s: the key is shown by %v", name, shown)
		}
	}
}
