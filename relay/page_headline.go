package relay

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
	Advice string // what may help; empty: nothing, or nothing is amiss
}

func (v *view) headline() headline {
	up := v.Upstream
	why := v.Reason()
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
			Advice: "The clients table shows who takes how much: a quota or a lower rate limit holds one back. A larger --stock carries longer peaks.",
		}
	case none:
		return headline{
			Level: levelBad, Word: "Out of stock", Title: out, Since: v.emptySince,
			Detail: "The service fails: " + why + "; " + v.Next() + ".", Advice: v.advice(),
		}
	case !up.Up:
		return headline{
			Level: levelWarn, Word: "Service fails", Title: "Handing out from stock; the service fails: " + why + ", " + v.Next(), Since: up.Since,
			Detail: v.Lasts(), Advice: v.advice(),
		}
	}
	h := headline{
		Level: levelGood, Word: "OK", Title: "Handing out entropy", Since: up.Since,
		Detail: "The service answers. " + v.Lasts(),
	}
	if up.Emulated { // which is well in a test, and nowhere else
		h.Level, h.Word, h.Title = levelWarn, "Emulated", "Handing out emulated entropy"
	}
	return h
}

// Reason is why the service does not give anything; empty if it does.
func (v *view) Reason() string { return cmp.Or(v.Upstream.Reason.String(), string(v.Upstream.Reason)) }

// Starting is before the first request to the service has ended.
func (v *view) Starting() bool { return v.Upstream.Reason == "" && v.Upstream.LastAnswer.IsZero() }

// advice is where to look first.
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
