// Package unread prints what reads nothing of a reader that takes the place of rand.Reader.
package unread

import (
	"fmt"
	"io"

	"m/ignored"
	"m/kept"
)

// Counter counts what is read from a reader.
type Counter struct {
	Reader io.Reader
	n      int
}

func (c *Counter) Read(p []byte) (int, error) {
	c.n += len(p)
	return c.Reader.Read(p)
}

// Print reads through each variable and makes each call, and prints those that read nothing of c.
func Print(c *Counter) {
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
