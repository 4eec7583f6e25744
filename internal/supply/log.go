package supply

import "time"

// A logFilter decides which failures and recoveries are worth a line: one when an
// outage begins, one for each other reason in it, one when it ends. A service that
// fails again soon after it recovered flaps. It must then answer for quietTime before
// a line says that it recovered.
type logFilter struct {
	warned    map[string]bool // reasons, in this outage
	flaps     bool
	recovered time.Time // when the last outage ended
	calmAt    time.Time // when this one ends, unless a request fails before; zero: no request has been answered
	named     *endpoint // the last line, or none at first, says that blocks come from it
	movedAt   time.Time // when that line was written
}

const quietTime = 10 * time.Minute

// failed takes in that no endpoint gives blocks.
func (l *logFilter) failed(reason string, now time.Time) (warn, again bool) {
	l.calmAt = time.Time{}
	if l.warned[reason] {
		return false, false
	}
	if len(l.warned) == 0 {
		l.flaps = now.Sub(l.recovered) < quietTime
	}
	l.warned[reason] = true
	return true, l.flaps
}

// answered takes in an answer, and reports whether it ends an outage.
func (l *logFilter) answered(now time.Time) bool {
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

// calm reports whether the outage of a service that flaps has ended now.
func (l *logFilter) calm(now time.Time) bool {
	if l.calmAt.IsZero() || now.Before(l.calmAt) {
		return false
	}
	l.end(now)
	return true
}

func (l *logFilter) end(now time.Time) {
	clear(l.warned)
	l.recovered, l.calmAt = now, time.Time{}
}

// moved reports whether a line shall say that blocks come from e: if the last one
// named another endpoint, and is not recent.
func (l *logFilter) moved(e *endpoint, now time.Time) bool {
	if l.named == e || now.Sub(l.movedAt) < quietTime {
		return false
	}
	l.named, l.movedAt = e, now
	return true
}
