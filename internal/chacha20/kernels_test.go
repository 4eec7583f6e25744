package chacha20

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	mathrand "math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/chacha20"
)

type streamFunc func(dst []byte, key *[32]byte, nonce *[12]byte, counter uint32, xor bool)

// A kernel is one way to make the stream, which a test can force.
type kernel struct {
	name      string
	available bool // on this processor
	stream    streamFunc
}

// eachKernel runs f for all kernels that this processor has, and for what the
// package itself calls.
func eachKernel(t *testing.T, f func(t *testing.T, stream streamFunc)) {
	t.Run("chosen", func(t *testing.T) { f(t, stream) })
	for _, k := range kernels {
		t.Run(k.name, func(t *testing.T) {
			if !k.available {
				t.Skip("this processor does not have what the kernel needs")
			}
			f(t, k.stream)
		})
	}
}

// reference is the stream by x/crypto.
func reference(dst []byte, key *[32]byte, nonce *[12]byte, counter uint32, xor bool) {
	c, err := chacha20.NewUnauthenticatedCipher(key[:], nonce[:])
	if err != nil {
		panic(err)
	}
	c.SetCounter(counter)
	if !xor {
		clear(dst)
	}
	c.XORKeyStream(dst, dst)
}

// TestKernels says what the other tests cover on this machine.
func TestKernels(t *testing.T) {
	for _, k := range kernels {
		if k.available {
			t.Logf("%s: tested here", k.name)
		} else {
			t.Logf("%s: NOT tested here, this processor does not have what it needs", k.name)
		}
	}
}

// cases is a source of random cases, the same in each run.
func cases(seed byte) *mathrand.ChaCha8 { return mathrand.NewChaCha8([32]byte{seed}) }

func newCase(r *mathrand.ChaCha8) (key [32]byte, nonce [12]byte, counter uint32) {
	r.Read(key[:])
	r.Read(nonce[:])
	return key, nonce, uint32(r.Uint64())
}

// lastFrom is the counter from which the last blocks are so many.
func lastFrom(blocks int) uint32 { return uint32(1<<32 - uint64(max(blocks, 1))) }

// TestBlockVectors: the block function is that of RFC 8439 section 2.3.2 and appendix
// A.1, whether the block is the first of a pass or, as far as its counter allows,
// a later one.
func TestBlockVectors(t *testing.T) {
	file, err := os.Open("../../testdata/rfc8439.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	type vector struct {
		name    string
		key     [32]byte
		nonce   [12]byte
		counter uint32
		want    []byte
	}
	var vectors []vector
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		f := strings.Fields(lines.Text())
		counter, err := strconv.ParseUint(f[3], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		vectors = append(vectors, vector{f[0], [32]byte(unhex(t, f[1])), [12]byte(unhex(t, f[2])), uint32(counter), unhex(t, f[4])})
	}
	if len(vectors) != 6 {
		t.Fatalf("%d vectors, want 6", len(vectors))
	}
	check := func(t *testing.T, stream streamFunc) {
		for _, v := range vectors {
			for lane := range v.counter + 1 {
				dst := make([]byte, (lane+1)*BlockSize)
				stream(dst, &v.key, &v.nonce, v.counter-lane, false)
				if got := dst[lane*BlockSize:]; !bytes.Equal(got, v.want) {
					t.Errorf("%s, as block %d: %x", v.name, lane, got)
				}
			}
		}
	}
	t.Run("the model", func(t *testing.T) { check(t, model) })
	eachKernel(t, check)
}

// TestEncryptionVector: XOR over a text is the encryption of RFC 8439 section 2.4.2.
// The text is not whole blocks, so what follows it is the stream XOR zeros.
// (`openssl enc -chacha20` gives the same ciphertext.)
func TestEncryptionVector(t *testing.T) {
	const text = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
	want := unhex(t, "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0b"+
		"f91b65c5524733ab8f593dabcd62b3571639d624e65152ab8f530c359f0861d8"+
		"07ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab7793736"+
		"5af90bbf74a35be6b40b8eedf2785e42874d")
	key := [32]byte(unhex(t, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"))
	nonce := [12]byte(unhex(t, "000000000000004a00000000"))
	eachKernel(t, func(t *testing.T, stream streamFunc) {
		dst := make([]byte, 2*BlockSize)
		copy(dst, text)
		stream(dst, &key, &nonce, 1, true)
		if got := dst[:len(text)]; !bytes.Equal(got, want) {
			t.Errorf("the ciphertext is %x", got)
		}
	})
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEveryLength: for every number of blocks and every alignment, each kernel
// writes and XORs what x/crypto does, and not a byte before or after it.
func TestEveryLength(t *testing.T) {
	const most = 4096 / BlockSize
	r := cases(1)
	before := make([]byte, 64+200*BlockSize+64)
	r.Read(before)
	got, want := make([]byte, len(before)), make([]byte, len(before))
	compare := func(t *testing.T, stream streamFunc, blocks, offset int) {
		key, nonce, counter := newCase(r)
		counter = min(counter, lastFrom(blocks))
		for _, xor := range []bool{false, true} {
			copy(got, before)
			copy(want, before)
			k, n := key, nonce
			stream(got[offset:][:blocks*BlockSize], &k, &n, counter, xor)
			reference(want[offset:][:blocks*BlockSize], &key, &nonce, counter, xor)
			if !bytes.Equal(got, want) {
				t.Fatalf("%d blocks at offset %d, xor %v: differ from x/crypto's, or something around them was changed", blocks, offset, xor)
			}
			if k != key || n != nonce {
				t.Fatal("the key or the nonce was changed")
			}
		}
	}
	eachKernel(t, func(t *testing.T, stream streamFunc) {
		for blocks := range most + 1 {
			for offset := range 64 {
				compare(t, stream, blocks, offset)
			}
		}
		for blocks := most + 1; blocks <= 200; blocks++ {
			compare(t, stream, blocks, blocks%64)
		}
	})
}

// TestLastBlocks: the counter goes up to 2^32-1 in each kernel, at any block of a
// pass. TestPanics shows that no caller gets beyond it.
func TestLastBlocks(t *testing.T) {
	key, nonce, _ := newCase(cases(2))
	eachKernel(t, func(t *testing.T, stream streamFunc) {
		for blocks := 1; blocks <= 70; blocks++ {
			got, want := make([]byte, blocks*BlockSize), make([]byte, blocks*BlockSize)
			stream(got, &key, &nonce, lastFrom(blocks), false)
			reference(want, &key, &nonce, lastFrom(blocks), false)
			if !bytes.Equal(got, want) {
				t.Errorf("the last %d blocks differ from x/crypto's", blocks)
			}
		}
	})
}

// TestAccumulated: 100,000 random cases give each kernel the same hash as x/crypto.
func TestAccumulated(t *testing.T) {
	const seed = 3
	count := 100_000
	if testing.Short() {
		count = 10_000
	}
	accumulate := func(stream streamFunc) [sha256.Size]byte {
		r := cases(seed)
		sum := sha256.New()
		buf := make([]byte, 40*BlockSize)
		for range count {
			key, nonce, counter := newCase(r)
			x := r.Uint64()
			blocks := int(x % 8) // half of the cases are short, the others up to 40 blocks
			if x>>63 == 1 {
				blocks = int(x % 41)
			}
			counter = min(counter, lastFrom(blocks))
			dst := buf[:blocks*BlockSize] // which begins as what the case before left
			stream(dst, &key, &nonce, counter, x>>62&1 == 1)
			sum.Write(dst)
		}
		return [sha256.Size]byte(sum.Sum(nil))
	}
	want := accumulate(reference)
	eachKernel(t, func(t *testing.T, stream streamFunc) {
		if got := accumulate(stream); got != want {
			t.Errorf("the hash of %d cases is %x, x/crypto's %x", count, got, want)
		}
	})
}

// FuzzKernels: each kernel does the same as x/crypto and the model.
func FuzzKernels(f *testing.F) {
	f.Add([]byte("key"), []byte("nonce"), uint32(0), byte(17), []byte("what was there"), true)
	f.Add([]byte{0xff}, []byte{}, uint32(1<<32-3), byte(255), []byte{1}, false)
	f.Fuzz(func(t *testing.T, k, n []byte, counter uint32, size byte, content []byte, xor bool) {
		var key [32]byte
		var nonce [12]byte
		copy(key[:], k)
		copy(nonce[:], n)
		blocks := int(min(uint64(size), 1<<32-uint64(counter)))
		before := make([]byte, blocks*BlockSize)
		for i := range before {
			if len(content) > 0 {
				before[i] = content[i%len(content)]
			}
		}
		want, second := bytes.Clone(before), bytes.Clone(before)
		reference(want, &key, &nonce, counter, xor)
		model(second, &key, &nonce, counter, xor)
		if !bytes.Equal(want, second) {
			t.Error("x/crypto and the model differ")
		}
		for _, kernel := range kernels {
			if !kernel.available {
				continue
			}
			got := bytes.Clone(before)
			kernel.stream(got, &key, &nonce, counter, xor)
			if !bytes.Equal(got, want) {
				t.Errorf("%s: %d blocks from %d, xor %v, differ", kernel.name, blocks, counter, xor)
			}
		}
	})
}
