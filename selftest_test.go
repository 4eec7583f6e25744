package qrand

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// TestSelfTest: for a fault in either primitive there is an error that says which one, and
// what to do. The known answer equals that of the model. (A test of chacha20.SelfTest shows
// that it finds a fault in each kernel.)
func TestSelfTest(t *testing.T) {
	right := func() error { return nil }
	if err := testPrimitives(right, hmacExtract); err != nil {
		t.Error(err)
	}
	os, block := make([]byte, 32), make([]byte, 1024)
	for i := range block {
		block[i] = byte(i)
	}
	copy(os, block)
	if !bytes.Equal(modelSeed(os, 7, block), unhex(t, seedAnswer)) {
		t.Error("the known answer is not the model's")
	}

	wrong := errors.New("chacha20: self-test: the kernel for some processor")
	if err := testPrimitives(func() error { return wrong }, hmacExtract); !errors.Is(err, wrong) || !strings.Contains(err.Error(), "purego") {
		t.Errorf("with a wrong kernel: %v", err)
	}
	for bit := range 256 {
		seed := func(os *[32]byte, shard byte, block []byte) [32]byte {
			x := hmacExtract(os, shard, block)
			x[bit/8] ^= 1 << (bit % 8)
			return x
		}
		if err := testPrimitives(right, seed); err == nil || !strings.Contains(err.Error(), "HMAC-SHA-512") {
			t.Fatalf("with bit %d of the seed wrong: %v", bit, err)
		}
	}
}

// TestNewNeedsTheSelfTest: if the self-test fails, no Source is made, and no key is read
// from crypto/rand.
func TestNewNeedsTheSelfTest(t *testing.T) {
	wrong := errors.New("wrong")
	os := newTape()
	s, err := newSource(Config{Blocks: &fakeBlocks{}}, 1, testParts(parts{os: os, selfTest: func() error { return wrong }}))
	if s != nil || err != wrong {
		t.Errorf("newSource returned %v, %v", s, err)
	}
	if len(os.reads) > 0 {
		t.Error("a key was made")
	}
}
