// Package ignored has calls that read nothing of rand.Reader, and some that do.
package ignored

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io"
	"math/big"
	"path/filepath"
	"runtime"
)

// more are calls that not every version of Go has.
var more = func(add func(func())) {}

// Calls are the calls, by file.go:1 of where they are.
func Calls() map[string]func() {
	calls := map[string]func(){}
	add := func(call func()) {
		_, file, line, _ := runtime.Caller(1)
		calls[fmt.Sprintf("%s:%d", filepath.Base(file), line)] = call
	}
	key, _ := ecdsa.GenerateKey(elliptic.P256(), nil) //qrandvet:ignore signs below
	dk, _ := mlkem.GenerateKey768()                   //qrandvet:ignore decapsulates below
	digest := make([]byte, 32)
	var none io.Reader

	add(func() { ecdsa.GenerateKey(elliptic.P256(), rand.Reader) })
	add(func() { ecdsa.GenerateKey(elliptic.P256(), none) })
	add(func() { ecdh.X25519().GenerateKey(rand.Reader) })
	add(func() { rsa.GenerateKey(rand.Reader, 2048) })
	add(func() { ecdsa.SignASN1(rand.Reader, key, digest) })
	add(func() { key.Sign(rand.Reader, digest, crypto.SHA256) })
	add(func() { ed25519.GenerateKey(nil) })
	add(func() { mlkem.GenerateKey768() })
	add(func() { dk.EncapsulationKey().Encapsulate() })
	add(func() { hpke.MLKEM768().GenerateKey() })

	more(add)

	add(func() { ed25519.GenerateKey(rand.Reader) })
	add(func() { rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 256)) })
	add(func() { rand.Text() })

	key.Sign(nil, digest, crypto.SHA256) // deterministic, and so in no report
	return calls
}
