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

// This file is what surrounds a Source in TestMachine: the service, crypto/rand
// and the clocks.

// A sight is something that the service saw, in the order in which it came.
type sight struct {
	kind       sightKind
	at         time.Duration
	blocks     int             // requested: how many
	deaf       bool            // requested: the call does not end with its context
	given      []numberedBlock // answered: also where something is wrong with them
	fault      fault           // answered: what is wrong
	retryAfter time.Duration
	newToken   bool // looked
}

type sightKind int

const (
	requested sightKind = iota
	answered            // with blocks or an error
	looking             // at the token
	looked
	paused // a long Read has come to its next piece, and the reseeder to rest
)

// A machineService is the BlockSource.
type machineService struct {
	now    func() time.Time
	begin  time.Time // when the model's time is 0
	maxAge time.Duration
	old    bool // its blocks can be too old

	mood     mood
	tokenNew bool
	seen     []sight // that the model has not been told
	requests int
	answers  time.Duration // when the last one is to be answered
	given    uint64
	good     uint64        // the first block of the last good answer
	live     []qrypt.Block // not wiped
	closing  chan struct{} // closed when the Source has begun to close
}

// time is the model's.
func (f *machineService) time() time.Duration { return f.now().Sub(f.begin) }

func (f *machineService) see(s sight) {
	s.at = f.time()
	f.seen = append(f.seen, s)
}

func (f *machineService) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) {
	f.tokenNew = false
	mood, latency := f.mood, f.mood.latency
	f.see(sight{kind: requested, blocks: n, deaf: mood.deaf})
	f.requests++
	if f.requests%2 == 0 {
		mood.kept = 0
	}
	if latency > 0 {
		latency += time.Duration(f.requests) * 1237 // no answer comes at the instant of something else
		f.answers = f.time() + latency
		end := ctx.Done()
		if mood.deaf {
			end = f.closing
		}
		select {
		case <-time.After(latency):
		case <-end:
			return nil, ctx.Err()
		}
	}
	if mood.err != nil && !mood.blocks {
		err := error(&qrypt.Error{Endpoint: "https://there", Class: mood.err, RetryAfter: mood.retryAfter})
		if mood.name == "foreign" {
			err, mood.retryAfter = mood.err, 0
		}
		f.see(sight{kind: answered, fault: mood.fault, retryAfter: mood.retryAfter})
		return nil, err
	}
	switch {
	case mood.name == "no block":
		n = 0
	case mood.name == "too many":
		n++
	case mood.name == "repeated" && f.good == 0, mood.name == "old block" && !f.old:
		mood.fault = fault{}
	case mood.least:
		n = 1
	}
	var blocks []qrypt.Block
	s := sight{kind: answered, fault: mood.fault}
	for i := range n {
		f.given++
		p := newTestBlock(f.given).Bytes()
		origin := qrypt.Origin{Endpoint: "fake", Received: f.now().Add(-mood.kept), Emulated: mood.emulated}
		bad := i == mood.bad%n
		switch {
		case bad && mood.name == "unhealthy":
			copy(p[500:], "!!!!!!")
		case bad && mood.name == "repeated":
			p = newTestBlock(f.good).Bytes()
		case bad && mood.name == "old block":
			origin.Received = f.now().Add(-f.maxAge - 1)
		}
		block, err := qrypt.NewBlock(p, origin)
		if err != nil {
			return nil, err
		}
		if bad && mood.name == "empty block" {
			block = qrypt.Block{}
		} else {
			f.live = append(f.live, block)
		}
		blocks = append(blocks, block)
		s.given = append(s.given, numberedBlock{f.given, origin.Received, mood.emulated})
	}
	if mood.name == "" {
		f.good = s.given[0].number
	}
	f.see(s)
	return blocks, nil
}

func (f *machineService) TokenChanged(ctx context.Context) bool {
	f.see(sight{kind: looking})
	isNew := f.tokenNew && !f.mood.slowToken
	if f.mood.slowToken {
		<-ctx.Done()
	}
	f.see(sight{kind: looked, newToken: isNew})
	return isNew
}

// alive counts the blocks that are not wiped.
func (f *machineService) alive() int {
	f.live = slices.DeleteFunc(f.live, func(b qrypt.Block) bool { return allZero(b.Bytes()) })
	return len(f.live)
}

// A machineTape is a stub of crypto/rand that notes what it gave to Reads and to reseeds.
type machineTape struct {
	mu               sync.Mutex
	rand             *mathrand.ChaCha8
	reader, reseeder [][]byte
	reseeds          []byte        // where the last reseed has its bytes
	holds            chan struct{} // if not nil, the reseeder waits for it
	pause            func()        // if not nil, the reseeder comes to rest before a Read's second piece and later ones, and it is called
	pieces           int
}

func (o *machineTape) Read(p []byte) (int, error) {
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

func (o *machineTape) hold(with chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.holds != nil {
		close(o.holds)
	}
	o.holds = with
}

// pop takes the oldest read, of a key's length, off one of the tapes.
func (o *machineTape) pop(m *machine, tape *[][]byte) []byte {
	if len(*tape) == 0 || len((*tape)[0]) != 32 {
		m.fail("crypto/rand was not read for a key")
	}
	p := (*tape)[0]
	*tape = (*tape)[1:]
	return p
}

// outside is a time with a reading of the monotonic clock, which those in a bubble
// have not.
var outside = time.Now()

// setWall moves the wall clock of t, and not its monotonic one. Package time has
// no means for it, for which machines' clocks do not ask.
func setWall(t time.Time, by time.Duration) time.Time {
	set := t.Add(by)
	(*struct { // time.Time
		wall      uint64
		monotonic int64
		location  *time.Location
	})(unsafe.Pointer(&set)).monotonic -= int64(by)
	return set
}

// TestSetWall holds the clocks' stand-in to what it says.
func TestSetWall(t *testing.T) {
	now := time.Now()
	for _, by := range []time.Duration{0, time.Hour, -time.Hour, 12345 * time.Hour} {
		set := setWall(now, by)
		if mono, wall := set.Sub(now), set.Round(0).Sub(now.Round(0)); mono != 0 || wall != by {
			t.Errorf("set by %v the monotonic clock differs by %v, the wall clock by %v", by, mono, wall)
		}
	}
}
