package qrand

import (
	"bytes"
	"context"
	mathrand "math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"example.com/qrand/internal/clock"
	"example.com/qrand/qrypt"
)

// This file is what surrounds a Source in TestMachine: the service, crypto/rand
// and the clocks.

// A machineService is the BlockSource.
type machineService struct {
	endpoints int
	maxAge    time.Duration
	old       bool // its blocks can be too old

	mu        sync.Mutex
	mood      mood
	tokenNew  bool
	asked     []int
	times     []time.Time
	given     uint64
	good      uint64
	failovers int
	checks    int           // of the token
	live      []qrypt.Block // not wiped
}

// delay tells requests apart by nanoseconds, so that no answer comes at the
// instant of something else.
func delay(latency time.Duration, request int) time.Duration {
	if latency == 0 {
		return 0
	}
	return latency + time.Duration(request)*1237
}

func (f *machineService) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) {
	f.mu.Lock()
	f.asked, f.times, f.tokenNew = append(f.asked, n), append(f.times, clock.Now()), false
	mood, request := f.mood, len(f.asked)
	f.mu.Unlock()
	if d := delay(mood.latency, request); d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if mood.failure != nil {
		return nil, mood.failure
	}
	if mood.least {
		n = 1
	}
	switch mood.name {
	case "no block":
		return nil, nil
	case "too many":
		n = f.asked[request-1] + 1
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var blocks []qrypt.Block
	for i := range n {
		f.given++
		p := newTestBlock(f.given).Bytes()
		origin := qrypt.Origin{Endpoint: "fake", Received: clock.Now(), Emulated: mood.emulated}
		if i == mood.bad%n {
			switch mood.name {
			case "unhealthy":
				copy(p[500:], "!!!!!!")
			case "repeated":
				if f.good != 0 {
					p = newTestBlock(f.good).Bytes()
				}
			case "old block":
				if f.old {
					origin.Received = clock.Now().Add(-f.maxAge - 1)
				}
			}
		}
		block, err := qrypt.NewBlock(p, origin)
		if err != nil {
			return nil, err
		}
		f.live = append(f.live, block)
		if i == mood.bad%n && mood.name == "empty block" {
			block = qrypt.Block{}
			f.live = f.live[:len(f.live)-1]
		}
		blocks = append(blocks, block)
	}
	if mood.reason == "" || mood.name == "repeated" && f.good == 0 || mood.name == "old block" && !f.old {
		f.good = f.given - uint64(n) + 1
	}
	return blocks, nil
}

func (f *machineService) Endpoints() []string { return make([]string, f.endpoints) }

func (f *machineService) Failover(string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failovers++
}

func (f *machineService) TokenChanged(ctx context.Context) bool {
	f.mu.Lock()
	f.checks++
	isNew, slow := f.tokenNew, f.mood.slowToken
	f.mu.Unlock()
	if slow {
		<-ctx.Done()
		return false
	}
	return isNew
}

// compare compares the requests, and looks whether no more blocks are there than
// those in stock.
func (f *machineService) compare(same func(what string, got, want any), begin time.Time, m *machine) {
	f.mu.Lock()
	defer f.mu.Unlock()
	same("requests", len(f.asked), len(m.requests))
	for i := range f.asked {
		same("time of a request", f.times[i].Sub(begin), m.requests[i])
		same("blocks asked for", f.asked[i], m.asked[i])
	}
	same("failovers", f.failovers, m.failovers)
	same("comparisons of tokens", f.checks, m.checks)
	f.live = slices.DeleteFunc(f.live, func(b qrypt.Block) bool { return allZero(b.Bytes()) })
	same("blocks not wiped", len(f.live), len(m.stock))
}

// A machineTape is an osReader that notes what it gave to Reads and to reseeds.
type machineTape struct {
	mu               sync.Mutex
	rand             *mathrand.ChaCha8
	reader, reseeder [][]byte
	reseeds          []byte        // where the last reseed has its bytes
	holds            chan struct{} // if not nil, the reseeder waits for it
	settles          bool          // before a Read's second piece and later ones the reseeder comes to rest
	pieces           int
}

func (o *machineTape) Read(p []byte) (int, error) {
	by := &o.reader
	if calledFrom(".rekeyAll") {
		by = &o.reseeder
		o.mu.Lock()
		holds := o.holds
		o.mu.Unlock()
		if holds != nil {
			<-holds
		}
	} else if o.settles {
		if o.pieces++; o.pieces > 1 {
			synctest.Wait()
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

func (o *machineTape) begin(settles bool) { o.settles, o.pieces = settles, 0 }

func (o *machineTape) hold(with chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.holds != nil {
		close(o.holds)
	}
	o.holds = with
}

// pop takes the oldest read off one of the tapes.
func (o *machineTape) pop(m *machine, tape *[][]byte, n int) []byte {
	if len(*tape) == 0 || len((*tape)[0]) != n {
		m.fail("crypto/rand was not read for %d bytes", n)
	}
	p := (*tape)[0]
	*tape = (*tape)[1:]
	return p
}

func calledFrom(function string) bool {
	var pcs [8]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, function) {
			return true
		}
		if !more {
			return false
		}
	}
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
