package page

import (
	"cmp"
	"strings"
	"time"

	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
)

// A level is how bad something is; its value is a class in the stylesheet.
type level string

const (
	levelGood level = "good"
	levelWait level = "wait"
	levelWarn level = "warn"
	levelBad  level = "bad"
)

// A headline is the state in one line, for somebody who was just woken up.
type headline struct {
	Level  level
	Word   string // of the browser's tab
	Title  string
	Since  time.Time // zero: not known
	Detail string
	Advice string // what may help; empty: nothing, or nothing is wrong
}

func (v *view) headline() headline {
	up := v.Upstream
	reason := v.Reason()
	out := "Out of stock: clients get 503"
	if v.Account.Stock > 0 { // what is left of a block
		out = "Out of whole blocks: most clients get 503"
	}
	switch none := v.Account.Stock < qrypt.BlockSize; {
	case none && v.Starting():
		return headline{
			Level: levelWait, Word: "Starting", Title: "Starting: no entropy yet, clients get 503", Since: v.Began,
			Detail: "The service has not answered yet.",
		}
	case none && up.Up:
		return headline{
			Level: levelBad, Word: "Out of stock", Title: out, Since: v.emptySince,
			Detail: "The service answers, but clients take what it gives at once.",
			Advice: "The clients table shows who takes how much: a quota or a lower bandwidth holds one back. A larger --stock carries longer peaks.",
		}
	case none:
		return headline{
			Level: levelBad, Word: "Out of stock", Title: out, Since: v.emptySince,
			Detail: "The service fails: " + reason + "; " + v.Next() + ".", Advice: v.advice(),
		}
	case !up.Up:
		return headline{
			Level: levelWarn, Word: "Service fails", Title: "Handing out from stock; the service fails: " + reason + ", " + v.Next(), Since: up.Since,
			Detail: v.Lasts(), Advice: v.advice(),
		}
	}
	h := headline{
		Level: levelGood, Word: "OK", Title: "Handing out entropy", Since: up.Since,
		// With a full stock the service is not asked, so it may have gone since.
		Detail: "The service answered " + span(v.Now.Sub(up.LastAnswer)) + " ago. " + v.Lasts(),
	}
	if up.Emulated { // which is right in a test, and nowhere else
		h.Level, h.Word, h.Title = levelWarn, "Emulated", "Handing out emulated entropy"
	}
	return h
}

// Reason is why the service does not give anything; empty if it does.
func (v *view) Reason() string { return cmp.Or(v.Upstream.Reason.String(), string(v.Upstream.Reason)) }

// Starting is before the first request to the service has ended.
func (v *view) Starting() bool { return v.Upstream.Reason == "" && v.Upstream.LastAnswer.IsZero() }

// advice says where to look first.
func (v *view) advice() string {
	preferred := ""
	if len(v.Endpoints) > 0 {
		preferred = v.Endpoints[0]
	}
	text := supply.Advice(string(v.Upstream.Reason), preferred)
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// maxBytes is what the largest request asks for.
const maxBytes = qrypt.MaxBlocks * qrypt.BlockSize

// Lasts says for how long the stock is enough if the service gives nothing more.
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

// LastsShort says the same in a figure.
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

// longest keeps the figure within a Duration where hardly anybody draws on the stock.
const longest = 10 * 365 * 24 * time.Hour

// RatesOver is the time that the rates are averages of.
func (v *view) RatesOver() string { return span(v.Rates.Over) }

// Next says when the service is asked next, while it does not give anything.
func (v *view) Next() string {
	wait := v.Upstream.NextRequest.Sub(v.Now)
	if v.Upstream.Up || wait <= 0 {
		return "a request is under way"
	}
	return "next request in " + span(wait)
}

// NextShort says the same for a table.
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
