package qrand

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/supply"
)

// A modelSource says what a Source of one shard must return, given what
// crypto/rand gave it.
type modelSource struct {
	t   *testing.T
	mix Mix
	os  *tape
	gen modelGenerator
}

func newModelSource(t *testing.T, mix Mix, os *tape) *modelSource {
	m := &modelSource{t: t, mix: mix, os: os}
	copy(m.gen.key[:], os.next(t, 32))
	os.next(t, 32) // the key of the fingerprints
	return m
}

func (m *modelSource) reseed(block []byte) { m.gen.rekey(modelSeed(m.os.next(m.t, 32), 0, block)) }

func (m *modelSource) reseedFromOS() { m.gen.rekey(m.os.next(m.t, 32)) }

func (m *modelSource) read(n int) (out []byte) {
	for ; n > pieceSize; n -= pieceSize {
		out = append(out, m.read(pieceSize)...)
	}
	if n == 0 {
		return out
	}
	switch m.mix {
	case MixXOR:
		os := m.os.next(m.t, n)
		for i, b := range m.gen.stream(n) {
			out = append(out, b^os[i])
		}
	case MixRekey:
		m.gen.rekey(m.os.next(m.t, 32))
		out = append(out, m.gen.expand(n)...)
	case MixRefill:
		for range n {
			if len(m.gen.left) == 0 {
				m.gen.rekey(m.os.next(m.t, 32))
			}
			out = append(out, m.gen.stream(1)...)
		}
	}
	return out
}

// TestOutputIsTheModels follows a Source from New through reads, a first block,
// a reseed with a block and one without, and compares each byte.
func TestOutputIsTheModels(t *testing.T) {
	for _, mix := range mixes {
		t.Run(mix.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				os := newTape()
				blocks := &fakeBlocks{}
				blocks.setErr(supply.ErrBlockCount)
				s := newTestSource(t, Config{Blocks: blocks, Mix: mix, BatchBlocks: 1}, 1, parts{os: os})
				synctest.Wait()
				model := newModelSource(t, mix, os)
				compare := func(when string) {
					t.Helper()
					for _, n := range readSizes {
						if got, want := mustRead(t, s, n), model.read(n); !bytes.Equal(got, want) {
							t.Fatalf("%s, a Read of %d bytes is not the model's", when, n)
						}
					}
				}
				compare("before any block")
				synctest.Wait() // 1 MiB has not gone out, nor has a minute passed
				if len(os.reads) != 0 {
					t.Fatal("crypto/rand was read without need")
				}

				blocks.setErr(nil)
				if err := s.Reseed(t.Context()); err != nil {
					t.Fatal(err)
				}
				model.reseed(newTestBlock(1).Bytes())
				compare("after the first block")

				blocks.setErr(supply.ErrBlockCount)
				time.Sleep(time.Minute)
				synctest.Wait()
				model.reseedFromOS()
				compare("after a reseed without a block")

				blocks.setErr(nil)
				if err := s.Reseed(t.Context()); err != nil {
					t.Fatal(err)
				}
				model.reseed(newTestBlock(2).Bytes())
				compare("after the second block")
				if len(os.reads) != 0 {
					t.Error("crypto/rand was read without need")
				}
			})
		})
	}
}

// TestOutputWithoutOS: if crypto/rand gives zeros only, the output is still the stream of
// the model, with the block in it.
func TestOutputWithoutOS(t *testing.T) {
	for _, mix := range mixes {
		t.Run(mix.String(), func(t *testing.T) {
			s := newTestSource(t, Config{Blocks: &fakeBlocks{}, Mix: mix, BatchBlocks: 1}, 1, parts{os: zeros{}})
			waitSeeded(t, s)
			var model modelGenerator // K = 0 at New
			model.rekey(modelSeed(make([]byte, 32), 0, newTestBlock(1).Bytes()))
			if got, want := mustRead(t, s, 900), model.stream(900); !bytes.Equal(got, want) {
				t.Error("the output is not the model's stream")
			}
		})
	}
}

// TestOutputWithoutGenerator: if the generator gives zeros only, the output of MixXOR is
// still the bytes of crypto/rand. For this reason, and because the generator knows nothing
// of them, a Source is never weaker.
func TestOutputWithoutGenerator(t *testing.T) {
	os := newTape()
	s := newTestSource(t, Config{Blocks: &fakeBlocks{}, BatchBlocks: 1}, 1, parts{
		os:        os,
		keystream: func(dst []byte, _ *[32]byte, _ uint32) { clear(dst) },
	})
	waitSeeded(t, s)
	for _, n := range readSizes {
		os.reads = nil
		got := mustRead(t, s, n)
		if want := bytes.Join(os.reads, nil); !bytes.Equal(got, want) {
			t.Errorf("a Read of %d bytes is not crypto/rand's bytes", n)
		}
	}
}

// TestDirtyBuffer: what p held before a Read does not change what it holds after it.
func TestDirtyBuffer(t *testing.T) {
	for _, mix := range mixes {
		var outputs [2][]byte
		for i, dirt := range []byte{0, 0xff} {
			s := newTestSource(t, Config{Blocks: &fakeBlocks{}, Mix: mix, BatchBlocks: 1}, 1, parts{os: newTape()})
			waitSeeded(t, s)
			p := bytes.Repeat([]byte{dirt}, 3000)
			s.Read(p)
			s.Close()
			outputs[i] = p
		}
		if !bytes.Equal(outputs[0], outputs[1]) {
			t.Errorf("%v: the output depends on what was in p", mix)
		}
	}
}

// TestShardsDiffer: no two shards have the same key, after New and after a block, even if
// crypto/rand gives zeros only then.
func TestShardsDiffer(t *testing.T) {
	s := newTestSource(t, Config{Blocks: &fakeBlocks{err: supply.ErrBlockCount}}, maxShards)
	keys := map[[32]byte]bool{}
	collect := func(when string) {
		for i, sh := range s.shards {
			if keys[sh.gen.Load().key] {
				t.Errorf("%s, shard %d has a key seen before", when, i)
			}
			keys[sh.gen.Load().key] = true
		}
	}
	collect("after New")
	s.os = zeros{}
	s.rekeyAll(newTestBlock(1).Bytes())
	collect("after a block")
	if len(keys) != 2*maxShards {
		t.Errorf("%d keys, want %d", len(keys), 2*maxShards)
	}
}
