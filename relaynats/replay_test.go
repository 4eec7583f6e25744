package relaynats

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"
)

func digestOf(i int) [sha256.Size]byte { return sha256.Sum256(fmt.Append(nil, i)) }

// TestFresh: a request may be 30 s old or early.
func TestFresh(t *testing.T) {
	now := time.Now()
	for wrong, want := range map[time.Duration]bool{0: true, 30 * time.Second: true, -30 * time.Second: true, 31 * time.Second: false, -31 * time.Second: false, 1 << 62: false, -1 << 62: false} {
		if fresh(now.Add(wrong), now) != want {
			t.Errorf("%v: %v", wrong, !want)
		}
	}
}

// TestReplay: a request is accepted once, of each client, as long as it is fresh.
func TestReplay(t *testing.T) {
	start := time.Now()
	m := newMemory(start.Add(-time.Hour))
	for i := range 200 {
		at := start.Add(time.Duration(i) * time.Second)
		for before := max(0, i-30); before <= i; before++ {
			made := start.Add(time.Duration(before) * time.Second)
			if m.accept("web", -1, digestOf(before), made, at) != (before == i) {
				t.Fatalf("after %d s, the request of %d s", i, before)
			}
		}
	}
	if !m.accept("db", -1, digestOf(199), start.Add(199*time.Second), start.Add(199*time.Second)) {
		t.Error("a client's request is refused because another client made one")
	}
	if n := len(m.clients["web"].seen); n > 100 {
		t.Errorf("%d requests are remembered of 60 s with one each", n)
	}
	m.accept("db", -1, digestOf(0), start.Add(time.Hour), start.Add(time.Hour))
	if m.clients["web"] != nil {
		t.Error("a client that is gone is remembered")
	}
}

// TestReplayBeforeStart: what a process before this one may have accepted is not accepted.
func TestReplayBeforeStart(t *testing.T) {
	now := time.Now()
	m := newMemory(now)
	if m.accept("web", -1, digestOf(1), now.Add(-time.Nanosecond), now) {
		t.Error("a request from before the start is accepted")
	}
	if !m.accept("web", -1, digestOf(1), now, now) {
		t.Error("a request from after the start is refused")
	}
}

// TestReplayClockSetBack: what is forgotten stays refused when the clock is set back.
func TestReplayClockSetBack(t *testing.T) {
	now := time.Now()
	m := newMemory(now)
	m.accept("web", -1, digestOf(1), now, now)
	later := now.Add(2 * time.Minute)
	m.accept("web", -1, digestOf(2), later, later)
	if len(m.clients["web"].seen) != 1 {
		t.Error("nothing is forgotten")
	}
	if m.since != m.since.Round(0) || newMemory(now).since != now.Round(0) {
		t.Error("times are compared by the monotonic clock, which goes on when the other is set back")
	}
	if m.accept("web", -1, digestOf(1), now, now) {
		t.Error("the clock was set back, and a request is accepted twice")
	}
}

// TestReplayRoom: a client that makes too many requests loses the older half of what is
// remembered, and none of them is accepted again. Others notice nothing.
func TestReplayRoom(t *testing.T) {
	now := time.Now()
	m := newMemory(now.Add(-time.Hour))
	if room(30) != 360 || room(1) != 256 || room(-1) != 1<<16 || room(1<<20) != 1<<16 {
		t.Errorf("room for %d, %d, %d, %d", room(30), room(1), room(-1), room(1<<20))
	}
	most := 0
	for i := range 10 * room(30) {
		made := now.Add(time.Duration(i) * time.Microsecond)
		if !m.accept("web", 30, digestOf(i), made, now) {
			t.Fatalf("request %d is refused", i)
		}
		most = max(most, len(m.clients["web"].seen))
	}
	if most > room(30) {
		t.Errorf("%d requests are remembered", most)
	}
	for i := range 10 * room(30) {
		if m.accept("web", 30, digestOf(i), now.Add(time.Duration(i)*time.Microsecond), now) {
			t.Fatalf("request %d is accepted twice", i)
		}
	}
	if !m.accept("db", 30, digestOf(0), now, now) {
		t.Error("another client is refused")
	}
}

// TestOverheard: the last 65,536 messages are counted, and no more are kept.
func TestOverheard(t *testing.T) {
	var o overheard
	for i := range maxOverheard {
		o.add(digestOf(i))
	}
	o.add(digestOf(0))
	if o.count(digestOf(0)) != 2 || o.count(digestOf(maxOverheard-1)) != 1 || o.count(digestOf(maxOverheard)) != 0 {
		t.Error("they are not counted")
	}
	for i := range maxOverheard + 1 {
		o.add(digestOf(maxOverheard + i))
	}
	if len(o.counts) != maxOverheard || len(o.last) != maxOverheard || o.count(digestOf(0)) != 0 || o.count(digestOf(maxOverheard+1)) != 1 {
		t.Errorf("%d are kept", len(o.counts))
	}
}
