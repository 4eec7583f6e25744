package page

import (
	"fmt"
	"strings"
	"time"
)

// A chart is the stock over the last hour, in numbers for page.html to draw. Its paths
// are in a box of chartWidth by chartHeight that is stretched over the plot. All else
// is in percent, so that text keeps its size on any screen.
type chart struct {
	Lines, Areas []string  // the stock, in pieces: it is not known at all times
	Failing      []stretch // when the service failed, along the bottom
	X, Y         []tick
	Text         string // for somebody who cannot see it
}

// A stretch is of time, in the units of the box.
type stretch struct{ From, To float64 }

func (s stretch) Width() float64 { return s.To - s.From }

// A tick is a line of the grid with its label.
type tick struct {
	At     float64 // percent
	Label  string
	Anchor string // of an SVG text
	Limit  bool   // of the stock
}

const (
	chartReach  = time.Hour
	chartGrid   = 15 * time.Minute
	chartWidth  = 3600 // a second is one
	chartHeight = 1000
	chartTop    = 900 // where the limit is

	// chartPlot is the plot's share of the picture; under it are the times.
	chartPlot = 0.88

	// chartGap is how far apart two samples may be and still be joined by a line. If
	// there is more between them, the process or the machine was asleep.
	chartGap = 5 * SampleInterval / 2
)

// A point is in the units of the box.
type point struct{ x, y float64 }

// drawChart draws samples up to the last, which is of now. It uses the wall clock, as
// its axis does.
func drawChart(samples []Sample, limit int64) chart {
	current := samples[len(samples)-1]
	now := current.Time.Round(0)
	low, high, failed := current.Stock, current.Stock, time.Duration(0)
	var c chart
	var piece []point
	var before time.Time // when the last point was
	for _, s := range samples {
		at := s.Time.Round(0)
		ago := now.Sub(at)
		if ago < 0 || ago > chartReach { // it is negative if the clock was set back
			continue
		}
		p := point{chartWidth * (1 - float64(ago)/float64(chartReach)), chartHeight - chartTop*float64(s.Stock)/float64(limit)}
		if passed := at.Sub(before); len(piece) > 0 && (passed < 0 || passed > chartGap) {
			c.draw(piece)
			piece = nil
		} else if len(piece) > 0 && s.Failing {
			c.fail(piece[len(piece)-1].x, p.x)
			failed += passed
		}
		piece = append(piece, p)
		before, low, high = at, min(low, s.Stock), max(high, s.Stock)
	}
	c.draw(piece)
	c.grid(now, limit)
	c.Text = fmt.Sprintf("In the last hour, as far as the relay ran, from %s to %s were in stock, of at most %s; now it is %s.",
		size(low), size(high), size(limit), size(current.Stock))
	if failed > 0 {
		c.Text += " The service failed for " + span(failed) + " of it."
	}
	return c
}

// draw adds a piece of the line, and the area under it.
func (c *chart) draw(piece []point) {
	if len(piece) == 0 {
		return
	}
	var b strings.Builder
	for i, p := range piece {
		if i > 0 && i < len(piece)-1 && piece[i-1].y == p.y && p.y == piece[i+1].y {
			continue // on a level line
		}
		if b.Len() > 0 {
			b.WriteString("L")
		}
		fmt.Fprintf(&b, "%.0f %.0f", p.x, p.y)
	}
	c.Lines = append(c.Lines, "M"+b.String()+"h0") // h0: a lone point is a dot
	c.Areas = append(c.Areas, fmt.Sprintf("M%.0f %dL%sV%dz", piece[0].x, chartHeight, b.String(), chartHeight))
}

// fail adds a stretch of failure, or extends the last one.
func (c *chart) fail(from, to float64) {
	if n := len(c.Failing); n > 0 && c.Failing[n-1].To == from {
		c.Failing[n-1].To = to
		return
	}
	c.Failing = append(c.Failing, stretch{from, to})
}

// grid has a line for each quarter of the limit and each quarter of an hour.
func (c *chart) grid(now time.Time, limit int64) {
	for quarter := range int64(5) {
		t := tick{At: chartPlot * (100 - float64(chartTop)/chartHeight*25*float64(quarter)), Label: size(limit * quarter / 4)}
		switch quarter {
		case 0:
			t.Label = "0"
		case 4:
			t.Label, t.Limit = "limit "+t.Label, true
		}
		c.Y = append(c.Y, t)
	}
	for at := now.Truncate(chartGrid); now.Sub(at) < chartReach; at = at.Add(-chartGrid) {
		t := tick{At: 100 * (1 - float64(now.Sub(at))/float64(chartReach)), Label: at.UTC().Format("15:04"), Anchor: "middle"}
		switch {
		case t.At < 6:
			t.Anchor = "start"
		case t.At > 94:
			t.Anchor = "end"
		}
		c.X = append(c.X, t)
	}
}
