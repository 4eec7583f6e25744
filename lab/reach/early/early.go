// Package early has a reader, and puts it into rand.Reader before the packages of other people are
// initialized, if the environment says REACH=early. It can do so because it imports little, and
// because its import path is before theirs in the alphabet.
package early

import (
	"crypto/rand"
	"io"
	"os"
	"sync"
)

// Source is the reader. It reads from what it is set to.
var Source = &source{reader: rand.Reader}

type source struct {
	mu     sync.Mutex
	reader io.Reader
}

func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reader.Read(p)
}

// Set makes the Source read from another reader.
func (s *source) Set(r io.Reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reader = r
}

func init() {
	if os.Getenv("REACH") == "early" {
		rand.Reader = Source
	}
}
