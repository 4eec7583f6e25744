//go:build !linux

package kernel

import (
	"errors"
	"testing"
)

func TestNotLinux(t *testing.T) {
	if _, err := New(Config{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}
