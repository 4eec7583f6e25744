package relay

import (
	"strings"
	"testing"

	"example.com/qrand"
	"example.com/qrand/qrypt"
)

// TestConfig: a value that makes no sense is refused, with what to do.
func TestConfig(t *testing.T) {
	list := openList(t, listFile(t, `{"clients":[]}`))
	for _, test := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "clients.Open"},
		{Config{Clients: list, Stock: 1}, "from 2 to"},
		{Config{Clients: list, Stock: -1}, "from 2 to"},
		{Config{Clients: list, Stock: maxStock + 1}, "from 2 to"},
		{Config{Clients: list, BatchBlocks: 513}, "1 to 512"},
		{Config{Clients: list, BatchBlocks: -1}, "1 to 512"},
		{Config{Clients: list, Stock: 8, BatchBlocks: 5}, "more than half"},
		{Config{Clients: list, MaxAge: -1}, "MaxAge"},
	} {
		test.cfg.Blocks = newFakeService(t)
		if r, err := New(test.cfg); r != nil || err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "relay: ") {
			t.Errorf("%+v: %v, want %q", test.cfg, err, test.want)
		}
	}
}

var _ qrand.BlockSource = (*fakeService)(nil)

// TestNilBlocks: New refuses a nil pointer in Config.Blocks, which would crash the
// goroutine that asks it for blocks.
func TestNilBlocks(t *testing.T) {
	const want = "relay: Config.Blocks is a nil *qrypt.Client: was the error of its constructor looked at?"
	list := openList(t, listFile(t, `{"clients":[]}`))
	if r, err := New(Config{Clients: list, Blocks: (*qrypt.Client)(nil)}); r != nil || err == nil || err.Error() != want {
		t.Errorf("New returned %v, want %q", err, want)
	}
}
