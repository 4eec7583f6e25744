package health

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
)

// ErrRepeated is returned for a block that was seen before.
var ErrRepeated = errors.New("the block was received before: is there a caching proxy in between?")

// remembered is how many blocks a Memory looks back on.
const remembered = 4096

// A Memory knows a block that comes again. Of each block it keeps a keyed
// fingerprint, from which nobody without the key can even confirm a guess.
type Memory struct {
	key  [32]byte
	set  map[fingerprint]struct{}
	ring []fingerprint // the oldest is at next, once the ring is full
	next int
}

type fingerprint [16]byte

// NewMemory returns an empty Memory whose fingerprints are keyed with key.
func NewMemory(key [32]byte) *Memory {
	return &Memory{key: key, set: make(map[fingerprint]struct{})}
}

// Add remembers a block, or returns ErrRepeated if it is among the last 4096.
func (m *Memory) Add(block []byte) error {
	h := hmac.New(sha256.New, m.key[:])
	h.Write(block)
	f := fingerprint(h.Sum(nil)[:16])
	if _, ok := m.set[f]; ok {
		return ErrRepeated
	}
	m.set[f] = struct{}{}
	if len(m.ring) < remembered {
		m.ring = append(m.ring, f)
		return nil
	}
	delete(m.set, m.ring[m.next])
	m.ring[m.next] = f
	m.next = (m.next + 1) % remembered
	return nil
}
