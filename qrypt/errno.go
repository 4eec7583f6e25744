//go:build !plan9

package qrypt

import "syscall"

// A systemError is what the operating system returned. Its text is the system's own.
type systemError = syscall.Errno
