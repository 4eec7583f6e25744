package page

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/qrand/relay/internal/page/pagetest"
)

var noon = time.Date(2026, 3, 3, 12, 10, 0, 0, time.UTC)

// samplesAt are of one stock every 10 s, up to noon.
func samplesAt(n int, stock int64) (samples []Sample) {
	for i := range n {
		samples = append(samples, Sample{Time: noon.Add(-time.Duration(n-1-i) * SampleInterval), Stock: stock})
	}
	return samples
}

func TestChart(t *testing.T) {
	t.Run("level", func(t *testing.T) {
		c := drawChart(samplesAt(samplesKept, 500), 1000)
		if want := []string{"M0 550L3600 550h0"}; !slices.Equal(c.Lines, want) {
			t.Errorf("lines %q, want %q", c.Lines, want)
		}
		if want := []string{"M0 1000L0 550L3600 550V1000z"}; !slices.Equal(c.Areas, want) {
			t.Errorf("areas %q, want %q", c.Areas, want)
		}
		if len(c.Failing) != 0 || !strings.Contains(pagetest.Spaces(c.Text), "from 500 B to 500 B") || strings.Contains(c.Text, "failed") {
			t.Errorf("failing %v: %s", c.Failing, c.Text)
		}
	})
	t.Run("steps", func(t *testing.T) {
		samples := samplesAt(6, 1000)
		samples[2].Stock, samples[3].Stock, samples[4].Stock = 0, 0, 0
		if got, want := drawChart(samples, 1000).Lines[0], "M3550 100L3560 100L3570 1000L3590 1000L3600 100h0"; got != want {
			t.Errorf("line %q, want %q", got, want)
		}
	})
	t.Run("gaps", func(t *testing.T) {
		samples := slices.Delete(samplesAt(12, 0), 4, 6)
		if c := drawChart(samples, 1000); len(c.Lines) != 2 || len(c.Areas) != 2 || c.Lines[0] != "M3490 1000L3520 1000h0" {
			t.Errorf("two samples are missing: %q", c.Lines)
		}
		samples = slices.Delete(samplesAt(12, 0), 4, 5)
		if c := drawChart(samples, 1000); len(c.Lines) != 1 {
			t.Errorf("one Sample is late: %q", c.Lines)
		}
		// The clock was put back by 20 s, and by two hours.
		samples = samplesAt(12, 0)
		for i := range 6 {
			samples[i].Time = samples[i].Time.Add(20 * time.Second)
		}
		if c := drawChart(samples, 1000); len(c.Lines) != 2 {
			t.Errorf("over a clock that was put back: %q", c.Lines)
		}
		samples[0].Time = noon.Add(2 * time.Hour)
		samples[1].Time = noon.Add(-2 * time.Hour)
		for _, line := range drawChart(samples, 1000).Lines {
			for field := range strings.FieldsSeq(strings.NewReplacer("M", " ", "L", " ", "h", " ").Replace(line)) {
				var n int
				if _, err := fmt.Sscan(field, &n); err != nil || n < 0 || n > chartWidth {
					t.Errorf("%q is outside of the chart", line)
				}
			}
		}
	})
	t.Run("failing", func(t *testing.T) {
		samples := samplesAt(20, 1000)
		for _, i := range []int{5, 6, 7, 12} {
			samples[i].Failing = true
		}
		c := drawChart(samples, 1000)
		if want := []stretch{{3450, 3480}, {3520, 3530}}; !slices.Equal(c.Failing, want) {
			t.Errorf("%v, want %v", c.Failing, want)
		}
		if !strings.Contains(pagetest.Spaces(c.Text), "failed for 40 s") {
			t.Error(c.Text)
		}
	})
	t.Run("one", func(t *testing.T) {
		if c := drawChart(samplesAt(1, 1000), 1000); len(c.Lines) != 1 || c.Lines[0] != "M3600 100h0" {
			t.Errorf("%q", c.Lines)
		}
	})
	t.Run("grid", func(t *testing.T) {
		c := drawChart(samplesAt(1, 0), 4<<20)
		var x, y []string
		for _, tick := range c.X {
			x = append(x, fmt.Sprintf("%s %.1f %s", tick.Label, tick.At, tick.Anchor))
		}
		for _, tick := range c.Y {
			y = append(y, fmt.Sprintf("%s %.1f", pagetest.Spaces(tick.Label), tick.At))
		}
		if want := []string{"12:00 83.3 middle", "11:45 58.3 middle", "11:30 33.3 middle", "11:15 8.3 middle"}; !slices.Equal(x, want) {
			t.Errorf("times %q, want %q", x, want)
		}
		if want := []string{"0 88.0", "1.00 MiB 68.2", "2.00 MiB 48.4", "3.00 MiB 28.6", "limit 4.00 MiB 8.8"}; !slices.Equal(y, want) {
			t.Errorf("bytes %q, want %q", y, want)
		}
	})
}
