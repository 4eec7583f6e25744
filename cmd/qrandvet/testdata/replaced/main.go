// Command m sets rand.Reader, and prints what reads nothing of that.
package main

import (
	"crypto/rand"
	"io"

	_ "m/ignored"
	"m/kept"
	"m/unread"
)

// ours is a variable of the program itself.
var ours = rand.Reader

func main() {
	c := &unread.Counter{Reader: rand.Reader}
	rand.Reader = c
	saved := rand.Reader
	rand.Reader = saved // as it was: no report
	kept.Reads["ours"] = func() { io.ReadFull(ours, make([]byte, 16)) }
	unread.Print(c)
}
