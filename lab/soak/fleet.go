package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/clock"
	"example.com/qrand/qrypt"
)

// readSizes are what readers ask for: below and above the sizes at which a Source does
// something else.
var readSizes = []int{1, 16, 32, 33, 48, 64, 1000, 4096, 4097, 70_001}

// A good reader never gives as many zeros as this.
const leastZeros = 16

// A fleet is the Sources, and what their readers saw of them.
type fleet struct {
	cfg     config
	rep     *report
	members []*member
	windows windows
	close   func()
}

// A member is a Source, with what others counted of it.
type member struct {
	name   string
	policy qrand.Policy
	maxAge time.Duration
	src    *qrand.Source
	mixed  atomic.Pointer[time.Time] // when a block last went in, as its event said

	reads, bytes     atomic.Int64 // that were returned
	notSeeded, stale atomic.Int64 // Reads refused, as the Policy says
	received         atomic.Int64 // blocks that the Source was given
}

func newFleet(cfg config, sc *scenario, rep *report) (*fleet, error) {
	f := &fleet{cfg: cfg, rep: rep}
	f.close = sync.OnceFunc(func() {
		for _, m := range f.members {
			if err := m.src.Close(); err != nil {
				rep.fail("%s: Close: %v", m.name, err)
			}
		}
	})
	for mix := qrand.MixXOR; mix <= qrand.MixRefill; mix++ {
		for policy := qrand.Augment; policy <= qrand.RequireFresh; policy++ {
			m := &member{name: fmt.Sprintf("%v/%v", mix, policy), policy: policy}
			if policy == qrand.RequireFresh {
				m.maxAge = 10 * cfg.reseed // for a service that fails so often
			}
			client, err := sc.client(qrypt.Dialect(len(f.members)%2), sc.currentToken)
			if err != nil {
				f.close()
				return nil, err
			}
			m.src, err = qrand.New(qrand.Config{
				Blocks:         m.counted(client),
				Mix:            mix,
				Policy:         policy,
				MaxAge:         m.maxAge,
				AllowEmulated:  true,
				ReseedInterval: cfg.reseed,
				ReseedBytes:    1 << 50, // the readers are fast: let the clock alone decide
				Logger:         slog.New(slog.DiscardHandler),
				OnEvent: func(e qrand.Event) {
					if e.Kind == qrand.BlockMixed {
						m.mixed.Store(&e.Time)
					}
				},
			})
			if err != nil {
				f.close()
				return nil, err
			}
			f.members = append(f.members, m)
		}
	}
	return f, nil
}

// counted returns the endpoints of the client, which count the blocks that they give.
func (m *member) counted(client *qrypt.Client) qrand.BlockSource {
	var all []qrand.BlockSource
	for _, each := range client.Each() {
		all = append(all, counting{each, &m.received})
	}
	return qrand.Prefer(all[0], all[1:]...)
}

// counting is a client that counts the blocks it hands out.
type counting struct {
	*qrypt.Client
	blocks *atomic.Int64
}

func (c counting) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) {
	blocks, err := c.Client.Blocks(ctx, n)
	c.blocks.Add(int64(len(blocks)))
	return blocks, err
}

// read is one reader.
func (f *fleet) read(ctx context.Context, i int) {
	m := f.members[i%len(f.members)]
	src := io.Reader(m.src)
	if f.cfg.wrap != nil {
		src = f.cfg.wrap(src)
	}
	rand := mathrand.New(mathrand.NewPCG(f.cfg.seed, uint64(2+i)))
	var buf [70_001]byte
	var every time.Duration
	if f.cfg.rate > 0 {
		every = time.Duration(float64(time.Second) / f.cfg.rate)
	}
	for ctx.Err() == nil {
		p := buf[:readSizes[rand.IntN(len(readSizes))]]
		clear(p)
		mixed := m.mixed.Load() // before the Read: what it cannot have missed
		n, err := src.Read(p)
		f.check(m, p, n, err, mixed)
		if every > 0 {
			pause(ctx, time.Duration(rand.Int64N(int64(2*every)+1)))
		}
	}
	clear(buf[:])
}

var zeros [70_001]byte

// check looks at what a Read returned.
func (f *fleet) check(m *member, p []byte, n int, err error, mixed *time.Time) {
	if err != nil {
		if n != 0 || !bytes.Equal(p, zeros[:len(p)]) {
			f.rep.fail("%s: a Read that failed returned %d, or left bytes", m.name, n)
		}
		switch {
		case err == qrand.ErrNotSeeded && m.policy != qrand.Augment && mixed == nil:
			m.notSeeded.Add(1)
		// The newest block had come before it was mixed, by as long as the rest of its
		// answer took.
		case err == qrand.ErrStale && m.policy == qrand.RequireFresh && mixed != nil && clock.Age(time.Now(), *mixed) > m.maxAge/2:
			m.stale.Add(1)
		default:
			f.rep.fail("%s: unexpected error of a Read: %v", m.name, err)
		}
		return
	}
	m.reads.Add(1)
	m.bytes.Add(int64(n))
	switch {
	case n != len(p):
		f.rep.fail("%s: a Read of %d bytes returned %d and no error", m.name, len(p), n)
	case n >= leastZeros && bytes.Equal(p, zeros[:n]):
		f.rep.fail("%s: a Read of %d bytes returned zeros", m.name, n)
	case n >= windowSize && f.windows.seen([windowSize]byte(p)):
		f.rep.fail("%s: a Read of %d bytes began as another had", m.name, n)
	}
}

// windows remembers how the last tens of thousands of Reads began. Its memory does not
// grow: a window replaces the one that was in its place.
type windows struct {
	places [1 << 16]struct {
		sync.Mutex
		window [windowSize]byte
	}
}

const windowSize = 32

func (w *windows) seen(window [windowSize]byte) bool {
	place := &w.places[int(window[0])<<8|int(window[1])]
	place.Lock()
	defer place.Unlock()
	same := place.window == window
	place.window = window
	return same
}

// askForReseeds calls Reseed now and then, of one Source after the other. It may fail,
// but not because the Source is closed.
func (f *fleet) askForReseeds(ctx context.Context) {
	for i := 0; pause(ctx, f.cfg.reseed); i++ {
		m := f.members[i%len(f.members)]
		if err := m.src.Reseed(ctx); errors.Is(err, qrand.ErrClosed) {
			f.rep.fail("%s: Reseed: %v", m.name, err)
		}
	}
}

// account compares what readers, Sources and service counted, when nothing is
// read any more.
func (f *fleet) account(sc *scenario, rep *report) {
	deadline := time.Now().Add(closeLimit)
	for _, m := range f.members {
		st, received, settled := m.settle(deadline)
		rep.reads += m.reads.Load()
		rep.bytes += m.bytes.Load()
		rep.notSeeded += m.notSeeded.Load()
		rep.stale += m.stale.Load()
		rep.used += st.Blocks
		rep.reseeds += st.Blocks + st.OSReseeds
		rep.refused += st.RefusedBlocks
		rep.stock += int64(st.Stock)
		rep.requests += st.Requests
		if st.Reads != m.reads.Load() || st.Bytes != m.bytes.Load() {
			rep.fail("%s: Status has %d Reads and %d bytes, the readers got %d and %d", m.name, st.Reads, st.Bytes, m.reads.Load(), m.bytes.Load())
		}
		if !st.Emulated && st.Blocks > 0 {
			rep.fail("%s: Status does not say that the entropy is emulated", m.name)
		}
		if !settled {
			rep.fail("%s: %d blocks used, %d in stock and %d refused, of %d received", m.name, st.Blocks, st.Stock, st.RefusedBlocks, received)
		}
	}
	// Issued after the Sources: an answer counts before its last byte is sent.
	rep.issued = sc.service.Issued()
	rep.faults, rep.spoiled = sc.counts()
	rep.rotations, rep.refusedTokens, rep.outages = sc.rotations.Load(), sc.refusedTokens.Load(), sc.outages.Load()
	if rep.rotations > 1 && rep.refusedTokens == 0 {
		rep.note("no old token could be tried: a region was down each time")
	}
	if sum := rep.used + rep.stock + rep.refused; sum > rep.issued+rep.spoiled {
		rep.fail("%d blocks used, in stock or refused, of %d issued and %d in spoiled answers", sum, rep.issued, rep.spoiled)
	}
}

// settle waits until the Source has counted every block that it was given as
// used, in stock or refused: soon, unless one is lost, or counted twice.
func (m *member) settle(deadline time.Time) (st qrand.Status, received int64, ok bool) {
	for ; ; time.Sleep(time.Millisecond) {
		received = m.received.Load()
		st = m.src.Status()
		ok = received == m.received.Load() && received == st.Blocks+int64(st.Stock)+st.RefusedBlocks
		if ok || time.Now().After(deadline) {
			return st, received, ok
		}
	}
}

// checkClosed reads once more from each, now that they are closed.
func (f *fleet) checkClosed(rep *report) {
	for _, m := range f.members {
		p := make([]byte, windowSize)
		n, err := m.src.Read(p)
		switch {
		case m.policy == qrand.Augment && (n != len(p) || err != nil || bytes.Equal(p, zeros[:n])):
			rep.fail("%s: after Close Read returned %d, %v", m.name, n, err)
		case m.policy != qrand.Augment && (n != 0 || err != qrand.ErrClosed):
			rep.fail("%s: after Close Read returned %d, %v, want ErrClosed", m.name, n, err)
		}
		if st := m.src.Status(); st.State != qrand.Closed || st.Stock != 0 {
			rep.fail("%s: after Close: %v", m.name, st)
		}
	}
}
