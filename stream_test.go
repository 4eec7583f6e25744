package qrand

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"example.com/qrand/qrypttest"
)

// streamEnv names the stream that TestWriteStream writes, streamBytesEnv how much of it
// (if unset, until nobody reads any more).
const (
	streamEnv      = "QRAND_STREAM"
	streamBytesEnv = "QRAND_STREAM_BYTES"
)

// TestWriteStream writes a stream to file descriptor 3, for statistical tests from
// outside (lab/stats, whose program starts this test binary). It is
// a test because the generator alone is nothing that the package hands out.
func TestWriteStream(t *testing.T) {
	name := os.Getenv(streamEnv)
	if name == "" {
		t.Skip("writes a stream for lab/stats, which names one in " + streamEnv)
	}
	limit := int64(1) << 62
	if text := os.Getenv(streamBytesEnv); text != "" {
		var err error
		if limit, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	out := os.NewFile(3, "the stream")
	_, err := io.CopyBuffer(struct{ io.Writer }{out}, io.LimitReader(openStream(t, name), limit), make([]byte, 1<<20))
	if err != nil && !errors.Is(err, syscall.EPIPE) {
		t.Fatal(err)
	}
}

// openStream returns an endless stream: that of a mode, seeded by the emulator over
// HTTPS; of the generator alone; or one spoiled on purpose.
func openStream(t *testing.T, name string) io.Reader {
	var mix Mix
	if mix.UnmarshalText([]byte(name)) == nil {
		for _, variable := range emulatorEnv(t, qrypttest.Config{Rate: -1}) {
			name, value, _ := strings.Cut(variable, "=")
			t.Setenv(name, value)
		}
		s, err := New(Config{Mix: mix, BatchBlocks: 64, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		waitSeeded(t, s)
		return &inSizes{s: s}
	}
	if name == "ChaCha20" {
		return newBareStream(t)
	}
	spoil, ok := spoiled[strings.TrimPrefix(name, "spoiled: ")]
	if !ok {
		t.Fatalf("%s=%q: use MixXOR, MixRekey, MixRefill, ChaCha20 or a spoiled one", streamEnv, name)
	}
	return spoil(newBareStream(t))
}

// inSizes reads s in sizes that cross the borders of blocks, chunks and pieces, so
// that what is tested is not only what Reads of one size return.
type inSizes struct {
	s    io.Reader
	next int
}

func (r *inSizes) Read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		size := readSizes[r.next%len(readSizes)]
		r.next++
		var m int
		m, err = r.s.Read(p[n:min(n+size, len(p))])
		n += m
	}
	return n, err
}

// A bareStream is the generator alone: one key of crypto/rand's, and nothing of
// anybody's after it.
type bareStream struct{ gen generator }

func newBareStream(t *testing.T) *bareStream {
	b := new(bareStream)
	if _, err := rand.Read(b.gen.key[:]); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bareStream) Read(p []byte) (int, error) {
	clear(p)
	b.gen.xor(p)
	return len(p), nil
}

// A spoiler changes the n-th piece of a good stream. Pieces are pieceSize long.
type spoiler struct {
	good  io.Reader
	piece [pieceSize]byte
	rest  []byte
	n     int
	spoil func(piece []byte, n int)
}

func (s *spoiler) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		if _, err := io.ReadFull(s.good, s.piece[:]); err != nil {
			return 0, err
		}
		s.spoil(s.piece[:], s.n)
		s.n++
		s.rest = s.piece[:]
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// spoiled are generators with faults, by which the tools show that they find some.
var spoiled = map[string]func(io.Reader) io.Reader{
	"stuck bit": func(good io.Reader) io.Reader { // in one byte of a thousand
		return &spoiler{good: good, spoil: func(p []byte, n int) {
			for i := (1000 - n*pieceSize%1000) % 1000; i < len(p); i += 1000 {
				p[i] |= 1
			}
		}}
	},
	"short period": func(good io.Reader) io.Reader { // of 4 MiB
		const pieces = 64
		var period [pieces * pieceSize]byte
		return &spoiler{good: good, spoil: func(p []byte, n int) {
			at := period[n%pieces*pieceSize:][:pieceSize]
			if n < pieces {
				copy(at, p)
			}
			copy(p, at)
		}}
	},
	"bias of 1 %": func(good io.Reader) io.Reader { // 51 % ones: each 50th bit is forced to be one
		return &spoiler{good: good, spoil: func(p []byte, n int) {
			bits := 8 * len(p)
			for i := (50 - n*bits%50) % 50; i < bits; i += 50 {
				p[i/8] |= 1 << (i % 8)
			}
		}}
	},
	"counter": func(good io.Reader) io.Reader { // in 8 bytes
		return &spoiler{good: good, spoil: func(p []byte, n int) {
			for i := 0; i < len(p); i += 8 {
				binary.BigEndian.PutUint64(p[i:], uint64(n*len(p)+i)/8)
			}
		}}
	},
	"LCG's low byte": func(good io.Reader) io.Reader { // x = 1664525 x + 1013904223 mod 2^32 (Knuth's, in Numerical Recipes)
		var x uint32
		return &spoiler{good: good, spoil: func(p []byte, _ int) {
			for i := range p {
				x = 1664525*x + 1013904223
				p[i] = byte(x)
			}
		}}
	},
	"linear words": func(good io.Reader) io.Reader { // each fourth word is the XOR of the three before it
		return &spoiler{good: good, spoil: func(p []byte, _ int) {
			for i := 0; i < len(p); i += 16 {
				for j := range 4 {
					p[i+12+j] = p[i+j] ^ p[i+4+j] ^ p[i+8+j]
				}
			}
		}}
	},
}
