//go:build goexperiment.runtimesecret && linux && (amd64 || arm64)

package qrand

import (
	"runtime/secret"
	"testing"
)

// TestSeedsAreSecret: with GOEXPERIMENT=runtimesecret, seeds are computed in what
// the runtime erases. (TestDump, under it, finds nothing of them.)
func TestSeedsAreSecret(t *testing.T) {
	var inside []bool
	extract := func(os *[32]byte, shard byte, block []byte) [32]byte {
		inside = append(inside, secret.Enabled())
		return hmacExtract(os, shard, block)
	}
	s := newTestSource(t, Config{Blocks: &fakeBlocks{}, BatchBlocks: 1}, 2, parts{extract: extract})
	waitSeeded(t, s)
	s.Close()
	if len(inside) != 2 || !inside[0] || !inside[1] {
		t.Errorf("inside of secret.Do: %v, want it for both shards", inside)
	}
	if secret.Enabled() {
		t.Error("a Read would be, too")
	}
}
