package main

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"io"
	"log/slog"
	mathrand "math/rand/v2"

	aead "github.com/aead/chacha20"
	"golang.org/x/crypto/chacha20"
	"lukechampine.com/frand"

	"example.com/qrand"
	"example.com/qrand/qrypt"
)

// sizes are the lengths of a Read, in bytes.
var sizes = []int{16, 32, 64, 256, 1 << 10, 16 << 10, 64 << 10, 1 << 20}

// baseline is the reader that the others are compared with.
const baseline = "crypto/rand"

// A reader is what one row of the table, and one line of the plot, measures.
type reader struct {
	name string
	ours bool // a mode of qrand's Source
	io.Reader
}

// openReaders returns all of them, and a function that closes what must be.
func openReaders() (readers []reader, closeAll func(), err error) {
	var sources []*qrand.Source
	closeAll = func() {
		for _, s := range sources {
			s.Close()
		}
	}
	readers = []reader{{name: baseline, Reader: rand.Reader}}
	for _, mode := range []struct {
		name string
		mix  qrand.Mix
	}{
		{"qrand MixXOR", qrand.MixXOR},
		{"qrand MixRekey", qrand.MixRekey},
		{"qrand MixRefill", qrand.MixRefill},
	} {
		s, err := openSource(mode.mix)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		sources = append(sources, s)
		readers = append(readers, reader{name: mode.name, ours: true, Reader: s})
	}
	var seed [32]byte
	rand.Read(seed[:])
	return append(readers,
		reader{name: "frand v1.5.1, ChaCha8", Reader: frand.Reader},
		reader{name: "math/rand/v2 ChaCha8, not for keys", Reader: mathrand.NewChaCha8(seed)},
		reader{name: "aead/chacha20 keystream", Reader: &keystream{open: openAEAD}},
		reader{name: "x/crypto/chacha20 keystream", Reader: &keystream{open: openXCrypto}},
	), closeAll, nil
}

// openSource returns a Source with a block in its key that reseeds only by the clock, as
// it does for a program that reads little.
func openSource(mix qrand.Mix) (*qrand.Source, error) {
	s, err := qrand.New(qrand.Config{
		Blocks:      memory{},
		Mix:         mix,
		ReseedBytes: 1 << 62,
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	if err := s.WaitSeeded(context.Background()); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// memory is a BlockSource without a network. What it hands out is no quantum
// entropy, and is labelled so.
type memory struct{}

func (memory) Blocks(_ context.Context, n int) ([]qrypt.Block, error) {
	blocks := make([]qrypt.Block, n)
	for i := range blocks {
		var p [qrypt.BlockSize]byte
		rand.Read(p[:])
		b, err := qrypt.NewBlock(p[:], qrypt.Origin{Endpoint: "memory", Emulated: true})
		if err != nil {
			return nil, err
		}
		blocks[i] = b
	}
	return blocks, nil
}

// A keystream XORs a cipher's stream over what it is to fill, as openssl speed
// does. That makes no random number generator: its key never changes before the counter
// runs over, and one goroutine at a time may use it.
type keystream struct {
	open   func() (cipher.Stream, error)
	stream cipher.Stream
	left   int64 // bytes until the 32-bit counter of blocks would run over
}

func (k *keystream) Read(p []byte) (int, error) {
	if k.left < int64(len(p)) {
		stream, err := k.open()
		if err != nil {
			return 0, err
		}
		k.stream, k.left = stream, 1<<37
	}
	k.left -= int64(len(p))
	k.stream.XORKeyStream(p, p)
	return len(p), nil
}

func openXCrypto() (cipher.Stream, error) {
	return chacha20.NewUnauthenticatedCipher(randomKey(), make([]byte, chacha20.NonceSize))
}

func openAEAD() (cipher.Stream, error) {
	return aead.NewCipher(make([]byte, chacha20.NonceSize), randomKey())
}

func randomKey() []byte {
	key := make([]byte, chacha20.KeySize)
	rand.Read(key)
	return key
}
