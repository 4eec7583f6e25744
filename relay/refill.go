package relay

import (
	"maps"
	"slices"
	"sync"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/health"
	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
)

// A refiller keeps the stock full: one request at a time, each as large as the
// service allows, as soon as there is room for its blocks. The supply decides when
// a request is made, and to which endpoint.
type refiller struct {
	r      *Relay
	supply *supply.Supply
}

func newRefiller(r *Relay, key []byte) *refiller {
	return &refiller{r, supply.New(supply.Config{
		Source:    r.cfg.Blocks,
		Memory:    health.NewMemory(key, max(health.Remembered, 2*r.cfg.Stock)),
		MaxBlocks: r.cfg.BatchBlocks,
		MaxAge:    r.cfg.MaxAge / 4 * 3, // or it would be wiped, and asked for again, at once
	})}
}

// Want asks for a batch when there is room for one. In an outage the supply asks
// for one block even without room, to see its end. Blocks that are too old are wiped
// here, whatever the service does.
func (f *refiller) Want(now time.Time) (n int, again time.Time) {
	if f.r.retry.Swap(false) {
		f.supply.Retry(now)
		f.r.cfg.Logger.Info("relay: an operator wants the service to be asked again now")
		f.r.events.Add(now, "an operator wants the service to be asked again now")
	}
	if f.r.stock.missing(f.r.cfg.Stock, now) >= f.r.cfg.BatchBlocks {
		n = f.r.cfg.BatchBlocks
	}
	if age, any := f.r.stock.oldest(now); any && f.r.cfg.MaxAge != 0 {
		again = now.Add(f.r.cfg.MaxAge - age + time.Millisecond)
	}
	return n, again
}

// Waiting keeps when the next request is due.
func (f *refiller) Waiting(due time.Time) { f.r.upstream.setNext(due) }

// Handle takes what came of a request.
func (f *refiller) Handle(o supply.Outcome, now time.Time) {
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

// failed handles a failure. What is in stock is handed out meanwhile.
func (f *refiller) failed(o supply.Outcome, now time.Time) {
	reason := qrand.Reason(o.Reason)
	f.r.upstream.failed(reason, o.Err, o.Degraded, now)
	if !o.Warn {
		return
	}
	text := "relay: no entropy comes from the service; what is in stock is handed out"
	if o.Again {
		text += "; it follows another within 10 min, so its end is logged after 10 min without a failure"
	}
	args := []any{"reason", o.Reason, "error", o.Err.Error()}
	if !o.Next.IsZero() {
		args = append(args, "next", o.Next.Sub(now).Round(time.Millisecond))
	}
	f.r.cfg.Logger.Warn(text, args...)
	f.r.events.Add(now, "no entropy from the service: "+reason.String())
}

// Upstream is how the service is doing that the relay gets its entropy from.
type Upstream struct {
	Up            bool                   // an endpoint of it gives good blocks
	Reason        qrand.Reason           // why it is not up; empty before the first answer, or when it is
	Since         time.Time              // since when Up and Reason are so
	LastError     string                 // of the last request, if that failed
	LastAnswer    time.Time              // the last good one; zero: none
	NextRequest   time.Time              // when it is due; zero: when there is room for blocks, or one is under way
	Endpoint      string                 // of the last good answer
	Emulated      bool                   // some blocks were, as their emulator said: not quantum entropy
	Answered      int64                  // requests with good blocks
	Failed        map[qrand.Reason]int64 // requests without
	RefusedBlocks int64                  // that came, and failed a check
}

// upstream is an Upstream that the refiller writes and others read.
type upstream struct {
	mu  sync.Mutex
	now Upstream
}

func (u *upstream) status() Upstream {
	u.mu.Lock()
	defer u.mu.Unlock()
	st := u.now
	st.Failed = maps.Clone(st.Failed)
	return st
}

// answered counts a good answer, and returns whether it is the first with emulated
// blocks.
func (u *upstream) answered(endpoint string, emulated bool, now time.Time) (firstEmulated bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	st := &u.now
	if !st.Up {
		st.Since = now
	}
	st.Up, st.Reason, st.LastError = true, "", ""
	st.Answered++
	st.LastAnswer = now
	st.Endpoint = endpoint
	firstEmulated = emulated && !st.Emulated
	st.Emulated = st.Emulated || emulated
	return firstEmulated
}

// failed counts a failure; down: no endpoint gives blocks.
func (u *upstream) failed(reason qrand.Reason, err error, down bool, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	st := &u.now
	st.LastError = err.Error()
	if st.Failed == nil {
		st.Failed = map[qrand.Reason]int64{}
	}
	st.Failed[reason]++
	if !down {
		return
	}
	if st.Reason != reason {
		st.Since = now
	}
	st.Up, st.Reason = false, reason
}

func (u *upstream) setNext(due time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.now.NextRequest = due
}

func (u *upstream) refused(blocks int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.now.RefusedBlocks += int64(blocks)
}
