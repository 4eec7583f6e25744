package qrand

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"

	"example.com/qrand/internal/health"
)

// A FingerprintKey keys the fingerprints of blocks: what Status and records of
// provenance say of the blocks in the key. Fingerprints made with one key can be
// compared: an auditor who has it can tell whether two processes were fed the
// same block, or whether a block at hand is the one. Without it they tell
// nothing. The zero FingerprintKey stands for a random one that a Source makes
// and keeps to itself.
type FingerprintKey struct {
	key func() []byte // a function, because package fmt does not look into one
}

// minFingerprintKey is the length of the MAC's own strength.
const minFingerprintKey = 32

// NewFingerprintKey returns the FingerprintKey of a secret of 32 bytes or more,
// of which it keeps a copy.
func NewFingerprintKey(secret []byte) (FingerprintKey, error) {
	if len(secret) < minFingerprintKey {
		return FingerprintKey{}, errors.New("qrand: a fingerprint key has 32 random bytes or more")
	}
	secret = bytes.Clone(secret)
	return FingerprintKey{func() []byte { return secret }}, nil
}

// bytes is the key, or one that is read from os for the zero FingerprintKey.
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

// fingerprint is a block's, as Status shows it: eight hex digits that name the
// key, a colon, and 32 of the fingerprint.
func fingerprint(m *health.Memory, block []byte) string {
	id, f := m.KeyID(), m.Fingerprint(block)
	return hex.EncodeToString(id[:]) + ":" + hex.EncodeToString(f[:])
}
