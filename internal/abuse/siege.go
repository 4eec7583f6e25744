package abuse

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// An Attack is one way to wear a relay out.
type Attack struct {
	Name string

	// run is one connection's part. It returns when the relay has ended the
	// connection or ctx is done.
	run func(ctx context.Context, t Target, a *attacker) error

	Busy    bool // it takes as much of a processor as it can get
	EndsNot bool // the attacker connects again when it is shut out
}

// Attacks are those that need nothing but connections.
var Attacks = []Attack{
	{"idle before the handshake", idleTCP, false, false},
	{"idle after the handshake", idleTLS, false, false},
	{"idle after a request", idleKept, false, false},
	{"idle with a token", idleKnown, false, false},
	{"handshake byte by byte", slowHandshake, false, false},
	{"a large hello", largeHello, false, false},
	{"half of a large hello", halfHello, false, false},
	{"a large certificate", largeCertificate, false, false},
	{"header byte by byte", slowHeader, false, false},
	{"body byte by byte", slowBody, false, false},
	{"header of many short fields", shortFields, false, false},
	{"answers not read", deafPipeline, true, false},
	{"wrong tokens", wrongTokens, true, true},
}

// wrongToken belongs to nobody, and looks like a token of the relay.
const wrongToken = "qrelay_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// errRefused is a connection that was not accepted.
var errRefused = errors.New("abuse: the connection was refused")

// A Siege is an attack that goes on.
type Siege struct {
	InPlace <-chan struct{} // closed when each connection is where it should be, or refused

	waiting                atomic.Int64
	placed                 chan struct{}
	refused, ended, things atomic.Int64
	all                    sync.WaitGroup
}

// Counts is what came of a Siege.
type Counts struct {
	Refused int64 // connections that were not accepted
	Ended   int64 // connections that the relay ended
	Sent    int64 // bytes, requests or frames, as the attack has it
}

func (c Counts) String() string {
	return fmt.Sprintf("refused %d, ended by the relay %d, sent %d", c.Refused, c.Ended, c.Sent)
}

// Lay begins an attack with n connections. It goes on until ctx is done or the
// relay has ended all of them.
func (k Attack) Lay(ctx context.Context, t Target, n int) *Siege {
	s := &Siege{placed: make(chan struct{})}
	s.InPlace = s.placed
	s.waiting.Store(int64(n))
	gate := make(chan struct{}, 256) // of dials at a time: the queue of a listener is not what is attacked
	for range n {
		a := &attacker{siege: s, gate: gate}
		gate <- struct{}{}
		s.all.Go(func() {
			for {
				switch err := k.run(ctx, t, a); {
				case errors.Is(err, errRefused):
					s.refused.Add(1)
					time.Sleep(tick)
				case ctx.Err() == nil:
					s.ended.Add(1)
				}
				a.inPlace()
				if !k.EndsNot || ctx.Err() != nil {
					return
				}
			}
		})
	}
	return s
}

// Wait returns when the attack is over.
func (s *Siege) Wait() Counts {
	s.all.Wait()
	return Counts{s.refused.Load(), s.ended.Load(), s.things.Load()}
}

// An attacker is one connection of a Siege.
type attacker struct {
	siege *Siege
	gate  chan struct{}
	once  sync.Once
}

func (a *attacker) inPlace() {
	a.once.Do(func() {
		<-a.gate
		if a.siege.waiting.Add(-1) == 0 {
			close(a.siege.placed)
		}
	})
}

func (a *attacker) sent(n int) { a.siege.things.Add(int64(n)) }
