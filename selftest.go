package qrand

import (
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"example.com/qrand/internal/chacha20"
)

// selfTest compares what this processor computes for the primitives with known answers,
// once in a process, before the first Source.
var selfTest = sync.OnceValue(func() error {
	return testPrimitives(chacha20.SelfTest, hmacExtract)
})

// seedAnswer is the seed that testPrimitives wants: the first 32 bytes of what `openssl
// dgst -sha512 -mac HMAC -macopt hexkey:0001...1f` says of "qrand seed v1", the byte 7,
// and four times the bytes 0 to 255.
const seedAnswer = "649e35c71189eadb281890c9a73e7d331ce6825f6342d1c49ca33cd299094df6"

func testPrimitives(testKeystream func() error, seed func(*[keySize]byte, byte, []byte) [keySize]byte) error {
	err := testKeystream()
	if err == nil {
		var os [keySize]byte
		var block [1024]byte
		for i := range block {
			block[i] = byte(i)
		}
		copy(os[:], block[:])
		if x := seed(&os, 7, block[:]); hex.EncodeToString(x[:]) != seedAnswer {
			err = errors.New("self-test: HMAC-SHA-512 is wrong")
		}
	}
	if err != nil {
		return fmt.Errorf("qrand: %w: do not trust any key made by this build on this processor: try a build with -tags purego, and report this", err)
	}
	return nil
}
