// Package turn tells a caller when its request waits in a queue of this process. A caller
// that times the request would otherwise think that the service hangs. Package qrypt, which
// has the queue, and internal/supply, which times its requests, share it.
package turn

import "context"

type key struct{}

// With returns a context whose requests call f: with true when one begins to wait, and
// with false when it goes on. A request that does not wait does not call f. A request that
// is given up while it waits does not call f again. f must return soon. If the context is
// for several requests, several goroutines call f.
func With(ctx context.Context, f func(waiting bool)) context.Context {
	return context.WithValue(ctx, key{}, f)
}

// Report calls the function that the last With put into ctx, if there is one.
func Report(ctx context.Context, waiting bool) {
	if f, _ := ctx.Value(key{}).(func(bool)); f != nil {
		f(waiting)
	}
}
