package page

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestRates: rates are averages of the last minute, or of less if there are few samples.
func TestRates(t *testing.T) {
	samples := samplesAt(30, 1000)
	for i := range samples {
		samples[i].HandedOut, samples[i].Received, samples[i].Requests, samples[i].Stock = int64(i*100), int64(i*50), int64(i*20), int64(9999-i*50)
	}
	samples[0].HandedOut = -1 << 40 // long ago
	if got, want := ratesOf(samples), (rates{time.Minute, 2, 10, 5, -5}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := ratesOf(samples[:2]); got.Over != SampleInterval {
		t.Errorf("%+v of a relay that has run for 10 s", got)
	}
	if got := ratesOf(samples[:1]); got != (rates{}) {
		t.Errorf("%+v of one Sample", got)
	}
	slept := append(samples[:10:10], Sample{Time: noon.Add(time.Hour)})
	if got := ratesOf(slept); got != (rates{}) {
		t.Errorf("%+v after an hour's sleep", got)
	}
}

// TestHistory: there is one event when the stock becomes empty, and one when it no
// longer is, but none while a relay starts.
func TestHistory(t *testing.T) {
	var h History
	var told []string
	for i, stock := range []int64{0, 0, 7, 0, 0, 5, 6, 0} {
		if news := h.Add(Sample{Time: noon.Add(time.Duration(i) * SampleInterval), Stock: stock}); news != "" {
			told = append(told, fmt.Sprint(i, " ", news))
		}
	}
	want := []string{"3 out of stock: clients get 503", "5 there is entropy in stock again", "7 out of stock: clients get 503"}
	if !slices.Equal(told, want) {
		t.Errorf("%q, want %q", told, want)
	}
	for i := range 2 * samplesKept {
		h.Add(Sample{Time: noon, Stock: int64(i)})
	}
	if kept := h.List(); len(kept) != samplesKept || kept[samplesKept-1].Stock != 2*samplesKept-1 {
		t.Errorf("%d are kept", len(kept))
	}
	empty := samplesAt(5, 100) // less than a block
	if got := emptySince(empty); !got.Equal(empty[0].Time) {
		t.Errorf("empty since %v", got)
	}
	empty[2].Stock = 1 << 20
	if got := emptySince(empty); !got.Equal(empty[3].Time) {
		t.Errorf("empty again since %v", got)
	}
	empty[3].Stock = 1 << 20
	if got := emptySince(empty); !got.IsZero() {
		t.Errorf("empty since now, or %v", got)
	}
}
