// Command early sets rand.Reader by way of package replace, and prints what reads nothing of that.
package main

import (
	"crypto/rand"
	"io"
	"log"

	"alphabet.example"
	"alphabet.example/after"
	"alphabet.example/after/indirect"
	"example.com/qrand/replace"

	_ "m/ignored"
	"m/kept"
	"m/unread"
)

// ours is a variable of the program itself.
var ours = rand.Reader

func main() {
	c := &unread.Counter{Reader: alphabet.Reader}
	if err := replace.Reader(c); err != nil {
		log.Fatal(err)
	}
	for name, r := range map[string]io.Reader{"ours": ours, "alphabet": alphabet.Reader, "after": after.Reader, "indirect": indirect.Reader} {
		kept.Reads[name] = func() { io.ReadFull(r, make([]byte, 16)) }
	}
	unread.Print(c)
}
