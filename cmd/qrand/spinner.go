package main

import (
	"io"
	"sync"
	"time"
)

// A spinner shows on a terminal that something is going on, in one line that it
// takes away in the end.
type spinner struct {
	w     io.Writer
	signs []string

	mu   sync.Mutex
	text string
	stop chan struct{}
	done sync.WaitGroup
}

// newSpinner starts a spinner; on what is no terminal it shows nothing.
func (c *console) newSpinner(w io.Writer, tty bool, text string) *spinner {
	s := &spinner{w: w, signs: c.marks().spinner, text: text, stop: make(chan struct{})}
	if tty && c.getenv("TERM") != "dumb" {
		s.done.Go(s.run)
	}
	return s
}

func (s *spinner) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = text
}

// end takes the line away. It may be called once.
func (s *spinner) end() {
	close(s.stop)
	s.done.Wait()
}

func (s *spinner) run() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		s.mu.Lock()
		text := s.text
		s.mu.Unlock()
		io.WriteString(s.w, "\r"+s.signs[i%len(s.signs)]+" "+text+"\x1b[K")
		select {
		case <-s.stop:
			io.WriteString(s.w, "\r\x1b[K")
			return
		case <-tick.C:
		}
	}
}
