// Package cli has what commands share: how they end, with which status, and how wide their help is.
package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// ErrInterrupted is the error of a command that gave up because a signal came.
var ErrInterrupted = errors.New("interrupted")

// A signalError is why a context of NotifyContext ended.
type signalError struct{ syscall.Signal }

func (e signalError) Error() string { return e.String() + " signal received" }

func (e signalError) Is(target error) bool { return target == context.Canceled }

// NotifyContext is signal.NotifyContext, without the signals that were ignored when the
// program was started. They stay ignored: nohup(1) relies on that for SIGHUP, and a shell
// without job control starts what is in the background without SIGINT. Status knows which
// signal came.
func NotifyContext(signals ...os.Signal) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	came := make(chan os.Signal, 1)
	if signals = slices.DeleteFunc(signals, signal.Ignored); len(signals) > 0 { // none would mean all of them
		signal.Notify(came, signals...)
	}
	go func() {
		select {
		case s := <-came:
			number, _ := s.(syscall.Signal)
			cancel(signalError{number})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(nil)
		signal.Stop(came)
	}
}

// Status is the exit status of a command that a signal interrupted: 128 and the signal's
// number, as shells have it. Where no signal ended the context, it is 1.
func Status(ctx context.Context) int {
	var e signalError
	if errors.As(context.Cause(ctx), &e) {
		return 128 + int(e.Signal)
	}
	return 1
}

// Interrupted reports whether err says nothing except that a context ended. Another error must
// be told, even if it came after a signal: what could not be saved, say.
func Interrupted(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return !slices.ContainsFunc(joined.Unwrap(), func(err error) bool { return !Interrupted(err) })
	}
	if next := errors.Unwrap(err); next != nil {
		return Interrupted(next)
	}
	return err == ErrInterrupted || errors.Is(err, context.Canceled) // as is a cause of NotifyContext
}
