package supply

import (
	"context"
	"time"

	"example.com/qrand/qrypt"
)

// A User wants blocks. Its methods are called by Run, one at a time.
type User interface {
	// Want does what is due for the user itself. It returns how many blocks the user
	// wants now, and when to call it again if nothing happens (zero: no such time).
	Want(now time.Time) (n int, again time.Time)

	// Handle takes in how a request ended.
	Handle(o Outcome, now time.Time)

	// Waiting is called before each wait, with the time of the next request (zero: none
	// is wanted, or one is under way).
	Waiting(due time.Time)
}

// Run gets blocks for a user until ctx is done. It asks the user again whenever wake
// is sent to. Close must follow.
func (s *Supply) Run(ctx context.Context, user User, wake <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		select { // first what came while the user was busy: it is no longer under way
		case a := <-s.answers:
			s.deliver(ctx, user, a)
			continue
		default:
		}
		now := s.cfg.Now()
		n, again := user.Want(now)
		if o := s.Act(ctx, n, now); o.Err != nil || o.Recovered {
			user.Handle(o, now)
			continue
		}
		act, due := s.Next(n, now)
		user.Waiting(due)
		var alarm <-chan time.Time
		if at := earlier(act, again); !at.IsZero() {
			timer.Reset(at.Sub(s.cfg.Now()))
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
		case <-alarm:
		case <-wake:
		case a := <-s.answers:
			s.deliver(ctx, user, a)
		}
	}
}

// deliver gives an answer to the user, unless it may have come because ctx ended.
func (s *Supply) deliver(ctx context.Context, user User, a Answer) {
	if ctx.Err() != nil {
		a.drop()
		return
	}
	now := s.cfg.Now()
	user.Handle(s.Handle(a, now), now)
}

func (a Answer) drop() {
	a.from.state = idle
	qrypt.Wipe(a.blocks)
}

// Close waits for the calls under way, and wipes the blocks that they return. Their
// context must be done.
func (s *Supply) Close() {
	for _, e := range s.endpoints {
		for e.state != idle {
			(<-s.answers).drop()
		}
	}
}
