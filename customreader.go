package qrand

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"log/slog"
	"sync"
)

// CustomReaderHonored reports whether crypto/ecdsa and its kin (the README lists
// them) make keys from the reader that they are passed, in this program as it is
// now. Since Go 1.26 they do not, without an error, unless cryptocustomrand=1 is
// set: in GODEBUG, in a //go:debug line or in a godebug line of the main module's
// go.mod. Where they do not, a key of ecdsa.GenerateKey has nothing of a Source
// passed to it: use package [example.com/qrand/keygen].
//
// It asks ecdsa.GenerateKey itself, for a key that it throws away, and touches no
// Source. That takes some 10 µs, in FIPS 140 mode some 100 µs, each time: a
// program may set GODEBUG while it runs, so no answer is kept.
func CustomReaderHonored() (honored bool) {
	var p empty
	// A boringcrypto toolchain panics where it is passed a reader of one's own.
	defer func() { honored = recover() == nil && honored }()
	ecdsa.GenerateKey(elliptic.P256(), &p) //qrandvet:ignore finds out whether it does
	return p.asked >= scalarSize
}

// scalarSize is the least that a P-256 key takes. A function that ignores its
// reader may yet read a byte of it, by chance, so that nobody relies on what the
// rest gives.
const scalarSize = 32

// empty is a reader that gives nothing, so that no key comes of it, and counts
// what it is asked for.
type empty struct{ asked int }

var errEmpty = errors.New("qrand: this reader is empty")

func (p *empty) Read(b []byte) (int, error) {
	p.asked += len(b)
	return 0, errEmpty
}

var customReaderNote sync.Once

// noteCustomReader logs, once in a process, that a Source passed to Go's key
// generation would be ignored.
func noteCustomReader(log *slog.Logger) {
	customReaderNote.Do(func() {
		if !CustomReaderHonored() {
			log.Info("qrand: in this program crypto/ecdsa, crypto/ecdh and crypto/rsa make no keys from the reader that they are passed: use package example.com/qrand/keygen")
		}
	})
}
