package qrand

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// slowOS stands for crypto/rand. It gives a few bytes at a time, and an error with the
// last of them.
type slowOS struct{ left int }

func (o *slowOS) Read(p []byte) (int, error) {
	n := min(len(p), 7, o.left)
	for i := range p[:n] {
		p[i] = byte(o.left - i)
	}
	if o.left -= n; o.left == 0 {
		return n, errors.New("no more")
	}
	return n, nil
}

// TestShortReadsOfOS: p is filled even if crypto/rand gives less than it is asked for.
func TestShortReadsOfOS(t *testing.T) {
	p := make([]byte, 32)
	readOS(&slowOS{left: 32}, p)
	want := make([]byte, 32)
	for i := range want {
		want[i] = byte(32 - i)
	}
	if !bytes.Equal(p, want) {
		t.Errorf("readOS gave %v", p)
	}
}

// failingOS stands for crypto/rand. It gives bytes until it fails. Even then it fills p,
// whatever it returns.
type failingOS struct {
	left int // bytes until then
	fail func(p []byte) (int, error)
}

func (o *failingOS) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i) | 1
	}
	if o.left == 0 {
		return o.fail(p)
	}
	n := min(len(p), o.left)
	o.left -= n
	return n, nil
}

// TestNoByteOfAFailedRead: if crypto/rand fails in the middle of a Read, in any way, p is
// zeros and no byte of crypto/rand is left in the shard. The next Read succeeds.
func TestNoByteOfAFailedRead(t *testing.T) {
	const never = 1 << 30
	ways := map[string]func(p []byte) (int, error){
		"crypto/rand failed: no entropy device": func(p []byte) (int, error) { return len(p) - 1, errors.New("no entropy device") },
		"the reader's own panic":                func([]byte) (int, error) { panic("the reader's own panic") },
		io.ErrNoProgress.Error():                func([]byte) (int, error) { return 0, nil },
		"it returned -1 for a Read of":          func([]byte) (int, error) { return -1, nil },
		"it returned -2 for a Read of":          func([]byte) (int, error) { return -2, io.EOF },
		"for a Read of":                         func(p []byte) (int, error) { return len(p) + 1, nil },
	}
	lefts := map[Mix][]int{ // in the first piece, within and between what is read at a time, and in the second
		MixXOR:    {0, 1, 100, pieceSize, pieceSize + 100},
		MixRekey:  {0, 1, 32, 32 + 1},
		MixRefill: {0, 1, 32, 2*32 + 1, 20*32 + 1},
	}
	for mix, lefts := range lefts {
		for _, closed := range []bool{false, true} {
			if closed {
				lefts = []int{0, 1, pieceSize, pieceSize + 100} // all of it is crypto/rand's
			}
			for _, left := range lefts {
				for text, fail := range ways {
					os := &failingOS{never, fail}
					s := newTestSource(t, Config{Blocks: &fakeBlocks{err: errors.New("none")}, Mix: mix}, 1, parts{os: os})
					waitFailed(t, s)
					if closed {
						s.Close()
					}
					p := bytes.Repeat([]byte{0xaa}, 2*pieceSize+10)
					os.left = left
					func() {
						defer func() {
							if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), text) {
								t.Errorf("%v, closed %v, after %d bytes: Read panicked with %v, want %q", mix, closed, left, r, text)
							}
						}()
						s.Read(p)
					}()
					if !allZero(p) {
						t.Errorf("%v, closed %v, after %d bytes, %q: something is left of a Read that failed", mix, closed, left, text)
					}
					if g := s.shards[0].gen.Load(); !allZero(g.os[:]) {
						t.Errorf("%v, closed %v, after %d bytes, %q: crypto/rand's bytes are left in the shard", mix, closed, left, text)
					}
					os.left = never
					mustRead(t, s, 10)
					s.Close()
				}
			}
		}
	}
}

// TestEmptyReadsOfOS: crypto/rand may return nothing for a while.
func TestEmptyReadsOfOS(t *testing.T) {
	p := make([]byte, 3)
	readOS(&emptyOS{}, p)
	if !bytes.Equal(p, []byte{1, 1, 1}) {
		t.Errorf("readOS gave %v", p)
	}
}

// emptyOS gives a byte at each hundredth Read, and nothing at the others.
type emptyOS struct{ asked int }

func (o *emptyOS) Read(p []byte) (int, error) {
	if o.asked++; o.asked%maxEmptyReads != 0 {
		return 0, nil
	}
	p[0] = 1
	return 1, nil
}

// brokenOS stands for crypto/rand, and fails after some reads.
type brokenOS struct{ left int }

func (b *brokenOS) Read(p []byte) (int, error) {
	if b.left--; b.left < 0 {
		return 0, errors.New("no entropy device")
	}
	return len(p), nil
}

// TestBrokenOS: if crypto/rand fails, a Read panics. It does not leave the Source locked,
// for a program that recovers.
func TestBrokenOS(t *testing.T) {
	for _, mix := range mixes {
		broken := &brokenOS{left: 2} // at New
		s := newTestSource(t, Config{Blocks: &fakeBlocks{err: errors.New("none")}, Mix: mix}, 1, parts{os: broken})
		for range 2 {
			func() {
				defer func() {
					if r := recover(); r == nil || !strings.Contains(r.(string), "no entropy device") {
						t.Errorf("%v: Read panicked with %v", mix, r)
					}
				}()
				s.Read(make([]byte, 10))
			}()
		}
		broken.left = 1 << 30
		mustRead(t, s, 10)
		s.Close()
	}
}
