package osrand

import (
	"crypto/rand"
	"testing"
)

type unused struct{ t *testing.T }

func (r unused) Read(p []byte) (int, error) {
	r.t.Error("the replacement was read")
	return len(p), nil
}

// TestReader: what a program puts in the place of rand.Reader is not read.
func TestReader(t *testing.T) {
	saved := rand.Reader
	defer func() { rand.Reader = saved }()
	rand.Reader = unused{t}
	var p [32]byte
	if n, err := Reader().Read(p[:]); n != len(p) || err != nil || p == [32]byte{} {
		t.Errorf("Read returned %d, %v and %x", n, err, p)
	}
}
