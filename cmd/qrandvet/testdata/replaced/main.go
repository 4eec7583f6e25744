// Command m sets rand.Reader, and prints what reads nothing of that.
package main

import (
	"crypto/rand"
	"fmt"
	"io"

	"m/ignored"
	"m/kept"
)

type counter struct {
	io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	c.n += len(p)
	return c.Reader.Read(p)
}

// ours is a variable of the program itself.
var ours = rand.Reader

func main() {
	c := &counter{Reader: rand.Reader}
	rand.Reader = c
	saved := rand.Reader
	rand.Reader = saved // as it was: no report
	kept.Reads["ours"] = func() { io.ReadFull(ours, make([]byte, 16)) }
	for name, read := range kept.Reads {
		c.n = 0
		if read(); c.n == 0 {
			fmt.Println("kept", name)
		}
	}
	for place, call := range ignored.Calls() {
		c.n = 0
		if call(); c.n < 16 { // it may take one byte by chance
			fmt.Println("ignored", place)
		}
	}
}
