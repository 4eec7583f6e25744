package kernel

import (
	"errors"
	"fmt"
	"strings"

	"example.com/qrand/qrypt"
)

// Why a block was not credited, or the kernel did not reseed, for errors.Is.
var (
	ErrNotPermitted = errors.New("kernel: not permitted (needs CAP_SYS_ADMIN)")
	ErrNotReady     = errors.New("kernel: the kernel's generator is not initialized yet")
	ErrUnknownCall  = errors.New("kernel: this kernel does not know the call")
	ErrEmulated     = errors.New("kernel: EMULATED entropy is never credited")
)

// A Result says what happened to a block. Before Linux 5.19 the kernel may accept the call
// to reseed, and yet wait until enough was credited. It does not say so.
type Result struct {
	Mixed       int          // how many of its bytes are in the pool
	Credited    int          // with how many bits of entropy
	NotCredited error        // why it was not credited, if a credit was asked for
	Reseeded    bool         // the kernel's generator made a key from the pool at once
	NotReseeded error        // why not; since Linux 5.19 it does so by itself within a minute
	Origin      qrypt.Origin // where the block came from
}

// String says exactly what happened, in one line.
func (r Result) String() string {
	if r.Mixed == 0 {
		return "nothing mixed"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "mixed %d bytes", r.Mixed)
	if r.Origin.Emulated {
		b.WriteString(" of EMULATED entropy")
	}
	fmt.Fprintf(&b, " (credited %d bits", r.Credited)
	if r.NotCredited != nil {
		b.WriteString(": " + reason(r.NotCredited))
	}
	b.WriteString("), ")
	if r.Reseeded {
		b.WriteString("reseeded")
	} else {
		b.WriteString("not reseeded: " + reason(r.NotReseeded))
	}
	return b.String()
}

// reason returns the text of an error, for another line of this package.
func reason(err error) string {
	if err == nil {
		return "not tried"
	}
	return strings.TrimPrefix(err.Error(), "kernel: ")
}
