package fixed

import (
	"bytes"
	"crypto/ecdh"
	. "crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"io"
	"strings"
	"testing/iotest"

	std "crypto/ecdsa"
)

type own struct{ ecdh.Curve }

// refused has nothing that keygen could do, or nothing that would compile.
func refused(src io.Reader, o own) {
	GenerateKey(elliptic.P256(), src)        // want `ecdsa.GenerateKey`
	rsa.GenerateKey(src, 1024)               // want `rsa.GenerateKey .*; to have it read, set godebug`
	rsa.GenerateKey(src, 2056)               // want `rsa.GenerateKey .*; to have it read, set godebug`
	rsa.GenerateKey(src, 1<<20)              // want `rsa.GenerateKey .*; to have it read, set godebug`
	rsa.GenerateMultiPrimeKey(src, 3, 2048)  // want `rsa.GenerateMultiPrimeKey`
	rand.Prime(src, 1024)                    // want `rand.Prime`
	o.GenerateKey(src)                       // want `ecdh.Curve.*; to have it read, set godebug`
	ecdh.Curve.GenerateKey(ecdh.P256(), src) // want `ecdh.Curve.*; to have it read, set godebug`
	SignASN1(src, nil, nil)                  // want `ecdsa.SignASN1`
}

// What another package or a test can set.
var (
	curve          = elliptic.P256()
	Curve          = ecdh.P256()
	fields         struct{ curve elliptic.Curve }
	bitsOfTheTests = 2048
)

// P256 has its name only.
func P256() elliptic.Curve { return new(elliptic.CurveParams) }

// known only when the program runs.
func known(src io.Reader, param elliptic.Curve, exchange ecdh.Curve, bits int) {
	either := elliptic.P256()
	if bits > 256 {
		either = P256()
	}
	pointed, forgotten := elliptic.P256(), curve
	func(p *elliptic.Curve) { *p = param }(&pointed)
	two, _ := either, bits
	size := 2048

	std.GenerateKey(elliptic.P256().Params(), src) // want `ecdsa.GenerateKey .*; to have it read, set godebug`
	std.GenerateKey(P256(), src)                   // want `ecdsa.GenerateKey .*; to have it read, set godebug`
	std.GenerateKey(param, src)                    // want `ecdsa.GenerateKey .*; to have it read, set godebug`
	std.GenerateKey(curve, src)                    // want `ecdsa.GenerateKey .*; to have it read, set godebug`
	std.GenerateKey(fields.curve, src)             // want `ecdsa.GenerateKey .*; to have it read, set godebug`
	std.GenerateKey(either, src)                   // want `ecdsa.GenerateKey .*; to have it read, set godebug`
	std.GenerateKey(pointed, src)                  // want `ecdsa.GenerateKey .*; to have it read, set godebug`
	std.GenerateKey(forgotten, src)                // want `ecdsa.GenerateKey .*; to have it read, set godebug`
	std.GenerateKey(two, src)                      // want `ecdsa.GenerateKey .*; to have it read, set godebug`
	for _, c := range []elliptic.Curve{elliptic.P256(), param} {
		std.GenerateKey(c, src) // want `ecdsa.GenerateKey .*; to have it read, set godebug`
	}
	exchange.GenerateKey(src)            // want `ecdh.Curve.*; to have it read, set godebug`
	Curve.GenerateKey(src)               // want `ecdh.Curve.*; to have it read, set godebug`
	rsa.GenerateKey(src, bits)           // want `rsa.GenerateKey .*; to have it read, set godebug`
	rsa.GenerateKey(src, size)           // want `rsa.GenerateKey .*; to have it read, set godebug`
	rsa.GenerateKey(src, bitsOfTheTests) // want `rsa.GenerateKey .*; to have it read, set godebug`
}

func generic[C elliptic.Curve](c C, src io.Reader) {
	std.GenerateKey(c, src) // want `ecdsa.GenerateKey .*; to have it read, set godebug`
}

// failing readers make a key as long as they are ignored.
func failing(src io.Reader, seed []byte) {
	var declared io.Reader
	if seed != nil {
		declared = src
	}
	replaced := src
	replaced = nil
	ecdh.P256().GenerateKey(declared)                       // want `ecdh.Curve.*; to have it read, set godebug`
	ecdh.P256().GenerateKey(replaced)                       // want `ecdh.Curve.*; to have it read, set godebug`
	ecdh.P256().GenerateKey(bytes.NewReader(seed))          // want `ecdh.Curve.*; to have it read, set godebug`
	ecdh.P256().GenerateKey(new(bytes.Buffer))              // want `ecdh.Curve.*; to have it read, set godebug`
	ecdh.P256().GenerateKey(strings.NewReader(""))          // want `ecdh.Curve.*; to have it read, set godebug`
	ecdh.P256().GenerateKey(io.LimitReader(src, 8))         // want `ecdh.Curve.*; to have it read, set godebug`
	ecdh.P256().GenerateKey(&io.LimitedReader{R: src})      // want `ecdh.Curve.*; to have it read, set godebug`
	ecdh.P256().GenerateKey(io.NewSectionReader(nil, 0, 1)) // want `ecdh.Curve.*; to have it read, set godebug`
	ecdh.P256().GenerateKey(iotest.ErrReader(io.EOF))       // want `ecdh.Curve.*; to have it read, set godebug`
}
