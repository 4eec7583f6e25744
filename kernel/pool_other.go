//go:build !linux

package kernel

import (
	"errors"
	"fmt"
	"runtime"
)

func openPool() (pool, error) {
	return nil, fmt.Errorf("kernel: only Linux's pool can be fed, not that of %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
