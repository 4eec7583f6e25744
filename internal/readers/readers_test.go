package readers

import (
	"crypto/rand"
	"errors"
	"io"
	"testing"
)

// TestAsk finds out each answer, of functions that read a byte before and of
// those that do not.
func TestAsk(t *testing.T) {
	for want, f := range map[Answer]func(io.Reader) (any, error){
		All:     func(r io.Reader) (any, error) { return read(r, 32), nil },
		Some:    func(r io.Reader) (any, error) { return append(read(r, 32), rand.Text()...), nil },
		Wasted:  func(r io.Reader) (any, error) { read(r, 32); return "the same", nil },
		None:    func(io.Reader) (any, error) { return rand.Text(), nil },
		Nothing: func(io.Reader) (any, error) { return "the same", nil },
		Refused: func(io.Reader) (any, error) { return nil, errors.New("the reader broke") },
	} {
		decoys := 0
		if got, why := Ask(func(r io.Reader) (any, error) {
			read(r, decoys&1) // the second call with the same bytes does, the first does not
			decoys++
			return f(r)
		}); got != want {
			t.Errorf("%s: %s %s", want, got, why)
		}
	}
	if got, why := Ask(func(io.Reader) (any, error) { panic("no") }); got != Refused || why != "no" {
		t.Errorf("a panic: %s %s", got, why)
	}
}

func read(r io.Reader, n int) []byte {
	p := make([]byte, n)
	r.Read(p)
	return p
}
