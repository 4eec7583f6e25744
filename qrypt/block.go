package qrypt

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// BlockSize is the length in bytes of every block.
const BlockSize = 1024

// A Block is 1,024 bytes of entropy. It is a handle: copies of it share the
// same bytes, so that Wipe reaches them all and printing a Block, or anything
// that holds one, shows no entropy.
type Block struct {
	// bytes is a pointer to a pointer because package fmt follows one: for %s or %q of
	// a struct that holds a Block in an unexported field, it calls no method, and prints
	// the array behind a pointer.
	bytes  **[BlockSize]byte
	origin Origin
}

func makeBlock(origin Origin) Block {
	bytes := new([BlockSize]byte)
	return Block{&bytes, origin}
}

// Origin says where a block came from.
type Origin struct {
	Endpoint string    // base URL of the service, or another source's name for itself
	Received time.Time // when its answer arrived, less the Age that a relay gives
	Emulated bool      // the answer says that an emulator made it: not quantum entropy

	// SHA-256 of the DER of the server's TLS certificate (RFC 5280 section 4.1), and of the
	// SubjectPublicKeyInfo in it. A resumed session counts with the certificate that it began
	// with. Zero: the answer came without TLS, or the transport did not tell.
	CertificateSHA256 [sha256.Size]byte
	PublicKeySHA256   [sha256.Size]byte

	// Receipt is the JSON of what a relay signed about the blocks of its answer: see
	// [Client.BlocksWithReceipt]. It is not verified. Empty: there is none.
	Receipt string
}

// NewBlock returns a Block with a copy of p, which must have 1,024 bytes. It is for
// sources other than Client. A zero origin.Received is replaced by the time now.
func NewBlock(p []byte, origin Origin) (Block, error) {
	if len(p) != BlockSize {
		return Block{}, fmt.Errorf("qrypt: a block has %d bytes, not %d", BlockSize, len(p))
	}
	if origin.Received.IsZero() {
		origin.Received = time.Now()
	}
	b := makeBlock(origin)
	copy(b.Bytes(), p)
	return b, nil
}

// Bytes returns the block's 1,024 bytes themselves, not a copy; nil for the
// zero Block. They are valid until Wipe.
func (b Block) Bytes() []byte {
	if b.bytes == nil {
		return nil
	}
	return (*b.bytes)[:]
}

// Origin says where the block came from.
func (b Block) Origin() Origin { return b.origin }

// Wipe overwrites the bytes with zeros, in every copy of b. A wiped block is
// spent: it must not be used again.
func (b Block) Wipe() { clear(b.Bytes()) }

// Wipe wipes each of the blocks.
func Wipe(blocks []Block) {
	for _, b := range blocks {
		b.Wipe()
	}
}

// String shows where the block came from and nothing of its bytes.
func (b Block) String() string { return "qrypt.Block(redacted, from " + b.origin.Endpoint + ")" }

// Format prints String for every verb.
func (b Block) Format(f fmt.State, _ rune) { io.WriteString(f, b.String()) }

// LogValue is String, for package log/slog.
func (b Block) LogValue() slog.Value { return slog.StringValue(b.String()) }
