//go:build unix

package relaycmd

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// onRetrySignal calls retry at each SIGUSR1 until ctx is done.
func onRetrySignal(ctx context.Context, retry func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	defer signal.Stop(signals)
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			retry()
		}
	}
}
