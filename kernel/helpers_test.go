package kernel

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"example.com/qrand/qrypt"
)

// A fakePool records the calls of its methods.
type fakePool struct {
	calls              []string
	got                [][]byte // copies of what was put in
	given              [][]byte // what was given, itself
	onMix, onCredit    error
	onReseed, onClosed error
}

func (p *fakePool) keep(block []byte) {
	p.got = append(p.got, bytes.Clone(block))
	p.given = append(p.given, block)
}

func (p *fakePool) mix(block []byte) error {
	p.calls = append(p.calls, "mix")
	p.keep(block)
	return p.onMix
}

func (p *fakePool) credit(block []byte, bits int) error {
	p.calls = append(p.calls, fmt.Sprintf("credit %d", bits))
	p.keep(block)
	return p.onCredit
}

func (p *fakePool) reseed() error {
	p.calls = append(p.calls, "reseed")
	return p.onReseed
}

func (p *fakePool) close() error {
	p.calls = append(p.calls, "close")
	return p.onClosed
}

// fakeBlocks is a service that answers or fails as its fields say.
type fakeBlocks struct {
	emulated bool
	fail     error                              // each request
	answer   func(n int) ([]qrypt.Block, error) // nil: n good blocks
	wait     func(ctx context.Context)          // before an answer
	at       []time.Time                        // of the requests
	given    []qrypt.Block                      // what it has handed out
	deaf     bool                               // it gives a block though its context is done
	onLook   func() bool                        // for another token
	looked   int
}

func (s *fakeBlocks) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) {
	s.at = append(s.at, time.Now())
	if s.wait != nil {
		s.wait(ctx)
	}
	if ctx.Err() != nil && !s.deaf {
		return nil, ctx.Err()
	}
	if s.fail != nil {
		return nil, s.fail
	}
	var blocks []qrypt.Block
	var err error
	if s.answer != nil {
		blocks, err = s.answer(n)
	} else {
		for range n {
			blocks = append(blocks, s.block(goodBytes(uint64(len(s.given)+len(blocks)))))
		}
	}
	s.given = append(s.given, blocks...)
	return blocks, err
}

func (s *fakeBlocks) block(p []byte) qrypt.Block {
	b, err := qrypt.NewBlock(p, qrypt.Origin{Endpoint: "https://fake", Emulated: s.emulated})
	if err != nil {
		panic(err)
	}
	return b
}

func (s *fakeBlocks) TokenChanged(context.Context) bool {
	s.looked++
	return s.onLook != nil && s.onLook()
}

// goodBytes returns a block that passes the health tests, the same for the same seed.
func goodBytes(seed uint64) []byte {
	p := make([]byte, qrypt.BlockSize)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1}).Read(p)
	return p
}

// newTestFeeder feeds a fakePool from a fakeBlocks.
func newTestFeeder(t *testing.T, cfg Config) (*Feeder, *fakePool, *fakeBlocks) {
	t.Helper()
	source, ok := cfg.Blocks.(*fakeBlocks)
	if !ok {
		source = &fakeBlocks{}
		cfg.Blocks = source
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	p := &fakePool{}
	return newFeeder(cfg, p, make([]byte, 32)), p, source
}

// wiped reports whether nothing is left of the blocks that went through.
func wiped(p *fakePool, s *fakeBlocks) bool {
	for _, b := range s.given {
		if slices.ContainsFunc(b.Bytes(), func(c byte) bool { return c != 0 }) {
			return false
		}
	}
	for _, g := range p.given {
		if slices.ContainsFunc(g, func(c byte) bool { return c != 0 }) {
			return false
		}
	}
	return true
}
