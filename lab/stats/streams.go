package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"

	"example.com/qrand"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// sound are the streams in which no tool may find a fault.
var sound = []string{"MixXOR", "MixRekey", "MixRefill", generatorAlone}

// generatorAlone is the stream of one generator that took its key from crypto/rand, and
// nothing after that. The modes take more of crypto/rand, which can hide a fault.
const generatorAlone = "ChaCha20"

// spoiled are the streams in which the tools must find a fault.
var spoiled = slices.Sorted(maps.Keys(spoilers))

// A stream is endless. Each is fresh: it has an emulator, a Source and keys of its own.
type stream struct {
	io.Reader
	close func()
}

// openStream returns the stream of a mode, seeded by the emulator over HTTPS; of the
// generator alone; or one spoiled on purpose.
func openStream(ctx context.Context, name string) (stream, error) {
	spoil, isSpoiled := spoilers[name]
	if isSpoiled || name == generatorAlone {
		r, err := openGenerator()
		if err == nil && isSpoiled {
			r = spoil(r)
		}
		return stream{r, func() {}}, err
	}
	var mix qrand.Mix
	if err := mix.UnmarshalText([]byte(name)); err != nil {
		return stream{}, err
	}
	return openMode(ctx, mix)
}

func openMode(ctx context.Context, mix qrand.Mix) (stream, error) {
	server, err := qrypttest.Listen(qrypttest.Config{Rate: -1})
	if err != nil {
		return stream{}, err
	}
	client, err := qrypt.New(qrypt.Config{
		Endpoints:  server.Endpoints(),
		Token:      qrypt.StaticToken(server.Token()),
		HTTPClient: server.Client(),
	})
	if err != nil {
		server.Close()
		return stream{}, err
	}
	s, err := qrand.New(qrand.Config{Blocks: client, Mix: mix, BatchBlocks: 64, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		server.Close()
		return stream{}, err
	}
	end := func() {
		s.Close()
		server.Close()
	}
	if err := s.WaitSeeded(ctx); err != nil {
		end()
		return stream{}, err
	}
	return stream{&inSizes{r: s}, end}, nil
}

// openGenerator returns the stream of a generator alone. Package qrand hands out none, so
// lab/overlay.json lays _qrand/generator.go over it, which has the method.
func openGenerator() (io.Reader, error) {
	source, ok := any(new(qrand.Source)).(interface{ GeneratorAlone(key []byte) io.Reader })
	if !ok {
		return nil, errors.New("there is no access to the generator: build with -overlay overlay.json, in the folder lab")
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	return source.GeneratorAlone(key), nil
}

// inSizes reads r in sizes that cross the borders of a Source's blocks, chunks and
// pieces, so that what is tested is not only what Reads of one size return.
type inSizes struct {
	r    io.Reader
	next int
}

var readSizes = []int{1, 32, 31, 64, 0, 928, 1, 992, 3008, 4064, 1024, 5000, 4096, 64 << 10, 64<<10 + 1, 3}

func (r *inSizes) Read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		size := readSizes[r.next%len(readSizes)]
		r.next++
		var m int
		m, err = r.r.Read(p[n:min(n+size, len(p))])
		n += m
	}
	return n, err
}

const pieceSize = 64 << 10

// A spoiler changes the n-th piece of a good stream.
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

// spoilers turn a good stream into one with a fault.
var spoilers = map[string]func(io.Reader) io.Reader{
	"spoiled: stuck bit": func(good io.Reader) io.Reader { // in one byte of a thousand
		return &spoiler{good: good, spoil: func(p []byte, n int) {
			for i := (1000 - n*pieceSize%1000) % 1000; i < len(p); i += 1000 {
				p[i] |= 1
			}
		}}
	},
	"spoiled: short period": func(good io.Reader) io.Reader { // of 4 MiB
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
	"spoiled: bias of 1 %": func(good io.Reader) io.Reader { // 51 % ones: each 50th bit is forced to be one
		return &spoiler{good: good, spoil: func(p []byte, n int) {
			bits := 8 * len(p)
			for i := (50 - n*bits%50) % 50; i < bits; i += 50 {
				p[i/8] |= 1 << (i % 8)
			}
		}}
	},
	"spoiled: counter": func(good io.Reader) io.Reader { // in 8 bytes
		return &spoiler{good: good, spoil: func(p []byte, n int) {
			for i := 0; i < len(p); i += 8 {
				binary.BigEndian.PutUint64(p[i:], uint64(n*len(p)+i)/8)
			}
		}}
	},
	"spoiled: LCG's low byte": func(good io.Reader) io.Reader { // x = 1664525 x + 1013904223 mod 2^32 (Knuth, in Numerical Recipes)
		var x uint32
		return &spoiler{good: good, spoil: func(p []byte, _ int) {
			for i := range p {
				x = 1664525*x + 1013904223
				p[i] = byte(x)
			}
		}}
	},
	"spoiled: linear words": func(good io.Reader) io.Reader { // each fourth word is the XOR of the three before it
		return &spoiler{good: good, spoil: func(p []byte, _ int) {
			for i := 0; i < len(p); i += 16 {
				for j := range 4 {
					p[i+12+j] = p[i+j] ^ p[i+4+j] ^ p[i+8+j]
				}
			}
		}}
	},
}
