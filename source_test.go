package qrand

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"example.com/qrand/internal/health"
	"example.com/qrand/qrypt"
)

// TestDropped: a Source that is dropped stays as it is until it is closed, as the
// documentation of New says, and is collected after that.
func TestDropped(t *testing.T) {
	collect := func() {
		for range 3 {
			runtime.GC() // also what a finalizer or a sync.Pool has kept
		}
	}
	dropped := func() weak.Pointer[Source] {
		s, err := New(Config{Blocks: &fakeBlocks{}})
		if err != nil {
			t.Fatal(err)
		}
		waitSeeded(t, s)
		return weak.Make(s)
	}()
	collect()
	func() {
		s := dropped.Value()
		if s == nil {
			t.Fatal("it is collected, and Close was not called")
		}
		if allZero(s.shards[0].gen.Load().key[:]) {
			t.Error("its keys are wiped")
		}
		if err := s.Reseed(t.Context()); err != nil {
			t.Errorf("its goroutine does not work: %v", err)
		}
		if st := s.Status(); st.State != Seeded || st.Stock == 0 {
			t.Errorf("its status: %v", st)
		}
		s.Close()
	}()
	collect()
	if dropped.Value() != nil {
		t.Error("it is not collected after Close")
	}
}

// TestRequireInitial: all Reads fail before the first block, and none after it.
func TestRequireInitial(t *testing.T) {
	bubble(t, func(t *testing.T) {
		blocks := &fakeBlocks{err: errors.New("not yet")}
		s := newTestSource(t, Config{Blocks: blocks, Policy: RequireInitial}, 2)
		wantRefused(t, s, ErrNotSeeded)
		time.Sleep(time.Hour)
		wantRefused(t, s, ErrNotSeeded)
		blocks.setErr(nil)
		if err := s.Reseed(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustRead(t, s, 100)
		blocks.setErr(errors.New("no more"))
		for range 100 {
			mustRead(t, s, 100)
			time.Sleep(time.Hour)
		}
		if st := s.Status(); st.State != Degraded || st.ReadsBeforeBlock != 0 {
			t.Errorf("status: %v", st)
		}
		s.Close()
		wantRefused(t, s, ErrClosed)
	})
}

// TestClose: after it a Source holds no key and reads crypto/rand alone.
func TestClose(t *testing.T) {
	for _, mix := range mixes {
		os := newTape()
		s := newTestSource(t, Config{Blocks: &fakeBlocks{}, Mix: mix}, 3, parts{os: os})
		waitSeeded(t, s)
		mustRead(t, s, 100)
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		wantWiped(t, s)
		os.reads = nil
		if got := mustRead(t, s, 100); !bytes.Equal(got, os.next(t, 100)) {
			t.Errorf("%v: after Close a Read is not crypto/rand's", mix)
		}
		if st := s.Status(); st.State != Closed || st.Stock != 0 || st.Reads != 2 {
			t.Errorf("%v: status: %v", mix, st)
		}
	}
}

func wantWiped(t *testing.T, s *Source) {
	t.Helper()
	for i, sh := range s.shards {
		left := *sh.gen.Load()
		left.keystream = nil
		if !reflect.DeepEqual(left, secrets{}) {
			t.Errorf("%v, shard %d: a key or output is left", s.cfg.Mix, i)
		}
	}
}

// TestCloseDuringReseed: a reseed that Close overtakes puts no key into a generator.
func TestCloseDuringReseed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var hold atomic.Bool
		closed := make(chan struct{})
		s := newTestSource(t, Config{Blocks: &fakeBlocks{}}, 2, parts{extract: func(os *[32]byte, shard byte, block []byte) [32]byte {
			if hold.Swap(false) {
				<-closed
			}
			return hmacExtract(os, shard, block)
		}})
		waitSeeded(t, s)
		hold.Store(true)
		go s.Reseed(t.Context())
		time.Sleep(time.Second) // the pace of requests
		synctest.Wait()
		if hold.Load() {
			t.Fatal("no reseed")
		}
		go s.Close()
		synctest.Wait()
		wantWiped(t, s)
		close(closed)
		synctest.Wait()
		wantWiped(t, s)
	})
}

// TestReadOvertakenByClose: a Read that was permitted before Close, and reaches its shard
// after it, returns no byte without what the Policy requires.
func TestReadOvertakenByClose(t *testing.T) {
	s := newTestSource(t, Config{Blocks: &fakeBlocks{}, Policy: RequireInitial}, 1)
	waitSeeded(t, s)
	s.Close()
	s.closed.Store(false) // as permit saw it
	p := []byte{1, 2, 3}
	if n, err := s.Read(p); n != 0 || err != ErrClosed || !allZero(p) {
		t.Errorf("Read returned %d, %v, %v", n, err, p)
	}
	if n := s.Status().RefusedReads; n != 1 {
		t.Errorf("%d Reads are counted as refused, want 1", n)
	}
}

// TestZeroSource: the methods of a zero Source return an error.
func TestZeroSource(t *testing.T) {
	s := new(Source)
	if n, err := s.Read(make([]byte, 8)); n != 0 || err != errNotMade {
		t.Errorf("Read returned %d, %v", n, err)
	}
	for name, err := range map[string]error{"WaitSeeded": s.WaitSeeded(t.Context()), "Reseed": s.Reseed(t.Context()), "Close": s.Close()} {
		if err != errNotMade {
			t.Errorf("%s returned %v", name, err)
		}
	}
	if st := s.Status(); st.Time.IsZero() || st.Reads != 0 {
		t.Errorf("Status returned %v", st)
	}
}

// TestConcurrentUse is for the race detector: reads in all sizes, reseeds as
// fast as they come, Status and Close, at once.
func TestConcurrentUse(t *testing.T) {
	for _, mix := range mixes {
		s := newTestSource(t, Config{Blocks: &fakeBlocks{}, Mix: mix, ReseedBytes: 1}, 3)
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				p, zero := make([]byte, 2000), make([]byte, 2000)
				for i := range 300 {
					n := 16 + (i*37+worker*101)%len(p[16:])
					clear(p)
					if m, err := s.Read(p[:n]); m != n || err != nil {
						t.Errorf("%v: Read returned %d, %v", mix, m, err)
					}
					if bytes.Equal(p[:n], zero[:n]) {
						t.Errorf("%v: %d zeros", mix, n)
					}
					if i%50 == 0 {
						_ = s.Status()
					}
					if worker == 0 && i == 250 {
						s.Close()
					}
				}
			})
		}
		wg.Wait()
		if st := s.Status(); st.Reads != 8*300 {
			t.Errorf("%v: %d reads counted, want %d", mix, st.Reads, 8*300)
		}
	}
}

// TestReadFull: a Source is a reader like any other.
func TestReadFull(t *testing.T) {
	s := newTestSource(t, Config{Blocks: &fakeBlocks{}}, 1)
	p := make([]byte, 200_000)
	if n, err := io.ReadFull(io.LimitReader(s, int64(len(p))), p); n != len(p) || err != nil {
		t.Errorf("ReadFull returned %d, %v", n, err)
	}
	if n, err := s.Read(nil); n != 0 || err != nil {
		t.Errorf("Read of nothing returned %d, %v", n, err)
	}
}

// TestReadsDoNotAllocate in any mode, whatever their size and the Policy.
func TestReadsDoNotAllocate(t *testing.T) {
	for _, mix := range mixes {
		for _, policy := range []Policy{Augment, RequireFresh} {
			bubble(t, func(t *testing.T) {
				s := newTestSource(t, Config{Blocks: &fakeBlocks{}, Mix: mix, Policy: policy, ReseedBytes: 1 << 40}, 2)
				synctest.Wait() // until the reseeder, which allocates, rests
				p := make([]byte, pieceSize+100)
				for _, n := range []int{0, 32, 5000, len(p)} {
					if allocs := testing.AllocsPerRun(100, func() { s.Read(p[:n]) }); allocs != 0 {
						t.Errorf("%v, %v: a Read of %d bytes allocates %v times", mix, policy, n, allocs)
					}
				}
			})
		}
	}
}

// TestSmallReadsCount: in each mode, each small Read is counted once, an empty one never,
// and reseeds come by how many bytes they took.
func TestSmallReadsCount(t *testing.T) {
	for _, mix := range mixes {
		bubble(t, func(t *testing.T) {
			s := newTestSource(t, Config{Blocks: &fakeBlocks{}, Mix: mix, ReseedBytes: 100}, 1)
			waitSeeded(t, s)
			for range 1000 {
				mustRead(t, s, 10)
				mustRead(t, s, 0)
				synctest.Wait()
			}
			st := s.Status()
			if st.Reads != 1000 || st.Bytes != 10_000 {
				t.Errorf("%v: %d bytes in %d reads", mix, st.Bytes, st.Reads)
			}
			if n := st.Blocks + st.OSReseeds; n < 80 || n > 101 { // 100 bytes, and up to an eighth more
				t.Errorf("%v: %d reseeds", mix, n)
			}
		})
	}
}

// TestNoByteDuringTheFirstReseed: a Policy permits Reads when the block is in the keys of
// all shards, not while some do not have it yet.
func TestNoByteDuringTheFirstReseed(t *testing.T) {
	for policy, want := range map[Policy]error{RequireInitial: ErrNotSeeded, RequireFresh: ErrStale} {
		var s *Source
		var during atomic.Int32
		extract := func(os *[32]byte, shard byte, block []byte) [32]byte {
			if shard == 1 { // shard 0 has it already
				if _, err := s.Read(make([]byte, 8)); err == want {
					during.Add(1)
				} else {
					t.Errorf("%v: during the reseed Read returned %v, want %v", policy, err, want)
				}
			}
			return hmacExtract(os, shard, block)
		}
		bubble(t, func(t *testing.T) {
			ready := make(chan struct{})
			s = newTestSource(t, Config{Policy: policy, Blocks: blockFunc(func(context.Context, int) ([]qrypt.Block, error) {
				<-ready
				return []qrypt.Block{newTestBlock(1)}, nil
			}), BatchBlocks: 1}, 3, parts{extract: extract})
			if policy == RequireFresh {
				long := time.Now().Add(-time.Hour)
				s.newest.Store(&long)
			}
			close(ready)
			synctest.Wait()
			mustRead(t, s, 8)
		})
		if during.Load() != 1 {
			t.Errorf("%v: %d Reads during the reseed", policy, during.Load())
		}
	}
}

// TestReadsAreCountedOnce: a Read that is longer than a piece counts as one.
func TestReadsAreCountedOnce(t *testing.T) {
	s := newTestSource(t, Config{Blocks: &fakeBlocks{}}, 2)
	mustRead(t, s, 3*pieceSize)
	if st := s.Status(); st.Reads != 1 || st.Bytes != 3*pieceSize {
		t.Errorf("%d reads, %d bytes", st.Reads, st.Bytes)
	}
}

// TestSourceSize: a Source takes as much memory as docs/operations.md says.
func TestSourceSize(t *testing.T) {
	said := regexp.MustCompile(`(\d+) KiB, (\d+) KiB for each processor \(64 at most count\), and up to (\d+) KiB to remember 4,096 blocks`).FindStringSubmatch(readText(t, "docs/operations.md"))
	if said == nil || maxShards != 64 || health.Remembered != 4096 {
		t.Fatal("docs/operations.md does not say how much")
	}
	kib := func(i int) int { n, _ := strconv.Atoi(said[i]); return n }
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what sync.Pools kept
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	compare := func(what string, got, want int) {
		t.Helper()
		if t.Logf("%s: %d KiB", what, got); got > want+want/10 || got < want*3/4 {
			t.Errorf("%s takes %d KiB, and docs/operations.md says %d", what, got, want)
		}
	}
	for _, shards := range []int{1, maxShards} {
		before := heap()
		for range 16 {
			s := newTestSource(t, Config{Blocks: &fakeBlocks{}}, shards)
			waitSeeded(t, s)
		}
		compare(fmt.Sprintf("a Source of %d shards", shards), (heap()-before)/16>>10, kib(1)+shards*kib(2))
	}
	before := heap()
	m := health.NewMemory([]byte{1}, health.Remembered)
	for n := range 2 * health.Remembered {
		m.Add(binary.LittleEndian.AppendUint32(nil, uint32(n)))
	}
	compare("a full memory of blocks", (heap()-before)>>10, kib(3))
	runtime.KeepAlive(m)
}
