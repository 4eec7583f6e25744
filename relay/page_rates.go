package relay

import (
	"time"

	"example.com/qrand/internal/clock"
)

// rates are averages of the last minute, or of the time since the relay began.
type rates struct {
	Over         time.Duration // zero: not known yet
	Requests     float64       // in a second
	Out, In, Net float64       // bytes in a second
}

const (
	ratesWindow = time.Minute
	ratesLeast  = time.Second // over less, a single request would look like a flood
)

// ratesOf compares the last sample with the one from a minute ago.
func ratesOf(samples []sample) rates {
	last := samples[len(samples)-1]
	for _, s := range samples {
		over := last.Time.Sub(s.Time)
		if over > ratesWindow+historyStep/2 {
			continue
		}
		if over < ratesLeast {
			return rates{}
		}
		in := func(a, b int64) float64 { return float64(b-a) / over.Seconds() }
		return rates{
			Over:     over,
			Requests: in(s.Requests, last.Requests),
			Out:      in(s.HandedOut, last.HandedOut),
			In:       in(s.Received, last.Received),
			Net:      in(s.Stock, last.Stock),
		}
	}
	return rates{}
}

// Lasts is for how long the stock is enough if the service gives nothing more.
func (v *view) Lasts() string {
	switch {
	case v.Account.Stock < maxBytes && !v.Upstream.Up:
		return "The stock is low: requests for more than " + size(v.Account.Stock) + " get 503."
	case v.Rates.Over == 0:
		return "There is no rate yet to tell for how long the stock lasts."
	case v.Rates.Out < 1:
		return "Nobody draws on the stock now."
	}
	if v.Upstream.Up {
		return "Without it the stock would last " + span(v.lasts()) + " at the present rate."
	}
	return "At the present rate the stock lasts " + span(v.lasts()) + "."
}

// LastsShort is the same as a figure.
func (v *view) LastsShort() string {
	switch {
	case v.Rates.Over == 0:
		return "–"
	case v.Rates.Out < 1:
		return "∞"
	}
	return span(v.lasts())
}

func (v *view) lasts() time.Duration {
	seconds := float64(v.Account.Stock) / v.Rates.Out
	return time.Duration(min(seconds, longest.Seconds()) * float64(time.Second))
}

// longest keeps what hardly anybody draws on within a Duration.
const longest = 10 * 365 * 24 * time.Hour

// Shrinks is by how much the stock does, in bytes a second.
func (r rates) Shrinks() float64 { return -r.Net }

// RatesOver is the time that the rates are averages of.
func (v *view) RatesOver() string { return span(v.Rates.Over) }

// Uptime is for how long the relay has run.
func (v *view) Uptime() string { return span(clock.Age(v.Now, v.Began)) }

// Next is when the service is asked next, while it does not give anything.
func (v *view) Next() string {
	wait := v.Upstream.NextRequest.Sub(v.Now)
	if v.Upstream.Up || wait <= 0 {
		return "a request is under way"
	}
	return "next request in " + span(wait)
}

// NextShort is the same in a table.
func (v *view) NextShort() string {
	wait := v.Upstream.NextRequest.Sub(v.Now)
	switch {
	case v.Upstream.Up:
		return "when there is room in the stock"
	case v.Starting(), wait <= 0:
		return "under way"
	}
	return "in " + span(wait)
}
