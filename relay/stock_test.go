package relay

import (
	"bytes"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"example.com/qrand/qrypt"
)

// modelStock is a slow and obvious stock: the whole blocks, and the bytes that are
// left of the partial one.
type modelStock struct {
	whole   [][]byte
	partial []byte
}

func (m *modelStock) draw(n int) []byte {
	var p []byte
	if n%qrypt.BlockSize == 0 {
		if n/qrypt.BlockSize > len(m.whole) {
			return nil
		}
		for ; n > 0; n -= qrypt.BlockSize {
			p = append(p, m.whole[0]...)
			m.whole = m.whole[1:]
		}
		return p
	}
	if n > len(m.partial)+len(m.whole)*qrypt.BlockSize {
		return nil
	}
	for ; n > 0; n-- {
		if len(m.partial) == 0 {
			m.partial, m.whole = m.whole[0], m.whole[1:]
		}
		p, m.partial = append(p, m.partial[0]), m.partial[1:]
	}
	return p
}

// TestStock: what leaves the stock is what came in, each byte once, and the
// account balances at every step.
func TestStock(t *testing.T) {
	random := mathrand.New(mathrand.NewPCG(1, 2))
	source := newNoise(1)
	var s stock
	var m modelStock
	now := time.Now()
	var received, handed, lost int64
	for step := range 20_000 {
		switch random.IntN(3) {
		case 0:
			var blocks []qrypt.Block
			for range random.IntN(3) {
				b := source.block(t, qrypt.Origin{})
				blocks = append(blocks, b)
				m.whole = append(m.whole, bytes.Clone(b.Bytes()))
			}
			s.put(blocks)
			received += int64(len(blocks)) * qrypt.BlockSize
		default:
			n := []int{1, 32, 48, 1000, 1023, 1024, 1025, 2048, 3000}[random.IntN(9)]
			p := bytes.Repeat([]byte{0xa5}, n)
			_, ok := s.draw(p, now, nil)
			want := m.draw(n)
			if ok != (want != nil) {
				t.Fatalf("step %d: took %d bytes: %v", step, n, ok)
			}
			if !ok {
				if !bytes.Equal(p, bytes.Repeat([]byte{0xa5}, n)) {
					t.Fatal("an order that was not served got bytes")
				}
				continue
			}
			if !bytes.Equal(p, want) {
				t.Fatalf("step %d: %d bytes are not the next", step, n)
			}
			delivered := random.IntN(4) > 0
			s.sent(n, delivered)
			if delivered {
				handed += int64(n)
			} else {
				lost += int64(n)
			}
		}
		left := int64(len(m.partial) + len(m.whole)*qrypt.BlockSize)
		if got, want := s.balance(), (Account{Received: received, Stock: left, HandedOut: handed, Lost: lost}); got != want {
			t.Fatalf("step %d: the account is %+v, want %+v", step, got, want)
		}
	}
	if handed == 0 || lost == 0 {
		t.Error("nothing was tried")
	}
}

// TestStockIsWiped: bytes that were drawn, have expired or are left at the end are not
// in memory any more.
func TestStockIsWiped(t *testing.T) {
	source := newNoise(2)
	now := time.Now()
	at := func(age time.Duration) qrypt.Block { return source.block(t, qrypt.Origin{Received: now.Add(-age)}) }
	blocks := []qrypt.Block{at(3 * time.Hour), at(2 * time.Hour), at(0), at(0), at(0), at(0)}
	s := stock{maxAge: time.Hour}
	s.put(blocks)
	wiped := func(what string, blocks ...qrypt.Block) {
		t.Helper()
		for _, b := range blocks {
			if !bytes.Equal(b.Bytes(), make([]byte, qrypt.BlockSize)) {
				t.Errorf("%s: a block is still there", what)
			}
		}
	}
	if n := s.missing(10, now); n != 6 {
		t.Errorf("%d blocks are missing, want 6", n)
	}
	wiped("expired", blocks[:2]...)
	s.draw(make([]byte, qrypt.BlockSize), now, nil)
	wiped("taken whole", blocks[2])
	s.draw(make([]byte, 40), now, nil)
	if p := blocks[3].Bytes(); !bytes.Equal(p[:40], make([]byte, 40)) || bytes.Equal(p[40:80], make([]byte, 40)) {
		t.Error("cut: not the taken bytes are wiped, and they alone")
	}
	s.draw(make([]byte, qrypt.BlockSize-40), now, nil)
	wiped("cut up", blocks[3])
	s.draw(make([]byte, 1), now, nil)
	s.close()
	wiped("closed", blocks[4:]...)
	late := at(0)
	s.put([]qrypt.Block{late})
	wiped("too late", late)
	got := s.balance()
	if got.Received != 7*qrypt.BlockSize || got.Stock != 0 || got.InFlight != 2*qrypt.BlockSize+1 || got.Expired != got.Received-got.InFlight {
		t.Errorf("the account is %+v", got)
	}
}

// TestPartialBlockExpires: a block that is partly used expires too.
func TestPartialBlockExpires(t *testing.T) {
	now := time.Now()
	s := stock{maxAge: time.Minute}
	b := newNoise(3).block(t, qrypt.Origin{Received: now})
	s.put([]qrypt.Block{b})
	s.draw(make([]byte, 24), now, nil)
	if _, ok := s.draw(make([]byte, 24), now.Add(time.Minute), nil); !ok {
		t.Error("a block that is as old as it may be was not handed out")
	}
	if _, ok := s.draw(make([]byte, 24), now.Add(time.Minute+time.Second), nil); ok {
		t.Error("an expired block was handed out")
	}
	if got := s.balance(); got.Expired != 976 || got.Stock != 0 || !bytes.Equal(b.Bytes(), make([]byte, qrypt.BlockSize)) {
		t.Errorf("the account is %+v", got)
	}
}

// TestOldestFirst: blocks that come through another relay may be older than what is
// there; they go first, and expire first.
func TestOldestFirst(t *testing.T) {
	now := time.Now()
	source := newNoise(5)
	at := func(age time.Duration) qrypt.Block { return source.block(t, qrypt.Origin{Received: now.Add(-age)}) }
	s := stock{maxAge: time.Hour}
	s.put([]qrypt.Block{at(0), at(30 * time.Minute)})
	s.put([]qrypt.Block{at(59 * time.Minute)})
	if age, _ := s.oldest(now); age != 59*time.Minute {
		t.Errorf("the oldest block is %v old", age)
	}
	if n := s.missing(3, now.Add(2*time.Minute)); n != 1 {
		t.Errorf("%d blocks are missing, want 1", n)
	}
	from, ok := s.draw(make([]byte, qrypt.BlockSize), now.Add(2*time.Minute), nil)
	if !ok || from.age != 32*time.Minute {
		t.Errorf("took a block of %v: %v", from.age, ok)
	}
}

// TestWipedBySource: a block that its source wiped after giving it is not handed out.
func TestWipedBySource(t *testing.T) {
	now := time.Now()
	source := newNoise(6)
	blocks := []qrypt.Block{source.block(t, qrypt.Origin{}), source.block(t, qrypt.Origin{}), source.block(t, qrypt.Origin{})}
	var s stock
	s.put(blocks)
	blocks[0].Wipe()
	blocks[2].Wipe()
	want := bytes.Clone(blocks[1].Bytes())
	p := make([]byte, 2*qrypt.BlockSize)
	if _, ok := s.draw(p, now, nil); ok || s.ready(now) != true {
		t.Error("two blocks were taken of one")
	}
	if _, ok := s.draw(p[:40], now, nil); !ok || !bytes.Equal(p[:40], want[:40]) {
		t.Error("what was cut is not from the block that is left")
	}
	if got := s.balance(); got.Expired != 2*qrypt.BlockSize || got.Stock != qrypt.BlockSize-40 {
		t.Errorf("the account is %+v", got)
	}
}

// TestAgeAndEmulated: an answer is as old as its oldest byte, and emulated if one byte is.
func TestAgeAndEmulated(t *testing.T) {
	now := time.Now()
	source := newNoise(4)
	var s stock
	s.put([]qrypt.Block{
		source.block(t, qrypt.Origin{Received: now.Add(-time.Minute)}),
		source.block(t, qrypt.Origin{Received: now.Add(-time.Second), Emulated: true}),
		source.block(t, qrypt.Origin{Received: now}),
		source.block(t, qrypt.Origin{Received: now}),
	})
	for i, want := range []struct {
		n        int
		age      time.Duration
		emulated bool
	}{{1000, time.Minute, false}, {48, time.Minute, true}, {1000, time.Second, true}, {1024, 0, false}} {
		from, ok := s.draw(make([]byte, want.n), now, nil)
		if !ok || from.age != want.age || from.emulated != want.emulated {
			t.Errorf("answer %d: %v %+v, want %+v", i, ok, from, want)
		}
	}
}
