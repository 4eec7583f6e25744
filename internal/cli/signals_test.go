package cli

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
)

// TestInterrupted: an error is an interruption only if all of it is.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	canceled, other := fmt.Errorf("asking: %w", ctx.Err()), errors.New("the disk is full")
	for _, test := range []struct {
		err  error
		want bool
	}{
		{canceled, true},
		{errors.Join(canceled, nil, canceled), true},
		{errors.Join(canceled, other), false},
		{fmt.Errorf("%w: %w", other, canceled), false},
		{fmt.Errorf("not saved: %w", errors.Join(other, canceled)), false},
		{other, false},
		{context.DeadlineExceeded, false},
		{fmt.Errorf("no key: %w", ErrInterrupted), true},
		{signalError{syscall.SIGTERM}, true},
	} {
		if got := Interrupted(test.err); got != test.want {
			t.Errorf("%v: %v", test.err, got)
		}
	}
}

// TestStatus: without a signal, a failure is a failure.
func TestStatus(t *testing.T) {
	signalled, cancel := context.WithCancelCause(t.Context())
	cancel(signalError{syscall.SIGINT})
	child, done := context.WithCancel(signalled)
	defer done()
	canceled, cancelIt := context.WithCancel(t.Context())
	cancelIt()
	for want, ctx := range map[int]context.Context{130: child, 1: canceled} {
		if got := Status(ctx); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
}
