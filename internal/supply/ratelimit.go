package supply

import (
	"time"

	"example.com/qrand/internal/clock"
)

// The service allows a token RateLimit requests in a RateWindow.
const (
	RateWindow = 10 * time.Second
	RateLimit  = 30.0
)

// A pace keeps the requests of one process apart. Their rate increases additively
// and decreases multiplicatively (Chiu and Jain, 1989), so that processes which ask
// all the time come to share a token's limit. The rate never falls below one request
// in a window: a refusal by one endpoint delays a request to another by no more.
type pace struct{ rate float64 } // requests in a window

func (p *pace) refused()  { p.rate = max(p.rate/2, 1) }
func (p *pace) answered() { p.rate = min(p.rate+1, RateLimit) }

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
// quarter and a sixteenth of it for the processes that had bad luck. Each tooth is
// longer than the one before, until one is long enough for all.
type sharedLimit struct {
	began  time.Time     // of this streak of refusals; zero: the last request was answered
	since  time.Time     // the same, or earlier by what is remembered of the streak before
	last   time.Time     // when we were last refused
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

// answered takes in an answer. The memory of the streak shortens the way to the right
// frame while the others stay. A process that was just served does not return to the
// short frames, and so does not overtake those that still wait.
func (l *sharedLimit) answered(now time.Time) {
	if l.began.IsZero() {
		l.memory /= 2
		return
	}
	l.memory, l.began = min(now.Sub(l.since), mostMemory), time.Time{}
}
