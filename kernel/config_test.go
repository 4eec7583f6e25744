package kernel

import (
	"testing"

	"example.com/qrand/qrypt"
)

// TestNilBlocks: a nil pointer in Config.Blocks is refused before the pool is opened.
func TestNilBlocks(t *testing.T) {
	const want = "kernel: Config.Blocks is a nil *qrypt.Client: was the error of its constructor looked at?"
	if f, err := New(Config{Blocks: (*qrypt.Client)(nil)}); f != nil || err == nil || err.Error() != want {
		t.Errorf("New returned %v, want %q", err, want)
	}
}
