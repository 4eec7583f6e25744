package relay

import (
	"time"

	"example.com/qrand/qrypt"
)

// Missing is how many blocks the stock has room for.
func (r *Relay) Missing() int { return r.stock.missing(r.cfg.Stock, time.Now()) }

// Put puts blocks into the stock, past the refiller.
func (r *Relay) Put(blocks []qrypt.Block) { r.stock.put(blocks) }
