package page

import (
	"fmt"
	"html/template"
	"math"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"

	"example.com/qrand/qrypt"
)

var pageFuncs = template.FuncMap{
	"bytes":   size,
	"blocks":  func(n int64) string { return count(n / qrypt.BlockSize) },
	"count":   count,
	"percent": percent,
	"perSecond": func(n float64) string {
		switch {
		case n == 0:
			return "0"
		case n < 10:
			return fmt.Sprintf("%.1f", n)
		}
		return count(int64(math.Round(n)))
	},
	"rate":  func(n float64) string { return size(int64(math.Round(n))) + "/s" },
	"plain": plain,
	"icon":  icon,
}

// size is a number of bytes with three digits or so.
func size(n int64) string {
	if n < 0 {
		return "−" + size(-n)
	}
	if n < 1<<10 {
		return fmt.Sprintf("%d\u00a0B", n)
	}
	v, unit := float64(n), 0
	for v >= 1023.5 && unit < len(sizeUnits)-1 { // else 1023.9 KiB would be rounded to 1024 of them
		v, unit = v/1024, unit+1
	}
	digits := 0
	switch {
	case v < 9.995:
		digits = 2
	case v < 99.95:
		digits = 1
	}
	return fmt.Sprintf("%.*f\u00a0%s", digits, v, sizeUnits[unit])
}

var sizeUnits = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

func count(n int64) string { return humanize.Comma(n) }

// percent says 0 and 100 only if it is exactly that.
func percent(n, of int64) string {
	switch p := float64(n) / float64(of) * 100; {
	case n == 0 || of == 0:
		return "0%"
	case p < 1:
		return "under 1%"
	case p > 99 && n < of:
		return "99%"
	default:
		return fmt.Sprintf("%.0f%%", p)
	}
}

// span writes a time in the one or two units that matter.
func span(d time.Duration) string {
	seconds := int64(max(0, d).Round(time.Second) / time.Second)
	minutes, hours := seconds/60, seconds/3600
	switch days := hours / 24; {
	case seconds < 2*60:
		return fmt.Sprintf("%d\u00a0s", seconds)
	case hours < 1:
		return fmt.Sprintf("%d\u00a0min", minutes)
	case hours < 10 && minutes%60 != 0:
		return fmt.Sprintf("%d\u00a0h %d\u00a0min", hours, minutes%60)
	case hours < 48:
		return fmt.Sprintf("%d\u00a0h", hours)
	default:
		return count(days) + "\u00a0d"
	}
}

// A stamp is a time as the page shows it: on the clock, and how far away it is.
type stamp struct{ ISO, Clock, Far string }

// At makes a stamp; of the zero time, nil.
func (v *view) At(t time.Time) *stamp {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	layout := "2006-01-02 15:04"
	if v.Now.Sub(t).Abs() < 12*time.Hour {
		layout = "15:04:05"
	}
	far := span(v.Now.Sub(t)) + " ago"
	if t.After(v.Now) {
		far = "in " + span(t.Sub(v.Now))
	}
	return &stamp{t.Format(time.RFC3339), t.Format(layout), far}
}

// plainLength is how much of a text from elsewhere is shown.
const plainLength = 600

// plain makes text that others wrote harmless. html/template takes care of markup;
// plain replaces characters that are not printed but change how the rest looks, such
// as marks that turn the direction of writing.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
	if short := []rune(s); len(short) > plainLength {
		return string(short[:plainLength]) + " …"
	}
	return s
}

// icon is that of the browser's tab: it shows the state by colour and by shape.
func icon(l level) template.URL {
	shape := map[level]string{
		levelGood: `<circle cx="8" cy="8" r="6" fill="#2a9d5c"/>`,
		levelWait: `<circle cx="8" cy="8" r="5" fill="none" stroke="#7a8490" stroke-width="3"/>`,
		levelWarn: `<path d="M8 1 15.5 14.5H.5z" fill="#e0a100"/>`,
		levelBad:  `<path d="M2 2h12v12H2z" fill="#d13a2f"/>`,
	}[l]
	svg := `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">` + shape + `</svg>`
	return template.URL("data:image/svg+xml," + url.PathEscape(svg)) // nothing in it comes from elsewhere
}
