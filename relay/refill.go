package relay

import (
	"context"
	"slices"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/health"
	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
)

// A refiller keeps the stock full: one request at a time, each as large as the
// service allows, made as soon as there is room for its blocks. When it is made,
// and of whom, is the supply's business.
type refiller struct {
	r      *Relay
	supply *supply.Supply
}

func newRefiller(r *Relay, key []byte) *refiller {
	return &refiller{r, supply.New(supply.Config{
		Source: r.cfg.Blocks,
		Memory: health.NewMemory(key, max(health.Remembered, 2*r.cfg.Stock)),
		Most:   r.cfg.BatchBlocks,
		MaxAge: r.cfg.MaxAge / 4 * 3, // or it would be wiped, and asked for again, at once
	})}
}

func (f *refiller) run(ctx context.Context) {
	f.supply.Run(ctx, f, f.r.wake)
	f.supply.Close()
}

// Want asks for a batch when there is room for one; where there is not, the supply
// asks for one block in an outage, to see its end. What is too old is wiped,
// whatever the service does.
func (f *refiller) Want(now time.Time) (n int, again time.Time) {
	if f.r.stock.missing(f.r.cfg.Stock, now) >= f.r.cfg.BatchBlocks {
		n = f.r.cfg.BatchBlocks
	}
	if age, any := f.r.stock.oldest(now); any && f.r.cfg.MaxAge != 0 {
		again = now.Add(f.r.cfg.MaxAge - age + time.Millisecond)
	}
	return n, again
}

// Rest notes when the next request is due.
func (f *refiller) Rest(due time.Time) { f.r.upstream.rest(due) }

// Take takes in what came of a request.
func (f *refiller) Take(o supply.Outcome, now time.Time) {
	f.r.upstream.refused(o.Refused)
	switch {
	case o.Err != nil:
		f.failed(o, now)
	case len(o.Blocks) > 0:
		f.received(o, now)
	}
	if o.Recovered {
		f.r.cfg.Logger.Info("relay: recovered: the service answers")
		f.r.events.Add(now, "recovered: the service answers")
	}
}

func (f *refiller) received(o supply.Outcome, now time.Time) {
	endpoint := o.Blocks[0].Origin().Endpoint
	emulated := slices.ContainsFunc(o.Blocks, func(b qrypt.Block) bool { return b.Origin().Emulated })
	f.r.stock.put(o.Blocks)
	if f.r.upstream.answered(endpoint, emulated, now) {
		f.r.cfg.Logger.Warn("relay: the entropy is emulated, not quantum", "endpoint", endpoint)
		f.r.events.Add(now, "the entropy is EMULATED, not quantum")
	}
	if o.Moved {
		if o.Instead != nil {
			f.r.cfg.Logger.Warn("relay: blocks come from another endpoint than the preferred one", "endpoint", endpoint, "error", o.Instead.Error())
			f.r.events.Add(now, "blocks come from another endpoint than the preferred one")
		} else {
			f.r.cfg.Logger.Info("relay: blocks come from the preferred endpoint again", "endpoint", endpoint)
			f.r.events.Add(now, "blocks come from the preferred endpoint again")
		}
	}
}

// failed takes in a failure. What is in stock is handed out meanwhile.
func (f *refiller) failed(o supply.Outcome, now time.Time) {
	reason := qrand.Reason(o.Reason)
	f.r.upstream.failed(reason, o.Err, o.Degraded, now)
	if !o.Warn {
		return
	}
	text := "relay: no entropy comes from the service; what is in stock is handed out"
	if o.Again {
		text += "; it follows another within 10 min, so its end is told after 10 min without a failure"
	}
	args := []any{"reason", o.Reason, "error", o.Err.Error()}
	if !o.Next.IsZero() {
		args = append(args, "next", o.Next.Sub(now).Round(time.Millisecond))
	}
	f.r.cfg.Logger.Warn(text, args...)
	f.r.events.Add(now, "no entropy from the service: "+reason.String())
}
