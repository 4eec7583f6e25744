package qrand

import (
	"io"
	"sync"
	"sync/atomic"
	"unsafe"
)

// maxShards bounds the number of generators, however many processors there are;
// a shard's index must fit the byte that goes into its seed.
const maxShards = 64

// A shard is a generator with its lock. There are several so that Reads on
// different processors seldom meet.
type shard struct {
	mu     sync.Mutex
	gen    hidden
	closed bool

	reads, bytes           int64 // served
	readsUntil, bytesUntil int64 // of these, when the first block went in
	seeded                 bool
	mark                   int64 // bytes at the last reseed
	wakeAt                 int64 // bytes at which to wake the reseeder

	_ [128]byte // keeps neighbours' cache lines apart
}

// secrets are what a shard has that nobody may see.
type secrets struct {
	generator
	os [keySize]byte // crypto/rand's bytes on their way into the key
}

// A hidden is where the secrets of a shard are. Printing code calls no Format
// method on a copy of a Source or on an unexported field, but follows pointers:
// package fmt one, others all. An atomic.Pointer holds an unsafe.Pointer, which
// they print as an address, and loading it costs no more than any pointer.
type hidden struct{ atomic.Pointer[secrets] }

func (h *hidden) rekey(x *[keySize]byte) { h.Load().rekey(x) }

// readBuffered is the short way of MixRefill, for which most Reads are: it fills p
// if the buffer has enough and there is nothing else to do, and reports whether.
func (s *Source) readBuffered(p []byte) bool {
	sh := s.shards[s.hint().Load()]
	g := sh.gen.Load() // before the lock, beside which it takes no time
	if !sh.mu.TryLock() {
		return false
	}
	if len(p) == 0 || len(p) > g.end-g.at || sh.bytes+int64(len(p)) >= sh.wakeAt {
		sh.mu.Unlock()
		return false
	}
	g.give(p)
	sh.reads++
	sh.bytes += int64(len(p))
	sh.mu.Unlock()
	return true
}

func (s *secrets) rekeyFromOS(os io.Reader) {
	defer clear(s.os[:]) // also where crypto/rand panics
	readOS(os, s.os[:])
	s.rekey(&s.os)
}

// lock returns a locked shard: the one that this goroutine had last, so that what
// it touches is in its processor's cache, or another that is free, to which it
// then keeps. Which one is no secret and changes nothing about the output's
// strength. Goroutines are told apart by where their stacks are, roughly: those
// that share a hint get out of each other's way like any others.
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

// hint is where this goroutine's shard is noted.
func (s *Source) hint() *atomic.Uint32 {
	var here byte
	return &s.hints[uint64(uintptr(unsafe.Pointer(&here)))>>stackBits*hashFactor>>(64-hintBits)]
}

const (
	stackBits  = 11                 // stacks are of 2 KiB or more
	hintBits   = 8                  // and there are 256 hints
	hashFactor = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio, odd (Knuth, TAOCP 3, section 6.4)
)

// wakeQuantum is how many bytes a shard serves before it wakes the reseeder,
// which adds the shards up: Reads on different processors share no counter, and
// the sum runs over ReseedBytes by at most an eighth before it is noticed.
func (s *Source) wakeQuantum() int64 {
	return max(1, s.cfg.ReseedBytes/int64(8*len(s.shards)))
}
