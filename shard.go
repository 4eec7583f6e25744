package qrand

import (
	"io"
	"sync"
	"sync/atomic"
	"unsafe"
)

// maxShards bounds the number of generators, however many processors there are. The index
// of a shard must fit the byte that goes into its seed.
const maxShards = 64

// A shard is a generator with its lock. There are several, so that Reads on different
// processors seldom wait for each other.
type shard struct {
	mu     sync.Mutex
	gen    atomic.Pointer[secrets]
	closed bool

	reads, bytes           int64 // served
	readsUntil, bytesUntil int64 // of these, before the first block went in
	seeded                 bool
	mark                   int64 // bytes at the last reseed
	wakeAt                 int64 // bytes at which to wake the reseeder

	_ [128]byte // keeps neighbours' cache lines apart
}

// secrets are the part of a shard that must not be printed. Code that prints a copy of a
// Source, or an unexported field, does not call Format, and it follows pointers. But an
// atomic.Pointer holds an unsafe.Pointer, which is printed as an address, and loading it
// costs no more than loading any pointer.
type secrets struct {
	generator
	os [keySize]byte // crypto/rand's bytes on their way into the key
}

// readBuffered is the fast path of MixRefill. It fills p if the buffer has enough and
// there is nothing else to do, and reports whether it did.
func (s *Source) readBuffered(p []byte) bool {
	sh := s.shards[s.hint().Load()]
	g := sh.gen.Load() // before the lock: the two overlap, so that this costs nothing
	if !sh.mu.TryLock() {
		return false
	}
	if len(p) == 0 || len(p) > g.end-g.at || sh.bytes+int64(len(p)) >= sh.wakeAt {
		sh.mu.Unlock()
		return false
	}
	g.copyBuffered(p)
	sh.reads++
	sh.bytes += int64(len(p))
	sh.mu.Unlock()
	return true
}

// rekeyFromOS mixes 32 bytes of crypto/rand into the key.
func (s *secrets) rekeyFromOS(os io.Reader) {
	defer clear(s.os[:]) // also if crypto/rand panics
	readOS(os, s.os[:])
	s.rekey(&s.os)
}

// lock returns a locked shard: the one that this goroutine used last, so that it is still
// in the cache of its processor, or else a free one, which it uses from then on. The
// choice is no secret, and the output is as strong from each. Goroutines are told apart
// by the addresses of their stacks. Two that share a hint do no harm: where both read at
// once, one of them moves to another shard.
func (s *Source) lock() *shard {
	hint := s.hint()
	at := int(hint.Load())
	if sh := s.shards[at]; sh.mu.TryLock() {
		return sh
	}
	for i := 1; i < len(s.shards); i++ {
		next := (at + i) % len(s.shards)
		if sh := s.shards[next]; sh.mu.TryLock() {
			hint.Store(uint32(next))
			return sh
		}
	}
	sh := s.shards[at]
	sh.mu.Lock()
	return sh
}

// hint returns the place where the index of this goroutine's shard is kept.
func (s *Source) hint() *atomic.Uint32 {
	var here byte
	return &s.hints[uint64(uintptr(unsafe.Pointer(&here)))>>stackBits*hashFactor>>(64-hintBits)]
}

const (
	stackBits  = 11                 // stacks are of 2 KiB or more
	hintBits   = 8                  // and there are 256 hints
	hashFactor = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio, odd (Knuth, TAOCP 3, section 6.4)
)

// wakeQuantum is how many bytes a shard serves before it wakes the reseeder, which adds
// up the shards. So Reads on different processors share no counter, and the reseeder
// notices when the sum is at most an eighth over ReseedBytes.
func (s *Source) wakeQuantum() int64 {
	return max(1, s.cfg.ReseedBytes/int64(8*len(s.shards)))
}
