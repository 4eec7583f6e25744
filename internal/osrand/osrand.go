// Package osrand keeps crypto/rand's own reader, the operating system's generator,
// for what must not read from a reader that a program puts in its place.
package osrand

import (
	"crypto/rand"
	"io"
)

// reader is captured when the package is initialised. A package that replaces
// rand.Reader in an init before that cannot be noticed here.
//
//qrandvet:ignore is not to see what a program sets rand.Reader to
var reader = rand.Reader

// Reader returns the reader that rand.Reader was when the program started. It stays
// the same where a program sets rand.Reader to a reader that is itself seeded through
// the caller. It is a function so that nothing outside this package can replace it.
func Reader() io.Reader { return reader }
