package chacha20

import (
	"bytes"
	"os"
	"syscall"
	"testing"
)

// TestGuardPages: no kernel reads or writes a byte outside its arguments. Otherwise this test
// crashes: each argument ends where a page begins that cannot be touched, and then begins
// where one ends.
func TestGuardPages(t *testing.T) {
	const most = 70
	area, keys, nonces := guarded(t, most*BlockSize), guarded(t, 32), guarded(t, 12)
	r := cases(4)
	eachKernel(t, func(t *testing.T, stream streamFunc) {
		for blocks := range most + 1 {
			key, nonce, counter := newCase(r)
			counter = min(counter, lastFrom(blocks))
			for _, xor := range []bool{false, true} {
				want := make([]byte, blocks*BlockSize)
				reference(want, &key, &nonce, counter, xor)
				for _, end := range []bool{false, true} {
					place := func(area []byte, size int) []byte {
						if end {
							return area[len(area)-size:]
						}
						return area[:size]
					}
					k, n, dst := (*[32]byte)(place(keys, 32)), (*[12]byte)(place(nonces, 12)), place(area, len(want))
					*k, *n = key, nonce
					clear(dst)
					stream(dst, k, n, counter, xor)
					if !bytes.Equal(dst, want) {
						t.Fatalf("%d blocks differ from x/crypto's", blocks)
					}
				}
			}
		}
	})
}

// guarded is whole pages, at least size bytes, between two that cannot be touched.
func guarded(t *testing.T, size int) []byte {
	page := os.Getpagesize()
	size = (size + page - 1) / page * page
	area, err := syscall.Mmap(-1, 0, page+size+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(area) })
	for _, guard := range [][]byte{area[:page], area[page+size:]} {
		if err := syscall.Mprotect(guard, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return area[page : page+size]
}
