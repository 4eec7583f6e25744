package relay

import (
	"maps"
	"sync"
	"time"

	"example.com/qrand"
)

// Upstream is how the service that we draw from is doing.
type Upstream struct {
	Up            bool                   // an endpoint of it gives good blocks
	Reason        qrand.Reason           // why it is not up; empty before the first answer, or when it is
	Since         time.Time              // since when Up and Reason are so
	LastError     string                 // of the last request, if that failed
	LastAnswer    time.Time              // the last good one; zero: none
	NextRequest   time.Time              // when it is due; zero: when there is room for blocks, or one is under way
	Endpoint      string                 // of the last good answer
	Emulated      bool                   // some blocks were, by an emulator's own word: not quantum entropy
	Answered      int64                  // requests with good blocks
	Failed        map[qrand.Reason]int64 // requests without
	RefusedBlocks int64                  // that came, and failed a check
}

// upstream is an Upstream that the refiller writes and others read.
type upstream struct {
	mu  sync.Mutex
	now Upstream
}

func newUpstream(now time.Time) *upstream {
	return &upstream{now: Upstream{Since: now, Failed: map[qrand.Reason]int64{}}}
}

func (u *upstream) status() Upstream {
	u.mu.Lock()
	defer u.mu.Unlock()
	st := u.now
	st.Failed = maps.Clone(st.Failed)
	return st
}

// answered takes in a good answer, and returns whether it is the first with
// emulated blocks.
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

// failed takes in a failure; down: no endpoint gives blocks.
func (u *upstream) failed(reason qrand.Reason, err error, down bool, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	st := &u.now
	st.LastError = err.Error()
	st.Failed[reason]++
	if !down {
		return
	}
	if st.Reason != reason {
		st.Since = now
	}
	st.Up, st.Reason = false, reason
}

func (u *upstream) rest(due time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.now.NextRequest = due
}

func (u *upstream) refused(blocks int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.now.RefusedBlocks += int64(blocks)
}
