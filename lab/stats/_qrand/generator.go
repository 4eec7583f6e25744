package qrand

import (
	"io"

	"example.com/qrand/internal/chacha20"
)

// GeneratorAlone returns the stream of a generator with a key of 32 bytes.
func (*Source) GeneratorAlone(key []byte) io.Reader {
	return &generatorAlone{generator{key: [keySize]byte(key), keystream: chacha20.Blocks}}
}

type generatorAlone struct{ generator }

func (g *generatorAlone) Read(p []byte) (int, error) {
	clear(p)
	g.xor(p)
	return len(p), nil
}
