package health

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"

	"example.com/qrand/internal/scrub"
)

// ErrRepeated is returned for a block that was seen before.
var ErrRepeated = errors.New("the block was received before: is there a caching proxy in between?")

// Remembered is how many blocks a Memory remembers, unless more are in use.
const Remembered = 4096

// A Fingerprint identifies a block and tells nothing about it. It is HMAC-SHA-256 with a
// secret key, cut to 128 bits: without the key nobody can even confirm a guess.
type Fingerprint [16]byte

// The labels keep the two uses of a key apart.
const (
	blockLabel = "qrand block fingerprint v1"
	keyLabel   = "qrand fingerprint key v1"
)

//go:noinline
func mac(key []byte, label string, message []byte) [sha256.Size]byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(label))
	h.Write(message)
	sum := [sha256.Size]byte(h.Sum(nil))
	h.Write(make([]byte, sha256.BlockSize)) // overwrites the end of the message, which is still buffered: no message has whole blocks
	return sum
}

// A Memory recognizes a block that comes again, by its fingerprint.
type Memory struct {
	key  func() []byte // a function, because package fmt does not look into one
	set  map[Fingerprint]struct{}
	ring []Fingerprint // once it is full, the oldest is at next
	next int
	most int // how many fingerprints the ring holds
}

// NewMemory returns an empty Memory for the last most blocks, with the key of their
// fingerprints.
func NewMemory(key []byte, most int) *Memory {
	return &Memory{key: func() []byte { return key }, set: make(map[Fingerprint]struct{}), most: most}
}

// Fingerprint returns the fingerprint of a block. It overwrites the part of the stack where
// SHA-256 has had the end of the block.
func (m *Memory) Fingerprint(block []byte) Fingerprint {
	scrub.Stack()
	sum := mac(m.key(), blockLabel, block)
	scrub.Stack()
	return Fingerprint(sum[:])
}

// KeyID names the key: fingerprints can be compared if their keys have the same KeyID.
func (m *Memory) KeyID() (id [4]byte) {
	sum := mac(m.key(), keyLabel, nil)
	return [4]byte(sum[:])
}

// Add remembers a block, or returns ErrRepeated if it is among those remembered.
func (m *Memory) Add(block []byte) error {
	f := m.Fingerprint(block)
	if _, ok := m.set[f]; ok {
		return ErrRepeated
	}
	m.set[f] = struct{}{}
	if len(m.ring) < m.most {
		m.ring = append(m.ring, f)
		return nil
	}
	delete(m.set, m.ring[m.next])
	m.ring[m.next] = f
	m.next = (m.next + 1) % m.most
	return nil
}
