package relay

import (
	"slices"
	"sync"
	"time"

	"example.com/qrand/internal/clock"
	"example.com/qrand/qrypt"
)

// An Account says where every byte went that the service gave:
//
//	Received = Stock + InFlight + HandedOut + Lost + Expired
//
// It holds at any moment. All are bytes.
type Account struct {
	Received  int64 // in blocks that were accepted
	Stock     int64 // waiting for a client
	InFlight  int64 // in answers that are being written
	HandedOut int64 // in answers that the network took; a client may still not have got one
	Lost      int64 // in answers that the network did not take
	Expired   int64 // wiped at MaxAge, when the relay was closed, or by a source that should not have
}

// A stock holds the blocks that no client has got yet. Each byte leaves it once.
type stock struct {
	maxAge time.Duration // zero: none

	mu      sync.Mutex
	whole   []qrypt.Block // oldest first
	partial qrypt.Block   // the block that is being cut up; the zero Block: none
	cut     int           // so many of its bytes are gone
	account Account
	closed  bool
}

// put adds blocks, which belong to the stock from here on.
func (s *stock) put(blocks []qrypt.Block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int64(len(blocks)) * qrypt.BlockSize
	s.account.Received += n
	if s.closed {
		s.account.Expired += n
		qrypt.Wipe(blocks)
		return
	}
	s.account.Stock += n
	s.whole = append(s.whole, blocks...)
	if !slices.IsSortedFunc(s.whole[max(0, len(s.whole)-len(blocks)-1):], byAge) {
		slices.SortStableFunc(s.whole, byAge) // some came through another relay, which had kept them
	}
}

func byAge(a, b qrypt.Block) int { return a.Origin().Received.Compare(b.Origin().Received) }

// drawn says what draw took from the stock, without the bytes.
type drawn struct {
	emulated bool          // some of it is
	age      time.Duration // of its oldest byte
}

// draw fills p, and wipes in the stock what it took; if there is too little, it
// leaves both alone and returns false. If p has the length of whole blocks it gets
// whole blocks, so that a client sees the service's own. Any other length is cut from
// one block after the other, and what is left of the last one is cut next. origins has
// room for where each of the whole blocks came from, or is nil.
func (s *stock) draw(p []byte, now time.Time, origins []qrypt.Origin) (drawn, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	var from drawn
	if len(p)%qrypt.BlockSize == 0 {
		n := len(p) / qrypt.BlockSize
		if !s.have(n) {
			return drawn{}, false
		}
		for i, b := range s.whole[:n] {
			copy(p[i*qrypt.BlockSize:], b.Bytes())
			b.Wipe()
			from.add(b.Origin(), now)
			if origins != nil {
				origins[i] = b.Origin()
			}
		}
		s.drop(n)
	} else {
		if !s.have((len(p) - s.uncut() + qrypt.BlockSize - 1) / qrypt.BlockSize) {
			return drawn{}, false
		}
		for at := 0; at < len(p); {
			if s.partial.Bytes() == nil {
				s.partial, s.cut = s.whole[0], 0
				s.drop(1)
			}
			rest := s.partial.Bytes()[s.cut:]
			n := copy(p[at:], rest)
			clear(rest[:n])
			from.add(s.partial.Origin(), now)
			at, s.cut = at+n, s.cut+n
			if s.cut == qrypt.BlockSize {
				s.partial = qrypt.Block{}
			}
		}
	}
	s.account.Stock -= int64(len(p))
	s.account.InFlight += int64(len(p))
	return from, true
}

// have reports whether there are n whole blocks. It drops a block that the source has
// wiped after giving it: nobody gets zeros.
func (s *stock) have(n int) bool {
	for i := 0; i < min(n, len(s.whole)); {
		if slices.IndexFunc(s.whole[i].Bytes(), func(x byte) bool { return x != 0 }) >= 0 {
			i++
			continue
		}
		s.whole = slices.Delete(s.whole, i, i+1)
		s.account.Stock -= qrypt.BlockSize
		s.account.Expired += qrypt.BlockSize
	}
	return n <= len(s.whole)
}

// uncut is how many bytes are left of the block that is being cut up.
func (s *stock) uncut() int {
	if s.partial.Bytes() == nil {
		return 0
	}
	return qrypt.BlockSize - s.cut
}

func (d *drawn) add(origin qrypt.Origin, now time.Time) {
	d.emulated = d.emulated || origin.Emulated
	d.age = max(d.age, clock.Age(now, origin.Received))
}

// drop forgets the n oldest whole blocks.
func (s *stock) drop(n int) {
	clear(s.whole[:n])
	s.whole = s.whole[n:]
}

// sent counts how the answer with n bytes ended.
func (s *stock) sent(n int, delivered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account.InFlight -= int64(n)
	if delivered {
		s.account.HandedOut += int64(n)
	} else {
		s.account.Lost += int64(n)
	}
}

// expire wipes what is older than maxAge.
func (s *stock) expire(now time.Time) {
	if s.maxAge == 0 {
		return
	}
	old := func(b qrypt.Block) bool { return clock.Age(now, b.Origin().Received) > s.maxAge }
	if s.partial.Bytes() != nil && old(s.partial) {
		s.discardPartial()
	}
	n := slices.IndexFunc(s.whole, func(b qrypt.Block) bool { return !old(b) })
	if n < 0 {
		n = len(s.whole)
	}
	s.discard(n)
}

// discard wipes the n oldest whole blocks.
func (s *stock) discard(n int) {
	qrypt.Wipe(s.whole[:n])
	s.drop(n)
	s.account.Stock -= int64(n) * qrypt.BlockSize
	s.account.Expired += int64(n) * qrypt.BlockSize
}

func (s *stock) discardPartial() {
	n := int64(s.uncut())
	s.partial.Wipe()
	s.partial = qrypt.Block{}
	s.account.Stock -= n
	s.account.Expired += n
}

// missing is how many blocks fit beside those that are there.
func (s *stock) missing(most int, now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	return most - len(s.whole)
}

// oldest is how old the oldest byte is; false if there is none.
func (s *stock) oldest(now time.Time) (age time.Duration, any bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	if len(s.whole) > 0 {
		age, any = clock.Age(now, s.whole[0].Origin().Received), true
	}
	if s.partial.Bytes() != nil {
		age, any = max(age, clock.Age(now, s.partial.Origin().Received)), true
	}
	return age, any
}

// ready reports whether there is a whole block.
func (s *stock) ready(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	return s.have(1)
}

func (s *stock) balance() Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.account
}

// close wipes what is there, and what still comes.
func (s *stock) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.discard(len(s.whole))
	if s.partial.Bytes() != nil {
		s.discardPartial()
	}
}
