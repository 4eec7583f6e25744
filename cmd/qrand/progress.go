package main

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"

	"example.com/qrand"
)

// A progress shows how far a long read is. It is written to as the output is;
// hex and base64 make more of that than there are bytes.
type progress struct {
	bar    *progressbar.ProgressBar // nil: nothing is shown
	src    *qrand.Source
	c      *console
	began  time.Time
	told   time.Time // when the blocks were last counted
	length int64     // of the output
}

// newProgress shows a bar on a terminal, if the read is long enough and its
// bytes do not go to the same terminal.
func newProgress(c *console, o readOptions, src *qrand.Source) *progress {
	p := &progress{src: src, c: c, began: time.Now(), length: encodedLen(o.format.value, int64(o.size))}
	if !c.errTTY || o.size < barSize || o.file == "" && c.outTTY {
		return p
	}
	p.bar = progressbar.NewOptions64(p.length,
		progressbar.OptionSetWriter(c.err),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowCount(),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionSetWidth(20),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: " ", BarStart: "[", BarEnd: "]"}),
		progressbar.OptionClearOnFinish(),
	)
	p.describe()
	return p
}

// encodedLen is how long the output of n bytes is, for any n that somebody
// could wait for.
func encodedLen(format string, n int64) int64 {
	n = min(n, maxSize/2)
	switch format {
	case "hex":
		return 2*n + 1
	case "base64":
		return (n+2)/3*4 + 1
	}
	return n
}

func (p *progress) describe() {
	p.told = time.Now()
	p.bar.Describe(count(p.src.Status().Blocks, "block"))
}

func (p *progress) Write(b []byte) (int, error) {
	if p.bar != nil {
		if time.Since(p.told) > 250*time.Millisecond {
			p.describe()
		}
		_ = p.bar.Add(len(b)) // it fails where the terminal does, and matters as little
	}
	return len(b), nil
}

// end takes the bar away, and leaves a line about a read that succeeded.
func (p *progress) end(err error) {
	if p.bar == nil {
		return
	}
	_ = p.bar.Clear()
	if err != nil {
		return
	}
	took := time.Since(p.began)
	st := p.src.Status()
	fmt.Fprintf(p.c.err, "%s in %v, %s/s, %s used\n", humanize.IBytes(uint64(st.Bytes)), took.Round(10*time.Millisecond),
		humanize.IBytes(uint64(float64(st.Bytes)/took.Seconds())), count(st.Blocks, "block"))
}

// count writes a number of things.
func count(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return humanize.Comma(n) + " " + thing
}
