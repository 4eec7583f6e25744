package clients

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gofrs/flock"

	"example.com/qrand/internal/tempfile"
)

// newLock is the operating system's lock for the file at path. It is on a file of
// its own, which stays there, because the file at path is replaced. It ends with
// the process, so that one that was killed does not block the next.
func newLock(path string, mode fs.FileMode) *flock.Flock {
	// NFS refuses to lock a file that is not open for writing.
	return flock.New(path+".lock", flock.SetFlag(os.O_RDWR|os.O_CREATE), flock.SetPermissions(mode))
}

// createTemp makes the temporary file that will take the place of path. Its name is short,
// because that of path may be as long as the system allows. It is always the same, so that a
// crash leaves no more than one: whoever writes path has its lock.
func createTemp(path string) (*os.File, error) {
	sum := sha256.Sum256([]byte(filepath.Base(path)))
	name := filepath.Join(filepath.Dir(path), ".qrand-"+hex.EncodeToString(sum[:8])+".tmp")
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, tempfile.Named(path, err)
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	return f, tempfile.Named(path, err)
}

// resolve returns the file that path leads to. Renaming over a link would put a file in its
// place, and two names of a file would be two locks. The file need not be there yet.
func resolve(path string) (string, error) {
	for range 40 { // as many as systems follow
		real, err := filepath.EvalSymlinks(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return real, err
		}
		target, linkErr := os.Readlink(path)
		if linkErr != nil { // not even the link is there
			folder, err := filepath.EvalSymlinks(filepath.Dir(path))
			return filepath.Join(folder, filepath.Base(path)), err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return "", fmt.Errorf("%s: too many links", path)
}

// replaceFile puts a complete file in place of path: whoever reads it meanwhile, or
// after a crash, finds the old file or the new one. Only its owner can read a new
// file. If there is an old one, its mode and owner stay: root may add a client to
// the list of a relay that runs as another user.
func replaceFile(path string, data []byte) (info os.FileInfo, err error) {
	folder := filepath.Dir(path)
	f, err := createTemp(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = tempfile.Named(path, err)
		}
	}()
	if _, err := f.Write(data); err != nil {
		return nil, err
	}
	if old, err := os.Stat(path); err == nil {
		if err := errors.Join(keepOwner(f, old), f.Chmod(old.Mode().Perm())); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if err := os.Rename(f.Name(), path); errors.Is(err, syscall.EBUSY) {
		return nil, fmt.Errorf("%w: is the file mounted by itself? It is replaced, not written into, so mount its folder", tempfile.Named(path, err))
	} else if err != nil {
		return nil, err
	}
	// A revoked token must not come back after a power failure. Where a system cannot
	// sync a folder, it will write the name soon.
	if d, err := os.Open(folder); err == nil {
		_ = d.Sync()
		d.Close()
	}
	return info, nil
}
