// Package hang is for calls that may hang, as those of a disk do.
package hang

import (
	"context"
	"time"
)

// Call calls f, and returns when that has ended: true. After limit it calls late meanwhile.
// When ctx is done it waits for f no longer, and returns false.
func Call(ctx context.Context, limit time.Duration, f, late func()) bool {
	ended := make(chan struct{})
	go func() {
		f()
		close(ended)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-ended:
			return true
		case <-timer.C:
			late()
		}
	}
}
