package qrand

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/outage"
	"example.com/qrand/qrypt"
)

// TestAnswerOvertakenByClose: the blocks of an answer that Close overtakes are
// wiped.
func TestAnswerOvertakenByClose(t *testing.T) {
	s := newTestSource(t, Config{Blocks: &fakeBlocks{}}, 1)
	waitSeeded(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	block := newTestBlock(1)
	r := newReseeder(s, time.Now())
	r.fetching = true
	r.take(ctx, answer{asked: 1, blocks: []qrypt.Block{block}})
	if !allZero(block.Bytes()) || len(r.stock) != 0 || r.fetching {
		t.Error("the block was not dropped and wiped")
	}
}

// lateBlocks is a BlockSource whose token is refused, and which takes its time to
// end a comparison of tokens.
type lateBlocks struct {
	fakeBlocks
	ended bool
}

func (b *lateBlocks) TokenChanged(ctx context.Context) bool {
	<-ctx.Done()
	time.Sleep(time.Second)
	b.ended = true
	return false
}

// TestCloseWaitsForTokenCheck: when Close returns, nothing of ours calls the
// BlockSource any more.
func TestCloseWaitsForTokenCheck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		blocks := &lateBlocks{}
		blocks.err = &qrypt.Error{Class: qrypt.ErrUnauthorized}
		s := newTestSource(t, Config{Blocks: blocks}, 1)
		time.Sleep(outage.TokenInterval + time.Second)
		synctest.Wait()
		s.Close()
		if !blocks.ended {
			t.Error("a comparison of tokens goes on after Close")
		}
	})
}

// newTestReseeder is one that does not run, for a Source that has another.
func newTestReseeder(t *testing.T) (r *reseeder, now time.Time) {
	s := newTestSource(t, Config{Blocks: &fakeBlocks{}}, 1)
	waitSeeded(t, s)
	now = time.Now()
	r = newReseeder(s, now)
	r.requests.Began(now)
	return r, now
}

// TestAsksAreForgotten: calls of Reseed that gave up, or were refused, are not
// kept until the service answers, which may be never.
func TestAsksAreForgotten(t *testing.T) {
	r, now := newTestReseeder(t)
	given, cancel := context.WithCancel(context.Background())
	newAsk := func(ctx context.Context) ask { return ask{ctx: ctx, reply: make(chan error, 1)} }
	for range 100 {
		r.ask(newAsk(given), now)
	}
	cancel()
	r.ask(newAsk(context.Background()), now)
	if len(r.asks) != 1 {
		t.Errorf("%d calls are kept, want the one that waits", len(r.asks))
	}
	r.reply(nil)

	r.fail(&qrypt.Error{Class: qrypt.ErrRateLimited, RetryAfter: time.Minute}, now)
	held := newAsk(context.Background())
	r.ask(held, now)
	if err := <-held.reply; !errors.Is(err, ErrHeld) || len(r.asks) != 0 {
		t.Errorf("Reseed returned %v, and %d calls are kept", err, len(r.asks))
	}
}

// TestTokenCheckEndsLate: a call of Reseed that waits for a look at the token is
// not refused if a request has become due meanwhile: that answers it.
func TestTokenCheckEndsLate(t *testing.T) {
	r, now := newTestReseeder(t)
	r.fail(&qrypt.Error{Class: qrypt.ErrUnauthorized}, now)
	a := ask{ctx: context.Background(), reply: make(chan error, 1)}
	r.ask(a, now.Add(time.Hour-time.Second))
	r.checked(false, now.Add(time.Hour))
	if len(r.asks) != 1 {
		t.Errorf("Reseed returned %v", <-a.reply)
	}
	r.checked(false, now.Add(time.Hour-time.Second))
	if err := <-a.reply; !errors.Is(err, ErrHeld) {
		t.Errorf("Reseed returned %v", err)
	}
}
