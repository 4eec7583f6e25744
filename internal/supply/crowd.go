package supply

import (
	"time"

	"example.com/qrand/internal/clock"
)

// RateWindow and RateLimit are the service's: so many requests of a token in a
// window.
const (
	RateWindow = 10 * time.Second
	RateLimit  = 30.0
)

// A pace keeps the requests of one process apart by additive increase,
// multiplicative decrease of their rate (Chiu and Jain, 1989), by which processes
// that ask all the time come to share a token's limit. It falls to a request in a
// window: an endpoint that refuses us keeps us from another no longer than that.
type pace struct{ rate float64 } // requests in a window

func (p *pace) refused()  { p.rate = max(p.rate/2, 1) }
func (p *pace) answered() { p.rate = min(p.rate+1, RateLimit) }

// spacing is the least time from one request to the next: a hundredth more than
// the rate says, so that no window has one more at its very end.
func (p *pace) spacing() time.Duration { return time.Duration(1.01 * float64(RateWindow) / p.rate) }

// A crowd is what a process knows of the others that share its limit: nothing but
// for how long it has been refused. It does not know how many they are, and not
// whether the service counts the requests that it refuses. If it does not count
// them, all must ask often enough to use each place as it becomes free; if it
// does, all must ask so seldom that there is room at all. Sawtooth backoff serves
// both (Bender, Farach-Colton, He, Kuszmaul and Leiserson, "Adversarial contention
// resolution for simple channels", 2005): time is cut into frames, and in each
// frame a process asks once, at a time drawn at random. Short frames come first,
// for crowds that they can serve. Then come longer and longer ones, which sooner
// or later fit the crowd, each with two that are shorter behind it, for those who
// had bad luck.
type crowd struct {
	row    time.Time     // when this row of refusals began; zero: not refused
	since  time.Time     // the same, or so much earlier as we remember of the row before
	last   time.Time     // refusal
	memory time.Duration // how long the last row took, and half as much with each answer since
}

// The frames. A crowd of N needs one of about N/2.4 s where refused requests
// count, so the longest is for 3,000 processes.
const (
	shortFrames  = 6
	shortFrame   = 20 * time.Second
	middleFrame  = 40 * time.Second
	firstTooth   = 160 * time.Second
	longestTooth = 1280 * time.Second
	mostMemory   = 20 * time.Minute // an endpoint that refused us for a day is no crowd
)

// frameLength is that of the i-th frame.
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

// nextFrame is the frame after the one at a time since the first refusal.
func nextFrame(refused time.Duration) (begin, end time.Duration) {
	for i := 0; ; i++ {
		end = begin + frameLength(i)
		if begin > refused {
			return begin, end
		}
		begin = end
	}
}

// refused takes in a refusal, and returns the bounds of the next request's time,
// which is at least least from now.
func (c *crowd) refused(least time.Duration, now time.Time) (from, to time.Time) {
	c.last = now
	if c.row.IsZero() {
		c.row, c.since = now, now.Add(-c.memory)
	}
	if !now.After(c.since) { // the first refusal
		return now.Add(least), now.Add(least + shortFrame)
	}
	begin, end := nextFrame(now.Sub(c.since))
	from = clock.Later(now.Add(least), c.since.Add(begin))
	return from, clock.Later(from.Add(shortFrame), c.since.Add(end))
}

// answered takes in an answer. What is remembered shortens the way to the right
// frame, where a crowd stays: who has just been served does not push in front.
func (c *crowd) answered(now time.Time) {
	if c.row.IsZero() {
		c.memory /= 2
		return
	}
	c.memory, c.row = min(now.Sub(c.since), mostMemory), time.Time{}
}
