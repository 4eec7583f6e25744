package keygen_test

import (
	"context"
	"errors"
	"io"
	mathrand "math/rand/v2"

	"example.com/qrand/qrypt"
)

// A stream is a deterministic reader that counts what it gives.
type stream struct {
	rand  *mathrand.ChaCha8
	taken int
}

func newStream(seed byte) *stream {
	return &stream{rand: mathrand.NewChaCha8([32]byte{seed})}
}

func (s *stream) Read(p []byte) (int, error) {
	s.taken += len(p)
	return s.rand.Read(p)
}

// failing gives left bytes and then an error.
type failing struct {
	stream
	left int
}

var errBroken = errors.New("the reader broke")

func (f *failing) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, errBroken
	}
	n, _ := f.stream.Read(p[:min(len(p), f.left)])
	f.left -= n
	return n, nil
}

// keeping is a reader that keeps the buffers that it was given.
type keeping struct {
	io.Reader
	kept [][]byte
}

func (k *keeping) Read(p []byte) (int, error) {
	n, err := k.Reader.Read(p)
	k.kept = append(k.kept, p[:n])
	return n, err
}

// zeroReader is a broken generator.
type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// onesReader is another, whose bytes are above the order of every NIST curve.
type onesReader struct{}

func (onesReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0xff
	}
	return len(p), nil
}

// blocks is a service that always answers.
type blocks struct{ *stream }

func (s blocks) Blocks(_ context.Context, n int) ([]qrypt.Block, error) {
	p := make([]byte, qrypt.BlockSize)
	s.Read(p)
	block, err := qrypt.NewBlock(p, qrypt.Origin{Emulated: true})
	return []qrypt.Block{block}, err
}
