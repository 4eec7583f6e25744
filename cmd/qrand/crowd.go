package main

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// readSizes are what the crowd reads. All are long enough that a good reader
// fills none with zeros in anybody's lifetime.
var readSizes = []int{32, 16, 48, 1024, 33, 4096, 64, 70_001}

// breath is what a reader takes now and then, so that the emulator gets its
// share of a small machine.
const breath = 200 * time.Microsecond

// A crowd is goroutines that read all the while, and check what they get.
type crowd struct {
	reads, failed atomic.Int64
	first         atomic.Pointer[string] // what went wrong first
	stopping      atomic.Bool
	readers       sync.WaitGroup
}

func newCrowd(r io.Reader, size int) *crowd {
	c := new(crowd)
	for i := range size {
		c.readers.Go(func() { c.run(r, i) })
	}
	return c
}

// stop ends the goroutines and waits for them.
func (c *crowd) stop() {
	c.stopping.Store(true)
	c.readers.Wait()
}

func (c *crowd) run(r io.Reader, start int) {
	var buf, zeros [70_001]byte
	for i := start; !c.stopping.Load(); i++ {
		p := buf[:readSizes[i%len(readSizes)]]
		clear(p)
		n, err := r.Read(p)
		var wrong string
		switch {
		case err != nil:
			wrong = err.Error()
		case n != len(p):
			wrong = fmt.Sprintf("%d bytes of %d", n, len(p))
		case bytes.Equal(p, zeros[:len(p)]):
			wrong = fmt.Sprintf("%d zeros", n)
		}
		if i%len(readSizes) == 0 {
			time.Sleep(breath)
		}
		c.reads.Add(1)
		if wrong != "" {
			c.failed.Add(1)
			c.first.CompareAndSwap(nil, &wrong)
		}
	}
	clear(buf[:])
}
