package abuse

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// cuts are how an honest relay may cut three blocks up.
var cuts = []int{16, 33, 500, 1000, 17, 482, 1024}

func honest(t *testing.T) (*Numbered, [][]byte) {
	t.Helper()
	u := NewNumbered()
	p, err := u.Give(4)
	if err != nil {
		t.Fatal(err)
	}
	var answers [][]byte
	for _, n := range cuts {
		answers = append(answers, slices.Clone(p[:n]))
		p = p[n:]
	}
	return u, answers
}

func check(u *Numbered, answers [][]byte) (int64, error) {
	l := NewLedger(u)
	for _, a := range answers {
		l.Add(a)
	}
	return l.Check()
}

// TestLedger: answers that were cut from the stream in any way are distinct.
func TestLedger(t *testing.T) {
	u, answers := honest(t)
	if n, err := check(u, answers); err != nil || n != 3072 {
		t.Errorf("%d bytes, %v", n, err)
	}
	slices.Reverse(answers)
	if n, err := check(u, answers); err != nil || n != 3072 {
		t.Errorf("in another order: %d bytes, %v", n, err)
	}
}

// TestLedgerEveryCut: the first cut is anywhere, so that pieces of one byte to
// seven are on either side of a block's end.
func TestLedgerEveryCut(t *testing.T) {
	for first := block - 40; first < block+20; first++ {
		u := NewNumbered()
		p, _ := u.Give(4)
		for n := 16; n < 32; n++ {
			answers := [][]byte{p[:first], p[first:][:n], p[first+n:]}
			if got, err := check(u, answers); err != nil || got != 4*block {
				t.Fatalf("cut at %d and %d bytes on: %d bytes, %v", first, n, got, err)
			}
			// 24 of the bytes again, from anywhere.
			again := append(answers, p[first:][:24])
			if _, err := check(u, again); err == nil {
				t.Fatalf("24 bytes from %d were handed out twice, and nobody noticed", first)
			}
		}
	}
}

// TestLedgerFinds: a byte that was handed out twice, one of another stream, one
// that was changed, and one that was left out within an answer.
func TestLedgerFinds(t *testing.T) {
	for name, spoil := range map[string]func([][]byte) [][]byte{
		"twice":       func(a [][]byte) [][]byte { return append(a, a[2][:16]) },
		"one byte":    func(a [][]byte) [][]byte { return append(a, append(slices.Clone(a[2][499:]), a[3][:16]...)) },
		"changed":     func(a [][]byte) [][]byte { a[3][700]++; return a },
		"left out":    func(a [][]byte) [][]byte { a[3] = slices.Delete(a[3], 300, 301); return a },
		"not of it":   func(a [][]byte) [][]byte { return append(a, []byte(strings.Repeat("another stream ", 4))) },
		"zeros":       func(a [][]byte) [][]byte { clear(a[5][470:]); return a },
		"short twice": func(a [][]byte) [][]byte { return append(a, a[6][:7]) },
	} {
		u, answers := honest(t)
		if n, err := check(u, spoil(answers)); err == nil {
			t.Errorf("%s: %d bytes, and no error", name, n)
		}
	}
}

// TestNumberedEnd: a caller who makes one request at a time has received all that was
// given when the next one is refused.
func TestNumberedEnd(t *testing.T) {
	u := NewNumbered()
	blocks, err := u.Blocks(context.Background(), 2)
	if err != nil || len(blocks) != 2 || !blocks[0].Origin().Emulated || u.Given() != 2*block {
		t.Fatalf("%d blocks, %v", len(blocks), err)
	}
	refused := u.End()
	if closed(refused) {
		t.Error("refused before anybody asked")
	}
	if _, err := u.Blocks(context.Background(), 1); err == nil || !closed(refused) {
		t.Errorf("after the end: %v", err)
	}
}
