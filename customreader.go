package qrand

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"log/slog"
	"sync"
)

// CustomReaderHonored reports whether crypto/ecdsa and similar packages (the README lists
// them) make keys from the reader that they are passed, in this program as it is now.
// Since Go 1.26 they ignore it, without an error, unless cryptocustomrand=1 is set: in
// GODEBUG, in a //go:debug line, or in a godebug line in the go.mod of the main module.
// Where they ignore it, nothing of a Source passed to ecdsa.GenerateKey is in the key: use
// package [example.com/qrand/keygen]. The same is true of a Source in rand.Reader:
// docs/reach.md says what that reaches.
//
// It tries ecdsa.GenerateKey with a reader of its own, and throws the key away. That takes
// some 10 µs, or 100 µs in FIPS 140 mode. It does so in each call, because a program may
// set GODEBUG while it runs.
func CustomReaderHonored() (honored bool) {
	var p empty
	// A boringcrypto toolchain panics if it is passed any reader but its own.
	defer func() { honored = recover() == nil && honored }()
	ecdsa.GenerateKey(elliptic.P256(), &p) //qrandvet:ignore finds out whether it does
	return p.asked >= scalarSize
}

// scalarSize is the least that a P-256 key takes. A function that ignores its reader may
// still read one byte of it, by chance, so that nobody relies on what follows.
const scalarSize = 32

// empty is a reader that gives nothing, so that it yields no key, and counts what it is
// asked for.
type empty struct{ asked int }

var errEmpty = errors.New("qrand: this reader is empty")

func (p *empty) Read(b []byte) (int, error) {
	p.asked += len(b)
	return 0, errEmpty
}

var customReaderNote sync.Once

// noteCustomReader logs, once in a process, if Go's key generation would ignore a Source
// that is passed to it.
func noteCustomReader(log *slog.Logger) {
	customReaderNote.Do(func() {
		if !CustomReaderHonored() {
			log.Info("qrand: in this program crypto/ecdsa, crypto/ecdh and crypto/rsa ignore the reader that they are passed: use package example.com/qrand/keygen")
		}
	})
}
