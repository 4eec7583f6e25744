// Package cli has what commands share: how they end, and with which status.
package cli

import (
	"context"
	"os"
	"os/signal"
	"slices"
)

// NotifyContext is signal.NotifyContext, without the signals that were ignored when the
// program was started. They stay ignored: nohup(1) relies on that for SIGHUP, and a shell
// without job control starts what is in the background without SIGINT.
func NotifyContext(signals ...os.Signal) (context.Context, context.CancelFunc) {
	signals = slices.DeleteFunc(signals, signal.Ignored)
	if len(signals) == 0 { // to NotifyContext that would mean all of them
		return context.WithCancel(context.Background())
	}
	return signal.NotifyContext(context.Background(), signals...)
}
