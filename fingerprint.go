package qrand

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"

	"example.com/qrand/internal/health"
)

// A FingerprintKey keys the fingerprints by which Status and records of provenance name
// the blocks in the key. Fingerprints made with one key can be compared. An auditor who
// has the key can tell whether two processes got the same block, or whether a given block
// was used. Without the key fingerprints tell nothing. The zero FingerprintKey stands for
// a random one, which a Source makes and keeps to itself.
type FingerprintKey struct {
	key func() []byte // a function, because package fmt does not print what it returns
}

// minFingerprintKey is as strong as the MAC itself.
const minFingerprintKey = 32

// NewFingerprintKey returns a FingerprintKey made from a secret of 32 bytes or more. It
// keeps a copy of the secret.
func NewFingerprintKey(secret []byte) (FingerprintKey, error) {
	if len(secret) < minFingerprintKey {
		return FingerprintKey{}, errors.New("qrand: a fingerprint key has 32 random bytes or more")
	}
	secret = bytes.Clone(secret)
	return FingerprintKey{func() []byte { return secret }}, nil
}

// Fingerprint returns the fingerprint of a block, as Status shows it. The zero
// FingerprintKey has none to give: then it is empty.
func (k FingerprintKey) Fingerprint(block []byte) string {
	if k.key == nil {
		return ""
	}
	return fingerprint(health.NewMemory(k.key(), 0), block)
}

// bytes returns the key. For the zero FingerprintKey it reads one from os.
func (k FingerprintKey) bytes(os io.Reader) []byte {
	if k.key != nil {
		return k.key()
	}
	key := make([]byte, minFingerprintKey)
	readOS(os, key)
	return key
}

// fingerprintsKept is how many fingerprints a Status has at most.
const fingerprintsKept = 16

// fingerprint returns the fingerprint of a block as Status shows it: eight hex digits
// that name the key, a colon, and 32 hex digits that name the block.
func fingerprint(m *health.Memory, block []byte) string {
	id, f := m.KeyID(), m.Fingerprint(block)
	return hex.EncodeToString(id[:]) + ":" + hex.EncodeToString(f[:])
}
