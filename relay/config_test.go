package relay

import (
	"testing"

	"example.com/qrand/qrypt"
)

// TestNilBlocks: a nil pointer in Config.Blocks is refused, before it crashes the
// goroutine that asks it for blocks.
func TestNilBlocks(t *testing.T) {
	const want = "relay: Config.Blocks is a nil *qrypt.Client: was the error of its constructor looked at?"
	list := openList(t, listFile(t, `{"clients":[]}`))
	if r, err := New(Config{Clients: list, Blocks: (*qrypt.Client)(nil)}); r != nil || err == nil || err.Error() != want {
		t.Errorf("New returned %v, want %q", err, want)
	}
}
