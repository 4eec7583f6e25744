package qrand

import (
	"bytes"
	"context"
	mathrand "math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"example.com/qrand/qrypt"
)

// This file is what surrounds a Source in TestLife: the service, crypto/rand
// and the clocks.

// An observation is something that the service saw.
type observation struct {
	kind       observationKind
	at         time.Duration
	blocks     int             // requested: how many
	deaf       bool            // requested: the call does not end with its context
	given      []numberedBlock // answered: also where something is wrong with them
	fault      fault           // answered: what is wrong
	retryAfter time.Duration
	newToken   bool // looked
}

type observationKind int

const (
	requested observationKind = iota
	answered                  // with blocks or an error
	looking                   // at the token
	looked
	paused // a long Read has come to its next piece, and the reseeder to rest
)

// A lifeService is the BlockSource.
type lifeService struct {
	now    func() time.Time
	begin  time.Time // when the model's time is 0
	maxAge time.Duration
	old    bool // its blocks can be too old

	behaviour behaviour
	tokenNew  bool
	seen      []observation // that the model has not been told
	requests  int
	answers   time.Duration // when the last one is to be answered
	given     uint64
	good      uint64        // the first block of the last good answer
	live      []qrypt.Block // not wiped
	closing   chan struct{} // closed when the Source has begun to close
}

// time is how long the model has run.
func (f *lifeService) time() time.Duration { return f.now().Sub(f.begin) }

func (f *lifeService) see(s observation) {
	s.at = f.time()
	f.seen = append(f.seen, s)
}

func (f *lifeService) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) {
	f.tokenNew = false
	behaviour, latency := f.behaviour, f.behaviour.latency
	f.see(observation{kind: requested, blocks: n, deaf: behaviour.deaf})
	f.requests++
	if f.requests%2 == 0 {
		behaviour.kept = 0
	}
	if latency > 0 {
		latency += time.Duration(f.requests) * 1237 // no answer comes at the instant of something else
		f.answers = f.time() + latency
		end := ctx.Done()
		if behaviour.deaf {
			end = f.closing
		}
		select {
		case <-time.After(latency):
		case <-end:
			return nil, ctx.Err()
		}
	}
	if behaviour.err != nil && !behaviour.blocks {
		err := error(&qrypt.Error{Endpoint: "https://there", Class: behaviour.err, RetryAfter: behaviour.retryAfter})
		if behaviour.name == "foreign" {
			err, behaviour.retryAfter = behaviour.err, 0
		}
		f.see(observation{kind: answered, fault: behaviour.fault, retryAfter: behaviour.retryAfter})
		return nil, err
	}
	switch {
	case behaviour.name == "no block":
		n = 0
	case behaviour.name == "too many":
		n++
	case behaviour.name == "repeated" && f.good == 0, behaviour.name == "old block" && !f.old:
		behaviour.fault = fault{}
	case behaviour.least:
		n = 1
	}
	var blocks []qrypt.Block
	s := observation{kind: answered, fault: behaviour.fault}
	for i := range n {
		f.given++
		p := newTestBlock(f.given).Bytes()
		origin := qrypt.Origin{Endpoint: "fake", Received: f.now().Add(-behaviour.kept), Emulated: behaviour.emulated, CertificateSHA256: [32]byte{0xc0}, PublicKeySHA256: [32]byte{0xd0}}
		bad := i == behaviour.bad%n
		switch {
		case bad && behaviour.name == "unhealthy":
			copy(p[500:], "!!!!!!")
		case bad && behaviour.name == "repeated":
			p = newTestBlock(f.good).Bytes()
		case bad && behaviour.name == "old block":
			origin.Received = f.now().Add(-f.maxAge - 1)
		}
		block, err := qrypt.NewBlock(p, origin)
		if err != nil {
			return nil, err
		}
		if bad && behaviour.name == "empty block" {
			block = qrypt.Block{}
		} else {
			f.live = append(f.live, block)
		}
		blocks = append(blocks, block)
		s.given = append(s.given, numberedBlock{f.given, origin.Received, behaviour.emulated})
	}
	if behaviour.name == "" {
		f.good = s.given[0].number
	}
	f.see(s)
	return blocks, nil
}

func (f *lifeService) TokenChanged(ctx context.Context) bool {
	f.see(observation{kind: looking})
	isNew := f.tokenNew && !f.behaviour.slowToken
	if f.behaviour.slowToken {
		<-ctx.Done()
	}
	f.see(observation{kind: looked, newToken: isNew})
	return isNew
}

// alive counts the blocks that are not wiped.
func (f *lifeService) alive() int {
	f.live = slices.DeleteFunc(f.live, func(b qrypt.Block) bool { return allZero(b.Bytes()) })
	return len(f.live)
}

// A lifeTape is a stub of crypto/rand that notes what it gave to Reads and to reseeds.
type lifeTape struct {
	mu               sync.Mutex
	rand             *mathrand.ChaCha8
	reader, reseeder [][]byte
	reseeds          []byte        // where the last reseed has its bytes
	holds            chan struct{} // if not nil, the reseeder waits for it
	pause            func()        // if not nil, the reseeder comes to rest before a Read's second piece and later ones, and it is called
	pieces           int
}

func (o *lifeTape) Read(p []byte) (int, error) {
	by := &o.reader
	if bytes.Contains(debug.Stack(), []byte(".rekeyAll(")) {
		by = &o.reseeder
		o.mu.Lock()
		holds := o.holds
		o.mu.Unlock()
		if holds != nil {
			<-holds
		}
	} else if o.pause != nil {
		if o.pieces++; o.pieces > 1 {
			synctest.Wait()
			o.pause()
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rand.Read(p)
	if by == &o.reseeder {
		o.reseeds = p
	}
	*by = append(*by, bytes.Clone(p))
	return len(p), nil
}

func (o *lifeTape) hold(with chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.holds != nil {
		close(o.holds)
	}
	o.holds = with
}

// pop takes the oldest read, of a key's length, off one of the tapes.
func (o *lifeTape) pop(m *model, tape *[][]byte) []byte {
	if len(*tape) == 0 || len((*tape)[0]) != 32 {
		m.fail("crypto/rand was not read for a key")
	}
	p := (*tape)[0]
	*tape = (*tape)[1:]
	return p
}

// outside is a time with a reading of the monotonic clock. Times in a bubble have none.
var outside = time.Now()

// setWall moves the wall clock of t, but not its monotonic clock. Package time cannot do
// that, but real clocks do.
func setWall(t time.Time, by time.Duration) time.Time {
	set := t.Add(by)
	(*struct { // time.Time
		wall      uint64
		monotonic int64
		location  *time.Location
	})(unsafe.Pointer(&set)).monotonic -= int64(by)
	return set
}

// TestSetWall: setWall does what it says.
func TestSetWall(t *testing.T) {
	now := time.Now()
	for _, by := range []time.Duration{0, time.Hour, -time.Hour, 12345 * time.Hour} {
		set := setWall(now, by)
		if mono, wall := set.Sub(now), set.Round(0).Sub(now.Round(0)); mono != 0 || wall != by {
			t.Errorf("set by %v the monotonic clock differs by %v, the wall clock by %v", by, mono, wall)
		}
	}
}
