// Command early sets rand.Reader by way of package replace, and prints what reads nothing of that.
package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"log"

	"alphabet.example"
	"alphabet.example/after"
	"alphabet.example/after/indirect"
	"example.com/qrand/replace"

	"m/ignored"
	"m/kept"
)

// counter is not safe for concurrent use, and nothing here is concurrent.
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
	c := &counter{Reader: alphabet.Reader}
	if err := replace.Reader(c); err != nil {
		log.Fatal(err)
	}
	kept.Reads["ours"] = func() { io.ReadFull(ours, make([]byte, 16)) }
	kept.Reads["alphabet"] = func() { io.ReadFull(alphabet.Reader, make([]byte, 16)) }
	kept.Reads["after"] = func() { io.ReadFull(after.Reader, make([]byte, 16)) }
	kept.Reads["indirect"] = func() { io.ReadFull(indirect.Reader, make([]byte, 16)) }
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
