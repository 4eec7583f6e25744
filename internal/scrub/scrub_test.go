package scrub

import (
	"bytes"
	"testing"
	"unsafe"
)

// A secret is larger than what any function leaves that Stack is used after.
type secret [3 << 10]byte

// mark is what it is made of. It is not on the stack by itself.
var mark = []byte("eight by")

// leave leaves a secret on the stack, and says where.
//
//go:noinline
func leave() uintptr {
	var s secret
	fill(&s)
	return uintptr(unsafe.Pointer(&s))
}

//go:noinline
func fill(s *secret) {
	for i := range s {
		s[i] = mark[i%len(mark)]
	}
}

// left counts the marks that are to be found where it was, some of them in its own
// frame.
//
//go:noinline
func left(at uintptr) int {
	return bytes.Count((*(**secret)(unsafe.Pointer(&at)))[:], mark)
}

// TestStack: a function that has returned leaves its variables on the stack, and after
// Stack nothing of them is there.
func TestStack(t *testing.T) {
	done := make(chan bool)
	go func() { // on a stack that nobody else uses, and that does not move
		defer close(done)
		Stack()
		before := left(leave())
		at := leave()
		Stack()
		after := left(at)
		if 2*before*len(mark) < len(secret{}) {
			t.Errorf("without Stack %d marks are left of %d bytes: the test does not see them", before, len(secret{}))
		}
		if after != 0 {
			t.Errorf("with Stack %d marks are left of %d bytes", after, len(secret{}))
		}
	}()
	<-done
}
