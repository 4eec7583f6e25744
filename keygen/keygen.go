// Package keygen makes keys from an io.Reader, and always reads it.
//
// Since Go 1.26 ecdsa.GenerateKey, ecdh.Curve.GenerateKey and rsa.GenerateKey ignore the
// reader that they are passed, without an error, unless the main module says otherwise.
// mlkem.GenerateKey768 and, in Go 1.27, mldsa.GenerateKey have none. The functions here read
// the bytes themselves, and pass them to constructors that take bytes. So they do the same
// on every version of Go and under every GODEBUG. The one exception is X25519, which Go
// refuses under fips140=only.
//
// If you have no particular reader to use, call the standard library. If you have a
// qrand.Source, a hardware generator or a deterministic stream, begin with [ECDSA],
// [Ed25519], [MLKEM768] or [MLDSA65].
//
// Every function reads the number of bytes that it documents; those that reject a
// candidate read as many again. A short read is not the end. On any error of the reader a
// function returns that error, wrapped, and no key. It wipes what it read. It cannot wipe
// what the packages that compute the keys leave in memory. The same bytes give the same
// key.
//
// Under GODEBUG=fips140=only crypto/ecdsa and others refuse to make a key from a reader,
// but they accept the bytes of a key, so the functions here make it. The caller decides
// whether that is what the mode was set for: docs/operations.md says what holds.
package keygen

import (
	"errors"
	"fmt"
	"io"
)

// readBytes reads n bytes. The caller wipes them.
func readBytes(r io.Reader, what string, n int) ([]byte, error) {
	if r == nil {
		return nil, errors.New("keygen: " + what + ": the reader is nil: pass a qrand.Source, or crypto/rand.Reader")
	}
	b := make([]byte, n)
	got, err := io.ReadFull(r, b)
	if err == nil && got != n {
		err = fmt.Errorf("the reader returned %d", got)
	}
	if err != nil {
		clear(b)
		return nil, fmt.Errorf("keygen: %s: reading %d random bytes: %w", what, n, err)
	}
	return b, nil
}

// fromSeed makes a key from n bytes of r. All bytes are a good seed.
func fromSeed[K any](r io.Reader, what string, n int, make func(seed []byte) (K, error)) (key K, err error) {
	seed, err := readBytes(r, what, n)
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

// maxCandidates is how often in a row a candidate may be out of range before the reader
// must be at fault. P-256 rejects most often of the curves: one candidate in 2^32.
const maxCandidates = 100

// byRejection makes a private key of a curve from a scalar of n bytes. Of the first byte
// it keeps only the bits of mask. If the scalar is not in [1, order-1], it reads another
// n bytes.
func byRejection[K any](r io.Reader, what string, n int, mask byte, parse func(scalar []byte) (K, error)) (K, error) {
	var none K
	var refusal error
	for range maxCandidates {
		scalar, err := readBytes(r, what, n)
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
	return none, fmt.Errorf("keygen: %s: %d candidates in a row are out of range: the reader's bytes are not random: %w", what, maxCandidates, refusal)
}
