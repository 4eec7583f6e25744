package main

import (
	"bytes"
	"fmt"
	"image/color"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	width       = 27 * vg.Centimeter
	height      = 14 * vg.Centimeter
	legendWidth = 9 * vg.Centimeter
)

// Colours that people with any kind of colour vision tell apart, and a shape
// with each: solid lines and filled shapes for our modes, dashes and hollow
// shapes for the others.
var (
	ourColours   = []color.RGBA{{0xD5, 0x5E, 0x00, 0xFF}, {0x00, 0x72, 0xB2, 0xFF}, {0x00, 0x8E, 0x63, 0xFF}}
	otherColours = []color.RGBA{{0x00, 0x00, 0x00, 0xFF}, {0xE6, 0x9F, 0x00, 0xFF}, {0xB8, 0x5C, 0x92, 0xFF},
		{0x45, 0xA5, 0xDD, 0xFF}, {0x7F, 0x7F, 0x7F, 0xFF}, {0x8C, 0x56, 0x4B, 0xFF}}
	ourShapes   = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}}
	otherShapes = []draw.GlyphDrawer{draw.RingGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{},
		draw.CrossGlyph{}, draw.PlusGlyph{}, draw.RingGlyph{}}
)

// drawSVG draws throughput by size, a line for each row.
func drawSVG(rows []row, machine string) ([]byte, error) {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	p := plot.New()
	p.Title.Text = "Throughput by the size of a Read, one goroutine\n" + machine
	p.Title.TextStyle.Font.Size = vg.Points(12)
	p.Title.Padding = vg.Points(8)
	p.X.Label.Text, p.Y.Label.Text = "bytes a Read", "GB/s (median)"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.ConstantTicks(sizeTicks()), plot.ConstantTicks(rateTicks())
	p.Add(plotter.NewGrid())

	legend := plot.NewLegend()
	legend.Top, legend.Left = true, true
	legend.ThumbnailWidth = vg.Points(28)
	legend.Padding = vg.Points(5)
	legend.TextStyle.Font.Size = vg.Points(10)

	type entry struct {
		name    string
		atLarge float64
		thumbs  []plot.Thumbnailer
	}
	var entries []entry
	ours, others := 0, 0
	for _, r := range rows {
		line, points, err := plotter.NewLinePoints(rates(r))
		if err != nil {
			return nil, fmt.Errorf("plot %s: %w", r.name, err)
		}
		points.Radius = vg.Points(3)
		if r.ours {
			line.Color, points.Color, points.Shape = ourColours[ours], ourColours[ours], ourShapes[ours]
			line.Width = vg.Points(2)
			ours++
		} else {
			line.Color, points.Color, points.Shape = otherColours[others], otherColours[others], otherShapes[others]
			line.Width = vg.Points(1)
			line.Dashes = []vg.Length{vg.Points(5), vg.Points(2)}
			others++
		}
		p.Add(line, points)
		entries = append(entries, entry{r.name, line.XYs[len(sizes)-1].Y, []plot.Thumbnailer{line, points}})
	}
	// The legend has the order in which the lines end at the right.
	slices.SortStableFunc(entries, func(a, b entry) int {
		if a.atLarge > b.atLarge {
			return -1
		}
		return 1
	})
	for _, e := range entries {
		legend.Add(e.name, e.thumbs...)
	}

	canvas := vgsvg.New(width, height)
	all := draw.New(canvas)
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	margin := vg.Points(8)
	p.Draw(draw.Crop(all, margin, -legendWidth, margin, -margin))
	legend.Draw(draw.Crop(all, width-legendWidth+margin, -margin, 0, -2*vg.Centimeter))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, err
	}
	// Few machines have this font; the others have one that is as wide.
	return bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"),
		[]byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")), nil
}

// rates are gigabytes a second by size.
func rates(r row) plotter.XYs {
	points := make(plotter.XYs, len(sizes))
	for i, size := range sizes {
		points[i] = plotter.XY{X: float64(size), Y: float64(size) / median(r.ns[i])}
	}
	return points
}

func sizeTicks() (ticks []plot.Tick) {
	for _, size := range sizes {
		ticks = append(ticks, plot.Tick{Value: float64(size), Label: sizeName(size)})
	}
	return ticks
}

func rateTicks() (ticks []plot.Tick) {
	for _, rate := range []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50} {
		ticks = append(ticks, plot.Tick{Value: rate, Label: fmt.Sprint(rate)})
	}
	return ticks
}
