package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// saveInterval is how often it is saved what clients have used: this much is lost if
// the process is killed.
const saveInterval = 10 * time.Second

// closeLimit is how long Close waits for the disk.
const closeLimit = 5 * time.Second

var errDiskHangs = errors.New("relay: the disk does not take what clients have used: since the last save it is lost")

// A usageSaver saves what clients have used. The disk may hang: then nobody waits for it
// for long, and no second save begins before the first one has ended.
type usageSaver struct {
	write func() error

	mu      sync.Mutex
	running chan struct{} // closed when the save that is under way has ended; nil: none is
	began   time.Time     // that save
	err     error         // of the last one
	saved   time.Time     // when one last succeeded
	late    bool          // that save took too long
	failed  int64         // saves that failed or took too long
}

// save saves, or waits for the save that is under way, and returns how it ended. After limit
// it returns errDiskHangs.
func (u *usageSaver) save(limit time.Duration) error {
	u.mu.Lock()
	again := u.running != nil // that one may have begun before the last request
	ended := u.start()
	u.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case <-ended:
		case <-timer.C:
			u.tooLate()
			return errDiskHangs
		}
		u.mu.Lock()
		if !again {
			defer u.mu.Unlock()
			return u.err
		}
		again = false
		ended = u.start()
		u.mu.Unlock()
	}
}

// start begins a save, unless one is under way. Its caller holds the lock.
func (u *usageSaver) start() (ended chan struct{}) {
	if u.running != nil {
		return u.running
	}
	ended = make(chan struct{})
	u.running, u.began, u.late = ended, time.Now(), false
	go func() {
		err := u.write()
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.running, u.err = nil, err; err == nil {
			u.saved = time.Now()
		} else if !u.late {
			u.failed++
		}
		close(ended)
	}()
	return ended
}

// tooLate counts the save that is under way as failed.
func (u *usageSaver) tooLate() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.running != nil && !u.late {
		u.late = true
		u.failed++
	}
}

// trouble returns why what clients use is not being saved; nil: it is.
func (u *usageSaver) trouble(now time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.running != nil && u.late {
		return fmt.Errorf("%w: a save began %v ago and has not ended", errDiskHangs, now.Sub(u.began).Round(time.Second))
	}
	return u.err
}

// count returns how many saves failed or took too long, and when one last succeeded.
func (u *usageSaver) count() (failed int64, saved time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.failed, u.saved
}

// tellAgain is how often it is logged that what clients use is not being saved.
const tellAgain = 10 * time.Minute

// keepUsage saves what clients have used, and says when that fails.
func (r *Relay) keepUsage(ctx context.Context) {
	tick := time.NewTicker(saveInterval)
	defer tick.Stop()
	var told time.Time // zero: there is nothing wrong
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r.usage.mu.Lock()
		ended := r.usage.start()
		r.usage.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-ended:
		case <-time.After(saveInterval):
			r.usage.tooLate()
		}
		now := time.Now()
		switch err := r.usage.trouble(now); {
		case err != nil && now.Sub(told) >= tellAgain:
			r.cfg.Logger.Error("relay: what clients use cannot be saved: a restart would forget it", "error", err.Error())
			if told.IsZero() {
				r.events.Add(now, "what clients use cannot be saved")
			}
			told = now
		case err == nil && !told.IsZero():
			r.cfg.Logger.Info("relay: what clients use is saved again")
			r.events.Add(now, "what clients use is saved again")
			told = time.Time{}
		}
	}
}

// watchClients puts changes of the list in force.
func (r *Relay) watchClients(ctx context.Context) {
	r.cfg.Clients.Watch(ctx, func(err error) {
		if err != nil {
			r.cfg.Logger.Error("relay: the list of clients as it is now is not used, the old one holds", "error", err.Error())
			r.events.Add(time.Now(), "the list of clients has an error; the old one holds")
			return
		}
		r.cfg.Logger.Info("relay: the list of clients has changed")
		r.events.Add(time.Now(), "the list of clients has changed")
	})
}
