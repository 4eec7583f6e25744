package main

import (
	"testing"

	"github.com/spf13/cobra"
)

// TestEmulateLimits: each flag about the counting of requests sets one setting of the
// emulator.
func TestEmulateLimits(t *testing.T) {
	type limits struct {
		rate, quota                             int
		fixedWindow, freeRefusals, noRetryAfter bool
	}
	for _, test := range []struct {
		flag string
		want limits
	}{
		{"--quiet", limits{}},
		{"--rate=7", limits{rate: 7}},
		{"--rate=-1", limits{rate: -1}},
		{"--quota=7", limits{quota: 7}},
		{"--fixed-window", limits{fixedWindow: true}},
		{"--free-refusals", limits{freeRefusals: true}},
		{"--no-retry-after", limits{noRetryAfter: true}},
	} {
		var o emulateOptions
		cmd := new(cobra.Command)
		o.addFlags(cmd)
		if err := cmd.ParseFlags([]string{test.flag}); err != nil {
			t.Errorf("%s: %v", test.flag, err)
		}
		cfg := o.config()
		if got := (limits{cfg.Rate, cfg.Quota, cfg.FixedWindow, cfg.FreeRefusals, cfg.NoRetryAfter}); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.flag, got, test.want)
		}
	}
}
