package qrypttest

import (
	"bytes"
	"crypto/rand"
	"io"
)

// osReader is captured here because a program under test may set rand.Reader to
// what is seeded by this emulator, at any moment.
var osReader = rand.Reader

// fill fills p from the seed's stream or the operating system. e.mu is held.
func (e *Emulator) fill(p []byte) {
	if e.stream != nil {
		e.stream.Read(p)
		return
	}
	if _, err := io.ReadFull(osReader, p); err != nil {
		panic("qrypttest: crypto/rand failed: " + err.Error()) // as crypto/rand itself does
	}
}

// random returns count fresh blocks. e.mu is held.
func (e *Emulator) random(count, size int) [][]byte {
	blocks := make([][]byte, count)
	for i := range blocks {
		blocks[i] = make([]byte, size)
		e.fill(blocks[i])
	}
	return blocks
}

// ordinary returns fresh blocks as the service would send them. Those of an
// answer that no fault spoils are kept for Repeat.
func (e *Emulator) ordinary(count, size int, keep bool) [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	blocks := e.random(count, size)
	for _, b := range blocks {
		if size >= canaryOffset+len(e.canary) {
			copy(b[canaryOffset:], e.canary)
		}
	}
	if keep {
		e.last = blocks
	}
	return blocks
}

// repeated returns the blocks sent last, or one block many times if there are
// none of that size; then that one is what is repeated from now on.
func (e *Emulator) repeated(count, size int) [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.last) == 0 || len(e.last[0]) != size {
		e.last = e.random(1, size)
	}
	blocks := make([][]byte, count)
	for i := range blocks {
		blocks[i] = e.last[i%len(e.last)]
	}
	return blocks
}

func (e *Emulator) stuck(count, size int) [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	blocks := e.random(count, 1)
	for i := range blocks {
		blocks[i] = bytes.Repeat(blocks[i], size)
	}
	return blocks
}

// biased puts one value at every eighth place and nowhere else: 64 times in an
// adaptive proportion test's window of 512, where two are expected. It starts
// at the first byte, because that test counts the first sample of a window.
func (e *Emulator) biased(count, size int) [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	blocks := e.random(count, size)
	value := blocks[0][0]
	for _, b := range blocks {
		for i := range b {
			switch {
			case i%8 == 0:
				b[i] = value
			case b[i] == value:
				b[i] ^= 1
			}
		}
	}
	return blocks
}
