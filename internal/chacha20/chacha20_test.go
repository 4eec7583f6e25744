package chacha20

import (
	"bytes"
	"testing"

	"golang.org/x/crypto/chacha20"
)

// TestKeyStream: for every number of blocks the keystream is the cipher's,
// whatever dst held, and key is left alone. (The RFC's vectors are held against
// it in the root package.)
func TestKeyStream(t *testing.T) {
	key := [KeySize]byte{1, 2, 3}
	for blocks := range 33 {
		want := make([]byte, blocks*BlockSize)
		c, err := chacha20.NewUnauthenticatedCipher(key[:], make([]byte, 12))
		if err != nil {
			t.Fatal(err)
		}
		c.XORKeyStream(want, want)
		for _, dirt := range []byte{0, 0xff} {
			dst := bytes.Repeat([]byte{dirt}, blocks*BlockSize)
			KeyStream(dst, &key)
			if !bytes.Equal(dst, want) {
				t.Errorf("%d blocks over %x differ", blocks, dirt)
			}
		}
	}
	if key != [KeySize]byte{1, 2, 3} {
		t.Error("the key was changed")
	}
}

func TestAllocations(t *testing.T) {
	dst, key := make([]byte, 1024), new([KeySize]byte)
	if n := testing.AllocsPerRun(100, func() { KeyStream(dst, key) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
