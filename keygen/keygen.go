// Package keygen makes keys from an io.Reader, and certainly from it.
//
// Since Go 1.26 ecdsa.GenerateKey, ecdh.Curve.GenerateKey and rsa.GenerateKey
// ignore the reader they are passed, without an error, unless the main module
// says otherwise; mlkem.GenerateKey768 never took one. The functions here read
// the bytes themselves and pass them to constructors that take bytes, so they
// do the same on every version of Go and under every GODEBUG, but for X25519,
// which Go refuses under fips140=only.
//
// Whoever has no particular reader to use should call the standard library.
// Whoever has a qrand.Source, a hardware generator or a deterministic stream
// begins with [ECDSA], [Ed25519], [MLKEM768] or [MLDSA65].
//
// Every function takes the number of bytes it documents (those that reject a
// candidate take as many again), reads past short reads, and on any error of the
// reader returns that error, wrapped, and no key. What it read it wipes; what the
// packages that compute the keys leave in memory it cannot. The same bytes give
// the same key.
//
// Under GODEBUG=fips140=only crypto/ecdsa and others refuse to make a key from a
// reader of one's own, but not to take a key's bytes, so the functions here make
// it. Whether that is what the mode was set for is for the caller to say.
package keygen

import (
	"errors"
	"fmt"
	"io"
)

// take reads n bytes. The caller wipes them.
func take(r io.Reader, what string, n int) ([]byte, error) {
	if r == nil {
		return nil, errors.New("keygen: " + what + ": the reader is nil: pass a qrand.Source, or crypto/rand.Reader")
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		clear(b)
		return nil, fmt.Errorf("keygen: %s: reading %d random bytes: %w", what, n, err)
	}
	return b, nil
}

// fromSeed makes a key from n bytes of r in one step that cannot reject them.
func fromSeed[K any](r io.Reader, what string, n int, make func(seed []byte) (K, error)) (key K, err error) {
	seed, err := take(r, what, n)
	if err != nil {
		return key, err
	}
	defer clear(seed)
	if key, err = make(seed); err != nil {
		var none K
		return none, fmt.Errorf("keygen: %s: %w", what, err)
	}
	return key, nil
}

// maxCandidates is how often a candidate may be out of range before the reader
// is to blame: of the curves P-256 rejects most often, one in 2^32.
const maxCandidates = 100

// byRejection makes a private key of a curve from a scalar of n bytes, of which
// the first keeps its low bits only, and takes another n bytes where it is not
// in [1, order-1].
func byRejection[K any](r io.Reader, what string, n int, mask byte, parse func(scalar []byte) (K, error)) (K, error) {
	var none K
	var refusal error
	for range maxCandidates {
		scalar, err := take(r, what, n)
		if err != nil {
			return none, err
		}
		scalar[0] &= mask
		key, err := parse(scalar)
		clear(scalar)
		if err == nil {
			return key, nil
		}
		refusal = err
	}
	return none, fmt.Errorf("keygen: %s: %d candidates in a row are out of range, the reader's bytes are not random: %w", what, maxCandidates, refusal)
}
