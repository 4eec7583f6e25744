package outage

import (
	"cmp"
	"errors"

	"example.com/qrand/internal/health"
	"example.com/qrand/qrypt"
)

// ErrBlockCount is the failure of a BlockSource that breaks its contract.
var ErrBlockCount = errors.New("the BlockSource returned no block, more blocks than asked for, or an empty one")

// Inspect accepts or refuses an answer as a whole: where one block is bad, its
// neighbours are not to be trusted either, and the source is made to ask another
// endpoint next.
func Inspect(source any, memory *health.Memory, blocks []qrypt.Block, asked int) error {
	if len(blocks) == 0 || len(blocks) > asked {
		return ErrBlockCount
	}
	var first error
	for _, b := range blocks {
		p := b.Bytes()
		if p == nil {
			return ErrBlockCount
		}
		first = cmp.Or(first, health.Check(p), memory.Add(p))
	}
	if first != nil {
		Failover(source, blocks[0].Origin().Endpoint)
	}
	return first
}
