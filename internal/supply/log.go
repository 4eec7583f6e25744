package supply

import "time"

// A log decides which failures and recoveries are worth a line: one when an outage
// begins, one for each other reason in it, one when it ends. A service that fails
// again soon after it recovered flaps: then it must answer for quietTime before
// the next line says that it recovered.
type log struct {
	warned    map[string]bool // reasons, in this outage
	flaps     bool
	recovered time.Time // when the last outage ended
	calmAt    time.Time // when this one ends, unless a request fails before; zero: not yet in sight
	named     *endpoint // that blocks come from it is known, or was told
	movedAt   time.Time
}

const quietTime = 10 * time.Minute

func newLog() log { return log{warned: map[string]bool{}} }

// failed takes in that no endpoint gives blocks.
func (l *log) failed(reason string, now time.Time) (warn, again bool) {
	l.calmAt = time.Time{}
	if l.warned[reason] {
		return false, false
	}
	if len(l.warned) == 0 {
		l.flaps = !l.recovered.IsZero() && now.Sub(l.recovered) < quietTime
	}
	l.warned[reason] = true
	return true, l.flaps
}

// answered takes in an answer, and reports whether it ends an outage.
func (l *log) answered(now time.Time) bool {
	if len(l.warned) == 0 {
		return false
	}
	if !l.flaps {
		l.end(now)
		return true
	}
	if l.calmAt.IsZero() {
		l.calmAt = now.Add(quietTime)
	}
	return false
}

// calm reports whether an outage with flaps has ended now.
func (l *log) calm(now time.Time) bool {
	if l.calmAt.IsZero() || now.Before(l.calmAt) {
		return false
	}
	l.end(now)
	return true
}

func (l *log) end(now time.Time) {
	clear(l.warned)
	l.recovered, l.calmAt = now, time.Time{}
}

// moved reports whether it is to be said that blocks come from e: if another one was
// named last, and not a moment ago.
func (l *log) moved(e *endpoint, now time.Time) bool {
	if l.named == e || !l.movedAt.IsZero() && now.Sub(l.movedAt) < quietTime {
		return false
	}
	l.named, l.movedAt = e, now
	return true
}
