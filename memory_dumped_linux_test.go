//go:build !race

package qrand

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"example.com/qrand/internal/chacha20"
	"example.com/qrand/qrypt"
)

// This file is the process whose memory TestDump reads. It sends its secrets to its parent
// with each byte inverted, so that this makes no copy of them.

// A secretKind is what a secret was for.
type secretKind byte

const (
	aBlock   secretKind = iota + 1 // of a BlockSource
	inStock                        // of these, one not used yet
	anAnswer                       // the blocks of one request, together
	usedKey                        // that keystream was made from
	lastKey                        // that Close is to wipe
	fromOS                         // crypto/rand's
	output                         // of a Read
	marker                         // what the process keeps in any case
	ready                          // no secret: the memory can be read
	stream                         // the others are computed from these: a used key's
	aSeed                          // of a reseed
	aPad                           // fromOS, as HMAC's pads have it
	aText                          // an answer, as the service sends it
)

var kindNames = [...]string{"", "block", "block in stock", "answer", "key", "last key",
	"crypto/rand", "output", "marker", "", "keystream", "seed", "HMAC pad", "base64 of an answer"}

func (k secretKind) String() string { return kindNames[k] }

// A teller sends secrets to the parent. It also stands for crypto/rand.
type teller struct {
	mu  sync.Mutex
	to  *os.File
	buf []byte
}

func (l *teller) tell(kind secretKind, secret ...[]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, part := range secret {
		n += len(part)
	}
	l.buf = binary.BigEndian.AppendUint32(append(l.buf[:0], byte(kind)), uint32(n))
	for _, part := range secret {
		for _, b := range part {
			l.buf = append(l.buf, ^b)
		}
	}
	if _, err := l.to.Write(l.buf); err != nil {
		panic(err) // the parent is gone
	}
}

func (l *teller) Read(p []byte) (int, error) {
	n, err := rand.Reader.Read(p)
	l.tell(fromOS, p[:n])
	return n, err
}

// toldBlocks sends the blocks of another source to the parent. It keeps them, as handles.
type toldBlocks struct {
	teller *teller
	from   BlockSource
	mu     sync.Mutex
	blocks []qrypt.Block
}

func (b *toldBlocks) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) {
	blocks, err := b.from.Blocks(ctx, n)
	var all [][]byte
	for _, block := range blocks {
		b.teller.tell(aBlock, block.Bytes())
		all = append(all, block.Bytes())
	}
	b.teller.tell(anAnswer, all...)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blocks = append(b.blocks, blocks...)
	return blocks, err
}

// ownBlocks makes blocks of crypto/rand, without a copy of them.
func ownBlocks(_ context.Context, n int) (blocks []qrypt.Block, err error) {
	for range n {
		block, err := qrypt.NewBlock(make([]byte, qrypt.BlockSize), qrypt.Origin{Endpoint: "this process"})
		if err != nil {
			return nil, err
		}
		rand.Reader.Read(block.Bytes())
		blocks = append(blocks, block)
	}
	return blocks, nil
}

// kept is what the process keeps on purpose: a marker, and a copy of a secret of each kind
// if TestDump must find one.
var kept struct{ marker, block, key, seed, os, output, text []byte }

// runDumped reads in all modes, reseeds and closes, over the network of the
// environment or without one, and stops before and after Close.
func runDumped(https, keep bool) error {
	l := &teller{to: os.NewFile(3, "secrets"), buf: make([]byte, 0, 1<<20)}
	stub := parts{os: l}
	stub.keystream = func(dst []byte, key *[32]byte, counter uint32) {
		l.tell(usedKey, key[:]) // and nothing after, which would overwrite what is left on the stack
		chacha20.Blocks(dst, key, counter)
	}
	if keep {
		stub.extract = func(os *[32]byte, shard byte, block []byte) [32]byte {
			x := hmacExtract(os, shard, block)
			kept.seed, kept.os = bytes.Clone(x[:]), bytes.Clone(os[:])
			return x
		}
	}
	blocks := &toldBlocks{teller: l, from: blockFunc(ownBlocks)}
	if https {
		client, err := qrypt.FromEnv()
		if err != nil {
			return err
		}
		blocks.from = client
	}
	fingerprintKey, err := NewFingerprintKey(make([]byte, 32)) // a random one is kept, and says nothing
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var sources []*Source
	for _, mix := range mixes {
		s, err := newSource(Config{Blocks: blocks, Mix: mix, BatchBlocks: 32, FingerprintKey: fingerprintKey, Logger: slog.New(slog.DiscardHandler)}, 2, testParts(stub))
		if err != nil {
			return err
		}
		sources = append(sources, s)
		if err := s.WaitSeeded(ctx); err != nil {
			return err
		}
		for i, size := range []int{32, 16, pieceSize + 100, 1000, 4064, 5000, 1} {
			p := make([]byte, size)
			read := make(chan bool)
			go func() { // which stays, and its stack with it
				s.Read(p)
				read <- true
				select {}
			}()
			<-read
			l.tell(output, p)
			if keep && size == 1000 {
				kept.output = bytes.Clone(p)
			}
			clear(p)
			if i%3 != 0 {
				continue // a Reseed takes a third of a second, for the service's limit
			}
			if err := s.Reseed(ctx); err != nil {
				return err
			}
		}
	}

	kept.marker = make([]byte, 64)
	rand.Reader.Read(kept.marker)
	l.tell(marker, kept.marker)
	blocks.mu.Lock()
	var texts []string
	for _, block := range blocks.blocks {
		if allZero(block.Bytes()) {
			continue
		}
		l.tell(inStock, block.Bytes())
		if keep {
			kept.block = bytes.Clone(block.Bytes())
			texts = append(texts, base64.StdEncoding.EncodeToString(kept.block))
		}
	}
	blocks.mu.Unlock()
	kept.text = []byte(strings.Join(texts[:min(len(texts), 24)], `","`))
	look := func() {
		l.tell(ready)
		os.Stdin.Read(make([]byte, 1))
	}
	look()
	for _, s := range sources {
		for _, sh := range s.shards {
			sh.mu.Lock()
			l.tell(lastKey, sh.gen.Load().key[:])
			if keep {
				kept.key = bytes.Clone(sh.gen.Load().key[:])
			}
			sh.mu.Unlock()
		}
		s.Close()
	}
	look()
	return nil
}
