package qrand

import (
	"bytes"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestBusyShards: if the shard of a goroutine is locked, the next free one serves the whole
// Read, and the goroutine keeps to that one.
func TestBusyShards(t *testing.T) {
	for _, mix := range mixes {
		for first := range 3 {
			for busy := range 3 {
				bubble(t, func(t *testing.T) { testBusyShards(t, mix, first, busy) })
			}
		}
	}
}

// testBusyShards reads while so many shards from first on are locked.
func testBusyShards(t *testing.T, mix Mix, first, busy int) {
	os := newTape()
	s := newTestSource(t, Config{Blocks: &fakeBlocks{err: errors.New("none")}, Mix: mix}, 3, parts{os: os})
	synctest.Wait() // until the reseeder, which locks each shard in turn, rests
	model := &modelSource{t: t, mix: mix, os: os}
	free := (first + busy) % 3
	for i := range s.shards {
		if key := os.next(t, 32); i == free {
			copy(model.gen.key[:], key)
		}
	}
	os.next(t, 32) // the key of the fingerprints
	for i := range s.hints {
		s.hints[i].Store(uint32(first))
	}
	for i := range busy {
		s.shards[(first+i)%3].mu.Lock()
	}
	p := bytes.Repeat([]byte{0xa5}, 100)
	if n, err := s.Read(p); n != 100 || err != nil {
		t.Fatalf("Read returned %d, %v", n, err)
	}
	for i := range busy {
		s.shards[(first+i)%3].mu.Unlock()
	}
	if want := model.read(100); !bytes.Equal(p, want) {
		t.Errorf("%v, %d shards busy: a Read is not the model's of shard %d", mix, busy, free)
	}
	// Not by a second Read: a stack that has been moved since has another hint.
	noted, want := 0, 1
	for i := range s.hints {
		if s.hints[i].Load() == uint32(free) {
			noted++
		}
	}
	if busy == 0 {
		want = len(s.hints)
	}
	if noted != want {
		t.Errorf("%v, %d shards busy: %d hints are of shard %d, want %d", mix, busy, noted, free, want)
	}
}

// TestGoroutinesSpread: goroutines that are alive at once mostly begin with different
// shards.
func TestGoroutinesSpread(t *testing.T) {
	s := newTestSource(t, Config{Blocks: &fakeBlocks{err: errors.New("none")}}, 1)
	hints := make(chan *atomic.Uint32)
	end := make(chan struct{})
	const goroutines = 200
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			hints <- s.hint()
			<-end
		})
	}
	different := map[*atomic.Uint32]bool{}
	for range goroutines {
		different[<-hints] = true
	}
	close(end)
	wg.Wait()
	if len(different) < 16 { // of 256; by chance they would be 139
		t.Errorf("%d goroutines have %d hints", goroutines, len(different))
	}
}

// TestShardsPerProcessor: a generator for each processor, up to 64.
func TestShardsPerProcessor(t *testing.T) {
	saved := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(saved)
	for processors, want := range map[int]int{1: 1, 3: 3, 64: 64, 70: 64} {
		runtime.GOMAXPROCS(processors)
		s, err := New(Config{Blocks: &fakeBlocks{err: errors.New("none")}})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(s.shards); got != want {
			t.Errorf("%d generators with %d processors, want %d", got, processors, want)
		}
		if got := runtime.GOMAXPROCS(0); got != processors {
			t.Errorf("New set the number of processors to %d", got)
		}
		s.Close()
	}
}

// TestBufferedReadsWake: in each mode, the Read with which a shard reaches its part of
// ReseedBytes wakes the reseeder, even if the buffer has enough for that Read.
func TestBufferedReadsWake(t *testing.T) {
	for _, mix := range mixes {
		for _, tc := range []struct {
			reads []int
			wakes bool
		}{
			{[]int{60, 39}, false},
			{[]int{60, 40}, true},
			{[]int{60, 50}, true},
		} {
			bubble(t, func(t *testing.T) {
				s := newTestSource(t, Config{Blocks: &fakeBlocks{}, Mix: mix, ReseedBytes: 8 * 100}, 1)
				synctest.Wait() // after the first block
				served := int64(0)
				for _, n := range tc.reads {
					mustRead(t, s, n)
					served += int64(n)
				}
				want := int64(100)
				if tc.wakes {
					want += served
				}
				sh := s.shards[0]
				sh.mu.Lock()
				defer sh.mu.Unlock()
				if sh.wakeAt != want {
					t.Errorf("%v: after Reads of %v bytes the next wake is at %d, want %d", mix, tc.reads, sh.wakeAt, want)
				}
			})
		}
	}
}
