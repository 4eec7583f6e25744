package qrand

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/chacha20"
	"example.com/qrand/internal/supply"
)

// These disasters are about the state: what goes into a key, who else has it, and where it
// comes out. disaster_test.go has those that come from outside.

// seededStream returns the first bytes of generator i of n after a reseed. All had the same
// key before.
func seededStream(key [32]byte, n, i int, os io.Reader, block []byte) (out [32]byte) {
	s := &Source{parts: testParts(parts{os: os})}
	for range n {
		sh := &shard{}
		sh.gen.Store(&secrets{generator: generator{key: key, keystream: s.keystream}})
		s.shards = append(s.shards, sh)
	}
	s.rekeyAll(block)
	s.shards[i].gen.Load().xor(out[:])
	return out
}

// repeatOS stands for crypto/rand, and gives the same 32 bytes each time.
type repeatOS [32]byte

func (o *repeatOS) Read(p []byte) (int, error) { return copy(p, o[:]), nil }

// TestDisasterLostBits: for two years, Debian's OpenSSL lacked the line that put seeds into
// the pool (CVE-2008-0166). Each bit of a block, of the bytes of crypto/rand and of the old
// key makes another stream, and so does each index. Each bit that a Read takes from
// crypto/rand makes another output.
func TestDisasterLostBits(t *testing.T) {
	key, os, block := testKey(11), repeatOS(testKey(12)), newTestBlock(1).Bytes()
	seen := map[[32]byte]string{}
	note := func(out [32]byte, what string, i int) {
		t.Helper()
		what = fmt.Sprint(what, " ", i)
		if other, ok := seen[out]; ok {
			t.Errorf("%s and %s give the same stream", what, other)
		}
		seen[out] = what
	}
	flip := func(p []byte, what string) {
		for bit := range 8 * len(p) {
			p[bit/8] ^= 1 << (bit % 8)
			note(seededStream(key, 1, 0, &os, block), what, bit)
			p[bit/8] ^= 1 << (bit % 8)
		}
	}
	for i := range maxShards {
		note(seededStream(key, maxShards, i, &os, block), "shard", i)
	}
	flip(block, "bit of the block")
	flip(os[:], "bit of crypto/rand's bytes")
	flip(key[:], "bit of the old key")
	note(seededStream(key, 1, 0, &os, nil), "no block", 0)
	if want := maxShards + 8192 + 256 + 256 + 1; len(seen) != want {
		t.Errorf("%d streams of %d are different", len(seen), want)
	}

	for _, mix := range mixes {
		clear(seen)
		s := newTestSource(t, Config{Blocks: &fakeBlocks{err: supply.ErrBlockCount}, Mix: mix}, 1, parts{os: &os})
		waitFailed(t, s)
		at := *s.shards[0].gen.Load() // where each Read begins
		for bit := -1; bit < 256; bit++ {
			os = repeatOS(testKey(13))
			if bit >= 0 {
				os[bit/8] ^= 1 << (bit % 8)
			}
			*s.shards[0].gen.Load() = at
			note([32]byte(mustRead(t, s, 32)), mix.String(), bit)
		}
	}
}

// TestDisasterClonedState: a virtual machine that is started twice from one snapshot has
// the same generators twice (Ristenpart and Yilek, NDSS 2010). So has a process that forks
// (CVE-2019-1549 of OpenSSL; rust-random/rand issue 1362). If two Sources have the same
// state, their outputs have nothing in common, because crypto/rand gives each other bytes.
// In MixRefill they have the rest of a buffer in common, as its documentation says, and not
// a byte more. After a reseed, even with the same block, they have nothing in common.
func TestDisasterClonedState(t *testing.T) {
	for _, mix := range mixes {
		for _, used := range []int{0, 1, 31, 992, 4063, 4064, 9000} {
			rest := 0
			if mix == MixRefill && used > 0 {
				rest = (4064 - used%4064) % 4064
			}
			bubble(t, func(t *testing.T) {
				testClone(t, mix, used, rest, func(*Source) {})
				testClone(t, mix, used, 0, func(s *Source) { s.rekeyAll(newTestBlock(1).Bytes()) })
			})
		}
	}
}

// testClone makes two Sources with the same state, after used bytes were read from each
// generator. It wants exactly want of the next bytes to be the same.
func testClone(t *testing.T, mix Mix, used, want int, then func(*Source)) {
	t.Helper()
	const shards = 3
	least := [shards]int{1 << 30, 1 << 30, 1 << 30}
	for range 4 { // what is equal by chance is not so each time
		var pair [2]*Source
		for i := range pair {
			pair[i] = newTestSource(t, Config{Blocks: &fakeBlocks{err: supply.ErrBlockCount}, Mix: mix}, shards)
			defer pair[i].Close()
		}
		synctest.Wait() // until the reseeders, which lock each shard in turn, rest
		for i := range shards {
			readFrom(t, pair[0], i, used)
			*pair[1].shards[i].gen.Load() = *pair[0].shards[i].gen.Load()
		}
		for _, s := range pair {
			then(s)
		}
		for i := range shards {
			p, q := readFrom(t, pair[0], i, 10_000), readFrom(t, pair[1], i, 10_000)
			common := 0
			for common < len(p) && p[common] == q[common] {
				common++
			}
			least[i] = min(least[i], common)
			if sharesWindow(p[want:], q[want:]) {
				t.Errorf("%v, after %d bytes: the clones' outputs meet behind the %d that they may have in common", mix, used, want)
				return
			}
		}
	}
	if least != [shards]int{want, want, want} {
		t.Errorf("%v, after %d bytes: clones have %v bytes in common, want %d", mix, used, least, want)
	}
}

// readFrom reads n bytes from generator i, a hundred at a time.
func readFrom(t *testing.T, s *Source, i, n int) (p []byte) {
	for h := range s.hints {
		s.hints[h].Store(uint32(i))
	}
	for ; n > 0; n -= 100 {
		p = append(p, mustRead(t, s, min(n, 100))...)
	}
	return p
}

// sharesWindow reports whether 8 bytes in a row of p are anywhere in q. (By
// chance: once in 10^11 calls here.)
func sharesWindow(p, q []byte) bool {
	windows := map[uint64]bool{}
	for i := 0; i+8 <= len(p); i++ {
		windows[binary.LittleEndian.Uint64(p[i:])] = true
	}
	for i := 0; i+8 <= len(q); i++ {
		if windows[binary.LittleEndian.Uint64(q[i:])] {
			return true
		}
	}
	return false
}

// TestDisasterReseedReachesAll: in OpenSSL 1.1.1 each thread has its own generator. A reseed
// of the generator that feeds them did not always reach them at once (openssl/openssl pull
// request 12759, 2020). Once Reseed returns, each of 64 generators has the key of the model,
// with the block in it, and nothing that the old key made. The same holds for a reseed
// without a block.
func TestDisasterReseedReachesAll(t *testing.T) {
	for _, mix := range mixes {
		bubble(t, func(t *testing.T) {
			os := newTape()
			blocks := &fakeBlocks{err: supply.ErrBlockCount}
			s := newTestSource(t, Config{Blocks: blocks, Mix: mix, BatchBlocks: 1}, maxShards, parts{os: os})
			synctest.Wait()
			for n := uint64(1); n <= 3; n++ {
				for i := range s.shards {
					readFrom(t, s, i, 100)
				}
				var old [maxShards]modelGenerator
				for i, sh := range s.shards {
					old[i].key = sh.gen.Load().key
				}
				os.reads = nil
				blocks.setErr(nil)
				if err := s.Reseed(t.Context()); err != nil {
					t.Fatal(err)
				}
				want := func(seed func(i int) []byte) {
					t.Helper()
					reached := 0
					for i, sh := range s.shards {
						old[i].rekey(seed(i))
						if holdsOnly(sh.gen.Load().generator, old[i].key) {
							reached++
						}
					}
					if reached != maxShards {
						t.Errorf("%v: %d of %d generators are reseeded", mix, reached, maxShards)
					}
				}
				block := newTestBlock(n).Bytes()
				want(func(i int) []byte { return modelSeed(os.next(t, 32), byte(i), block) })
				s.rekeyAll(nil)
				want(func(int) []byte { return os.next(t, 32) })
				blocks.setErr(supply.ErrBlockCount)
			}
		})
	}
}

// TestDisasterKeyAsOutput: after a Seed, the first bytes that package frand gave out were
// also its next key (lukechampine/frand commit 38046b4, 2021). Over reads of all sizes and
// reseeds, no 32 consecutive bytes of the output are a key that the generator or its model
// ever had. The same holds for the stream, without the bytes of crypto/rand.
func TestDisasterKeyAsOutput(t *testing.T) {
	for _, mix := range mixes {
		for _, osZeros := range []bool{false, true} { // then MixXOR's output is the stream
			bubble(t, func(t *testing.T) {
				os := newTape()
				stub := parts{os: os}
				if osZeros {
					stub.os = zeroTape{os}
				}
				keys := map[[32]byte]bool{}
				stub.keystream = func(dst []byte, key *[32]byte, counter uint32) {
					keys[*key] = true
					chacha20.Blocks(dst, key, counter)
				}
				blocks := &fakeBlocks{err: supply.ErrBlockCount}
				s := newTestSource(t, Config{Blocks: blocks, Mix: mix, BatchBlocks: 1}, 1, stub)
				synctest.Wait()
				model := newModelSource(t, mix, os)
				keep := func() {
					keys[s.shards[0].gen.Load().key] = true
					keys[model.gen.key] = true
				}
				var output []byte
				for n := uint64(1); n <= 4; n++ {
					for _, size := range readSizes {
						keep()
						output = append(output, mustRead(t, s, size)...)
						model.read(size) // the same: TestOutputIsTheModels
					}
					keep()
					blocks.setErr(nil)
					if err := s.Reseed(t.Context()); err != nil {
						t.Fatal(err)
					}
					model.reseed(newTestBlock(n).Bytes())
					keep()
					blocks.setErr(supply.ErrBlockCount)
				}
				if len(keys) < 40 {
					t.Errorf("%v: only %d keys were seen", mix, len(keys))
				}
				starts := map[uint64]bool{}
				for key := range keys {
					starts[binary.LittleEndian.Uint64(key[:])] = true
				}
				for i := 0; i+32 <= len(output); i++ {
					if starts[binary.LittleEndian.Uint64(output[i:])] && keys[[32]byte(output[i:i+32])] {
						t.Fatalf("%v: byte %d of the output begins a key", mix, i)
					}
				}
			})
		}
	}
}

// zeroTape is zeros, kept on the tape.
type zeroTape struct{ *tape }

func (o zeroTape) Read(p []byte) (int, error) {
	clear(p)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reads = append(o.reads, bytes.Clone(p))
	return len(p), nil
}

// TestDisasterWipedInUse: in package prng-chacha a change of key clears the old cipher, which
// a Read may still use (asyncRekey in sixafter/prng-chacha commit d0399d0). With many readers
// and one reseed after another, no 16 consecutive zeros come out, and nothing that a cleared
// key would make. Each byte is counted once. crypto/rand gives zeros here, so that it hides
// nothing.
func TestDisasterWipedInUse(t *testing.T) {
	key := [32]byte{}
	cleared := make([]byte, 2*pieceSize)
	chacha20.Blocks(cleared, &key, 0)
	bad := map[uint64]bool{0: true}
	for i := 0; i+8 <= len(cleared); i++ {
		bad[binary.LittleEndian.Uint64(cleared[i:])] = true
	}
	for _, mix := range mixes {
		s := newTestSource(t, Config{Blocks: &fakeBlocks{}, Mix: mix, ReseedInterval: time.Hour, ReseedBytes: 1 << 40}, 2, parts{os: zeros{}})
		waitSeeded(t, s)
		var all sync.WaitGroup
		var reseeds atomic.Int64
		const enough = 200
		all.Go(func() {
			for reseeds.Load() < enough {
				s.rekeyAll(newTestBlock(uint64(1000 + reseeds.Add(1))).Bytes())
			}
		})
		var want [4]struct{ reads, bytes int64 }
		for reader := range want {
			all.Go(func() {
				random := mathrand.New(mathrand.NewPCG(uint64(reader), 0))
				p := make([]byte, pieceSize+100)
				for i := 0; reseeds.Load() < enough; i++ {
					n := 8 + random.IntN(3000)
					if i%50 == 0 {
						n = len(p) - random.IntN(200)
					}
					clear(p)
					mustReadInto(t, s, p[:n])
					want[reader].reads++
					want[reader].bytes += int64(n)
					if bad[binary.LittleEndian.Uint64(p)] || bytes.Contains(p[:n], make([]byte, 16)) {
						t.Errorf("%v: a Read of %d bytes is of a cleared key", mix, n)
					}
				}
			})
		}
		all.Wait()
		var reads, total int64
		for _, w := range want {
			reads, total = reads+w.reads, total+w.bytes
		}
		if st := s.Status(); st.Reads != reads || st.Bytes != total {
			t.Errorf("%v: %d bytes in %d reads are counted, want %d in %d", mix, st.Bytes, st.Reads, total, reads)
		}
		s.Close()
	}
}

// mustReadInto does what mustRead does, from any goroutine.
func mustReadInto(t *testing.T, s *Source, p []byte) {
	if n, err := s.Read(p); n != len(p) || err != nil {
		t.Errorf("Read of %d bytes returned %d, %v", len(p), n, err)
	}
}
