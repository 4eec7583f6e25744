package supply

import (
	"math"
	"time"

	"example.com/qrand/internal/clock"
)

// The service allows a token RateLimit requests in a RateWindow.
const (
	RateWindow = 10 * time.Second
	RateLimit  = 30.0
)

// A pace keeps the requests of one process apart, so that processes which ask all the time
// come to share a token's limit. The rate decreases multiplicatively (Chiu and Jain, 1989).
// As in CUBIC (RFC 9438), it then soon comes near to what was too much, stays there for a
// while, and grows faster and faster to use what others leave. The rate never falls below
// one request in a window: a refusal by one endpoint delays a request to another by no more.
type pace struct {
	rate   float64 // requests in a window
	near   float64 // up to here the rate grows by one with each answer
	growth float64 // of the rate in a window beyond that; doubles in each
}

func (p *pace) refused() { p.near, p.rate, p.growth = 0.9*p.rate+0.2, 0.8*p.rate+0.2, 0.05 }

func (p *pace) answered() {
	if p.rate < p.near {
		p.rate++
	} else {
		p.rate += p.growth / p.rate
		p.growth *= math.Exp2(1 / p.rate)
	}
	p.rate = min(p.rate, RateLimit)
}

// spacing is the least time from one request to the next. It is a hundredth more than
// the rate says, so that no window has one more request at its very end.
func (p *pace) spacing() time.Duration { return time.Duration(1.01 * float64(RateWindow) / p.rate) }

// A sharedLimit spreads the requests of the processes that share a limit. A process
// knows only for how long it has been refused. It does not know how many others there
// are, nor whether the service counts the requests that it refuses. If the service
// does not count them, all processes must ask often enough to use each place that
// becomes free. If it does, they must ask so seldom that places become free at all.
//
// Sawtooth backoff serves both (Bender, Farach-Colton, He, Kuszmaul and Leiserson,
// "Adversarial contention resolution for simple channels", 2005). Time is cut into
// frames, and a process asks once in each frame, at a random time. Short frames come
// first, and serve a few processes. Then come the teeth: a long frame, followed by a
// quarter and a sixteenth of it for the processes that had bad luck. Each tooth is twice
// as long as the one before, up to longestTooth, so that sooner or later one is long
// enough for all.
type sharedLimit struct {
	began  time.Time     // of this streak of refusals; zero: the last request was answered
	since  time.Time     // the same, or earlier by what is remembered of the streak before
	last   time.Time     // when we were last refused
	served time.Time     // when we were last answered; zero: we were refused since, and kept our place
	memory time.Duration // how long the last streak took; each answer since has halved it
}

// The frames. N processes need one of about N/2.4 s where refused requests count, so
// the longest is for 3,000 processes.
const (
	shortFrames  = 6
	shortFrame   = 20 * time.Second
	middleFrame  = 40 * time.Second
	firstTooth   = 160 * time.Second
	longestTooth = 1280 * time.Second
	mostMemory   = 20 * time.Minute // an endpoint that refuses us for a day is not shared by that many
)

// frameLength returns the length of the i-th frame.
func frameLength(i int) time.Duration {
	if i < shortFrames {
		return shortFrame
	}
	if i == shortFrames {
		return middleFrame
	}
	tooth, part := (i-shortFrames-1)/3, (i-shortFrames-1)%3
	length := firstTooth
	for range tooth {
		length = min(2*length, longestTooth)
	}
	return max(length>>(2*part), shortFrame) // the whole, a quarter, a sixteenth
}

// nextFrame returns the frame that follows the one which a time falls into. All three
// times are counted from the first refusal.
func nextFrame(refused time.Duration) (begin, end time.Duration) {
	for i := 0; ; i++ {
		end = begin + frameLength(i)
		if begin > refused {
			return begin, end
		}
		begin = end
	}
}

// refused takes in a refusal, and returns between which times to make the next
// request: not before least from now.
func (l *sharedLimit) refused(least time.Duration, now time.Time) (from, to time.Time) {
	l.last = now
	if l.began.IsZero() {
		l.began, l.since = now, now.Add(-l.memory)
	}
	if !now.After(l.since) { // the first refusal
		return now.Add(least), now.Add(least + shortFrame)
	}
	begin, end := nextFrame(now.Sub(l.since))
	from = clock.Later(now.Add(least), l.since.Add(begin))
	return from, clock.Later(from.Add(shortFrame), l.since.Add(end))
}

// keepsPlace takes in a refusal that says only that we ask a little too often, and reports
// whether it is one: a process that was answered within the last window has a place, and
// slows down. From the next refusal on it leaves the place to others.
func (l *sharedLimit) keepsPlace(now time.Time) bool {
	if now.Sub(l.served) >= RateWindow {
		return false
	}
	l.last, l.served = now, time.Time{}
	return true
}

// answered takes in an answer. The memory of the streak shortens the way to the right
// frame while the others stay. A process that was just served does not return to the
// short frames, and so does not overtake those that still wait.
func (l *sharedLimit) answered(now time.Time) {
	l.served = now
	if l.began.IsZero() {
		l.memory /= 2
		return
	}
	l.memory, l.began = min(now.Sub(l.since), mostMemory), time.Time{}
}

// refused takes in a 429 of e. Endpoints that answer 429 in one streak may be one
// service, with one limit. They take turns then, or each process would ask once for
// each of them.
func (s *Supply) refused(e *endpoint, row *Row, err error, now time.Time) {
	e.noteFailure(row, err, &s.jitter, now)
	s.pace.refused()
	least := row.retry.after(err)
	if least == 0 {
		least = max(time.Second, s.windowLeft(now))
	}
	var turn time.Time // when those in the streak ask next
	for _, other := range s.endpoints {
		if other.limit == e.limit && s.inStreak(other) && now.Before(other.notBefore) && !now.Before(other.heldUntil) {
			turn = earlier(turn, other.notBefore)
		}
	}
	joins := !s.inStreak(e) && !e.limit.began.IsZero()
	together := now.Sub(e.limit.began) < shortFrames*shortFrame && !turn.IsZero() && !turn.After(now.Add(least+shortFrame))
	e.refused, e.joinedLate = now, joins && !together
	switch {
	case joins && together:
		e.notBefore = turn
	case joins: // an old streak, and e may have another limit
		e.notBefore = now.Add(least + s.jitter.upTo(shortFrame))
	case e.limit.keepsPlace(now):
		e.notBefore = now.Add(least + s.jitter.upTo(2*s.pace.spacing()))
	default:
		from, to := e.limit.refused(max(min(least, RateWindow), s.pace.spacing()), now)
		at := from.Add(s.jitter.upTo(to.Sub(from)))
		for _, other := range s.endpoints {
			if other.limit == e.limit && s.inStreak(other) && !other.joinedLate {
				other.notBefore = clock.Later(other.notBefore, at)
			}
		}
	}
	if least > RateWindow { // which e alone asked for
		e.heldUntil = now.Add(least)
		e.notBefore = clock.Later(e.notBefore, e.heldUntil.Add(s.jitter.upTo(spreadOf(least))))
	}
}

// inStreak reports whether e has answered 429 in this streak, and nothing else since.
func (s *Supply) inStreak(e *endpoint) bool {
	return !e.limit.began.IsZero() && !e.refused.Before(e.limit.began) && e.retry == &slowDown && e.state == idle
}

// windowLeft returns how long our oldest request of the window still counts.
func (s *Supply) windowLeft(now time.Time) time.Duration {
	if s.recent = within(s.recent, now); len(s.recent) == 0 {
		return 0
	}
	return RateWindow - now.Sub(s.recent[0])
}

// within returns the requests of the last window.
func within(recent []time.Time, now time.Time) []time.Time {
	for len(recent) > 0 && now.Sub(recent[0]) >= RateWindow {
		recent = recent[1:]
	}
	return recent
}
