package built

import (
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// TestBuilt: the constants are what the go command wrote into the binary about how
// it built it.
func TestBuilt(t *testing.T) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		t.Fatal("the binary does not say how it was built")
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if settings["-compiler"] == "" {
		t.Fatalf("the binary says too little of how it was built: %v", info.Settings)
	}
	if want := settings["-race"] == "true"; Race != want {
		t.Errorf("Race is %t, want %t", Race, want)
	}
	if want := slices.Contains(strings.Split(settings["-tags"], ","), "purego"); PureGo != want {
		t.Errorf("PureGo is %t, want %t", PureGo, want)
	}
}
