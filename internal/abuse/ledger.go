package abuse

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
)

// A Ledger knows of each byte of a Numbered's stream whether it was handed out.
type Ledger struct {
	stream *Numbered

	mu      sync.Mutex
	answers [][]byte
}

// NewLedger begins an empty one.
func NewLedger(stream *Numbered) *Ledger { return &Ledger{stream: stream} }

// Add takes in the bytes of an answer that a client received: two words at
// least, so that one of them is whole.
func (l *Ledger) Add(entropy []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers = append(l.answers, entropy)
}

// A piece is what one block gave to an answer.
type piece struct {
	answer int
	bytes  []byte
	first  bool // in its answer: it ends where a block ends; else it begins where one begins
}

// Check finds for each byte of each answer its place in the stream, and returns
// how many there are, or an error if one has none, or was handed out before.
//
// A piece that holds no whole word does not tell where it is: one of those that
// are still free must fit.
func (l *Ledger) Check() (handedOut int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	owner := make([]int32, len(l.stream.stream)) // of each byte: an answer's number, from 1
	var short []piece
	for i, answer := range l.answers {
		handedOut += int64(len(answer))
		for at := 0; at < len(answer); {
			p, place, ok := l.locate(answer[at:])
			if !ok {
				return 0, fmt.Errorf("abuse: answer %d of %d bytes is not of the stream from byte %d on", i, len(answer), at)
			}
			p.answer, p.first = i, at == 0
			at += len(p.bytes)
			if place < 0 {
				short = append(short, p)
			} else if err := l.enter(owner, p, place); err != nil {
				return 0, err
			}
		}
	}
	slices.SortStableFunc(short, func(a, b piece) int { return len(b.bytes) - len(a.bytes) })
	for _, p := range short {
		place := l.free(owner, p)
		if place < 0 {
			return 0, fmt.Errorf("abuse: %d bytes of answer %d were handed out before", len(p.bytes), p.answer)
		}
		if err := l.enter(owner, p, place); err != nil {
			return 0, err
		}
	}
	return handedOut, nil
}

// locate finds the place of the first piece of p, which ends with its block or
// with p; -1 if it is too short to tell.
func (l *Ledger) locate(p []byte) (first piece, place int, ok bool) {
	stream := l.stream.stream
	for skip := 0; skip < word && skip+word <= len(p); skip++ {
		at, ok := l.stream.place(p[skip:][:word])
		place := at - skip
		if !ok || place < 0 || place/block != at/block {
			continue
		}
		n := min(len(p), block-place%block)
		if !bytes.Equal(p[:n], stream[place:][:n]) {
			continue
		}
		return piece{bytes: p[:n]}, place, true
	}
	// The end of one block, whose last word is not whole here, and what follows of
	// the next, which begins with a whole one, if there is as much.
	for n := 1; n < word; n++ {
		if n == len(p) {
			return piece{bytes: p}, -1, true
		}
		if len(p)-n < word {
			continue
		}
		if at, ok := l.stream.place(p[n:][:word]); ok && at%block == 0 {
			return piece{bytes: p[:n]}, -1, true
		}
	}
	return piece{}, 0, false
}

func (l *Ledger) enter(owner []int32, p piece, place int) error {
	for i := range p.bytes {
		if was := owner[place+i]; was != 0 {
			return fmt.Errorf("abuse: byte %d of the stream was handed out twice: in answer %d and in answer %d", place+i, was-1, p.answer)
		}
		owner[place+i] = int32(p.answer + 1)
	}
	return nil
}

// free is where a short piece may be from.
func (l *Ledger) free(owner []int32, p piece) int {
	n := len(p.bytes)
	for begin := 0; begin < len(owner); begin += block {
		place := begin
		if p.first {
			place = begin + block - n
		}
		if bytes.Equal(l.stream.stream[place:][:n], p.bytes) && !slices.ContainsFunc(owner[place:][:n], func(o int32) bool { return o != 0 }) {
			return place
		}
	}
	return -1
}
