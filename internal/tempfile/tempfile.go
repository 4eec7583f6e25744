// Package tempfile has what all have in common who write a temporary file and then rename it.
package tempfile

import (
	"errors"
	"io/fs"
	"os"
)

// Named makes an error about the temporary file one about path, the file that it was to
// become: nobody else has heard of the temporary one. Other errors stay as they are.
func Named(path string, err error) error {
	var one *fs.PathError
	var two *os.LinkError
	switch {
	case errors.As(err, &one) && one.Path == path: // it is already, and may have advice
	case errors.As(err, &two):
		return &fs.PathError{Op: two.Op, Path: path, Err: two.Err}
	case one != nil:
		return &fs.PathError{Op: one.Op, Path: path, Err: one.Err}
	}
	return err
}
