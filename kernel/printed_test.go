package kernel

import (
	"log/slog"
	"testing"

	"example.com/qrand/internal/verbs"
)

// TestPrintedFeeder: no verb prints the key of the fingerprints.
func TestPrintedFeeder(t *testing.T) {
	const key = "fingerprints-have-this-MAC-key.."
	f := newFeeder(Config{Blocks: &fakeBlocks{}, Logger: slog.New(slog.DiscardHandler)}, &fakePool{}, []byte(key))
	for name, v := range map[string]any{
		"Feeder":                     f,
		"copy of a Feeder":           *f,
		"Feeder in a field":          struct{ f *Feeder }{f},
		"Feeder by value in a field": struct{ f Feeder }{*f},
	} {
		if shown := verbs.Showing(v, key); shown != nil {
			t.Errorf("%s: the key is shown by %v", name, shown)
		}
	}
}
