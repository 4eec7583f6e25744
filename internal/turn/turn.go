// Package turn says when a request waits for its turn in a queue of this process.
// Whoever times a request needs to know, or takes that wait for a service that
// hangs.
package turn

import "context"

type key struct{}

// With returns a context whose requests call f: with true when one begins to
// wait, with false when it goes on. f must return soon. If the context serves
// several requests, several goroutines call f. A request that need not wait does
// not call f, and one that is given up while it waits does not call it again.
func With(ctx context.Context, f func(waiting bool)) context.Context {
	return context.WithValue(ctx, key{}, f)
}

// Report calls the function that the latest With put into ctx, if any.
func Report(ctx context.Context, waiting bool) {
	if f, _ := ctx.Value(key{}).(func(bool)); f != nil {
		f(waiting)
	}
}
