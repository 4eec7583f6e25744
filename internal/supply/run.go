package supply

import (
	"context"
	"time"

	"example.com/qrand/internal/clock"
	"example.com/qrand/qrypt"
)

// A User wants blocks. Its methods are called by Run, one at a time.
type User interface {
	// Want does what is due at the user's, and says how many blocks it wants now,
	// and when to be called again if nothing happens; zero: not by itself.
	Want(now time.Time) (n int, again time.Time)

	// Take takes in what came of a request.
	Take(o Outcome, now time.Time)

	// Rest is told, before each wait, when the next request is due; zero: none is
	// wanted, or one is under way.
	Rest(due time.Time)
}

// Run gets blocks for a user until ctx is done. It looks again whenever wake is
// sent to. Close must follow.
func (s *Supply) Run(ctx context.Context, user User, wake <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		select { // what has come is no longer under way, however long the user took
		case a := <-s.answers:
			s.take(ctx, user, a)
			continue
		default:
		}
		now := clock.Now()
		n, again := user.Want(now)
		if o := s.Act(ctx, n, now); o.Err != nil || o.Recovered {
			user.Take(o, now)
			continue
		}
		act, due := s.Next(n, now)
		user.Rest(due)
		var alarm <-chan time.Time
		if at := earlier(act, again); !at.IsZero() {
			timer.Reset(at.Sub(clock.Now()))
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
		case <-alarm:
		case <-wake:
		case a := <-s.answers:
			s.take(ctx, user, a)
		}
	}
}

// take gives an answer to the user, unless the end of ctx may be why it came.
func (s *Supply) take(ctx context.Context, user User, a Answer) {
	if ctx.Err() != nil {
		a.drop()
		return
	}
	now := clock.Now()
	user.Take(s.Take(a, now), now)
}

func (a Answer) drop() {
	a.from.state = resting
	qrypt.Wipe(a.blocks)
}

// Close waits for the calls under way, whose context must be done, and wipes what
// they bring.
func (s *Supply) Close() {
	for _, e := range s.endpoints {
		for e.state != resting {
			(<-s.answers).drop()
		}
	}
}
