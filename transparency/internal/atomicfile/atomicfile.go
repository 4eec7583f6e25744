// Package atomicfile replaces files.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"example.com/qrand/internal/tempfile"
)

// Write puts a complete file in place of path at once: nobody finds half of it, also after a
// crash. Its mode is that of a new file.
func Write(path string, data []byte) (err error) {
	defer func() { err = tempfile.Named(path, err) }()
	temp := filepath.Join(filepath.Dir(path), ".qrandlog-"+rand.Text()+".tmp")
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) // less the umask
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		if e := os.Remove(temp); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}
