// Package replace lets a program put a reader, such as a qrand.Source, in the place of
// crypto/rand's Reader before other packages store that in variables.
//
// Many packages have a variable that is set to rand.Reader when they are initialized, such
// as github.com/google/uuid. What main assigns to rand.Reader later, they do not see. This
// package sets rand.Reader itself, while it is initialized, to a reader that forwards to the
// earlier rand.Reader, and to another one after a call of [Reader]. To be initialized before
// the others, it imports little.
//
// Go initializes packages in the order of their import paths, but each one only after those
// that it imports (https://go.dev/ref/spec#Program_initialization). So a package whose path
// comes before example.com/qrand/replace in the alphabet may still keep crypto/rand's own.
// The command qrandvet names these, and calls that ignore rand.Reader, such as
// ecdsa.GenerateKey since Go 1.26: no reader changes what those do.
//
// Each rand.Read of a program that imports this package allocates memory, as with any
// Reader that is not crypto/rand's own. In FIPS 140-only mode (GODEBUG=fips140=only) the
// package changes nothing, because there Go's functions refuse such a Reader. Do not import
// it in a build whose crypto/ecdsa and crypto/rsa panic on one, as GOEXPERIMENT=boringcrypto.
package replace

import (
	"crypto/fips140"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync/atomic"

	"example.com/qrand/internal/osrand"
)

// forwarder is the new rand.Reader. It reads from to, or from the earlier rand.Reader if that is nil.
type forwarder struct{ to atomic.Pointer[io.Reader] }

var (
	ours    = new(forwarder)
	refused = fips140.Enforced() // at the start: it can differ later (fips140.WithoutEnforcement)
)

func init() {
	if !refused {
		rand.Reader = ours
	}
}

func (f *forwarder) Read(p []byte) (int, error) {
	if r := f.to.Load(); r != nil {
		return (*r).Read(p)
	}
	return osrand.Reader().Read(p)
}

// Reader makes crypto/rand's Reader read from r, in the whole process, from now on. It may
// be called at any time, and again. If r is nil, rand.Reader reads from crypto/rand as before.
//
// r must be safe for concurrent use, and must not read rand.Reader itself, or it calls itself
// without end. A Source does not. r should never fail, because rand.Read ends the process when
// it does: a Source must have the Policy Augment.
//
// Reader returns an error, and changes nothing, in FIPS 140-only mode, and if other code has
// set rand.Reader since this package did.
func Reader(r io.Reader) error {
	switch v := reflect.ValueOf(r); {
	case refused:
		return errors.New("replace: rand.Reader must not be replaced in FIPS 140-only mode (GODEBUG=fips140=only): pass the Source to package keygen")
	case rand.Reader != ours:
		return errors.New("replace: other code has set rand.Reader after package replace did: remove that, or set rand.Reader there")
	case r == ours:
		return errors.New("replace: rand.Reader cannot read from itself: pass another reader")
	case r == nil:
		ours.to.Store(nil)
	case v.Kind() == reflect.Pointer && v.IsNil():
		return fmt.Errorf("replace: the reader is a nil %T: did what made it return an error?", r)
	default:
		ours.to.Store(&r)
	}
	return nil
}
