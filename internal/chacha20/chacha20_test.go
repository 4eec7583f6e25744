package chacha20

import (
	"bytes"
	"testing"
)

// TestBlocks: for every number of blocks, and from any block on, the keystream is that of
// the cipher. What dst held before does not matter, and key does not change.
func TestBlocks(t *testing.T) {
	key := [KeySize]byte{1, 2, 3}
	for blocks := range 80 {
		for _, counter := range []uint32{0, 1, 1<<31 - 5, 1<<32 - 80} {
			want := make([]byte, blocks*BlockSize)
			reference(want, &key, new([12]byte), counter, false)
			for _, dirt := range []byte{0, 0xff} {
				dst := bytes.Repeat([]byte{dirt}, len(want))
				Blocks(dst, &key, counter)
				if !bytes.Equal(dst, want) {
					t.Errorf("Blocks: %d from %d over %x differ", blocks, counter, dirt)
				}
				dst = bytes.Repeat([]byte{dirt}, len(want))
				XORBlocks(dst, &key, counter)
				for i := range dst {
					dst[i] ^= dirt
				}
				if !bytes.Equal(dst, want) {
					t.Errorf("XORBlocks: %d from %d over %x differ", blocks, counter, dirt)
				}
			}
		}
	}
	if key != [KeySize]byte{1, 2, 3} {
		t.Error("the key was changed")
	}
}

// TestPanics: a mistake of the caller panics before a byte is written.
func TestPanics(t *testing.T) {
	for _, tc := range []struct {
		what    string
		size    int
		counter uint32
		want    string
	}{
		{"a byte", 1, 0, "chacha20: dst is not whole blocks"},
		{"a block less a byte", 63, 0, "chacha20: dst is not whole blocks"},
		{"two blocks and a byte", 129, 0, "chacha20: dst is not whole blocks"},
		{"the last block", 64, 1<<32 - 1, ""},
		{"two blocks from the last", 128, 1<<32 - 1, "chacha20: the counter would wrap"},
		{"many blocks around the end", 1024, 1<<32 - 15, "chacha20: the counter would wrap"},
	} {
		for name, f := range map[string]func([]byte, *[KeySize]byte, uint32){"Blocks": Blocks, "XORBlocks": XORBlocks} {
			dst := make([]byte, tc.size)
			var got any
			func() {
				defer func() { got = recover() }()
				f(dst, new([KeySize]byte), tc.counter)
			}()
			if tc.want == "" {
				if got != nil {
					t.Errorf("%s of %s panics: %v", name, tc.what, got)
				}
				continue
			}
			if got != tc.want {
				t.Errorf("%s of %s: %v, want %q", name, tc.what, got, tc.want)
			}
			if !bytes.Equal(dst, make([]byte, tc.size)) {
				t.Errorf("%s of %s wrote something", name, tc.what)
			}
		}
	}
}

func TestAllocations(t *testing.T) {
	dst := make([]byte, 4096)
	if n := testing.AllocsPerRun(100, func() {
		var key [KeySize]byte // stays on the stack
		Blocks(dst, &key, 0)
		Blocks(dst[:64], &key, 1)
		XORBlocks(dst[:640], &key, 1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
