package chacha20

import (
	"fmt"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// BenchmarkStream is the keystream by each kernel, by size. Beside them are what
// the package calls, with its dispatch, and two of x/crypto to compare with:
// chacha20, and the seal of chacha20poly1305, whose assembly also authenticates.
func BenchmarkStream(b *testing.B) {
	key, nonce := new([KeySize]byte), new([12]byte)
	for _, size := range []int{64, 128, 256, 512, 1024, 4096, 65536} {
		dst := make([]byte, size)
		run := func(name string, f func()) {
			b.Run(fmt.Sprintf("%d/%s", size, name), func(b *testing.B) {
				b.SetBytes(int64(size))
				for b.Loop() {
					f()
				}
			})
		}
		run("Blocks", func() { Blocks(dst, key, 0) })
		run("XORBlocks", func() { XORBlocks(dst, key, 0) })
		for _, k := range kernels {
			if k.available {
				run(k.name, func() { k.stream(dst, key, nonce, 0, false) })
			}
		}
		run("x/crypto/chacha20", func() { reference(dst, key, nonce, 0, false) })
		aead, err := chacha20poly1305.New(key[:])
		if err != nil {
			b.Fatal(err)
		}
		sealed := make([]byte, 0, size+aead.Overhead())
		run("x/crypto/chacha20poly1305", func() { aead.Seal(sealed, nonce[:], dst, nil) })
	}
}
