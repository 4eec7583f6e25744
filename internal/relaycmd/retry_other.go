//go:build !unix

package relaycmd

import "context"

// onRetrySignal does nothing: this system has no signal for it.
func onRetrySignal(context.Context, func()) {}
