package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"example.com/qrand/internal/tempfile"
)

var errExists = errors.New("it exists")

// offerForce adds advice to an error of a command that has --force.
func offerForce(err error) error {
	if errors.Is(err, errExists) {
		return fmt.Errorf("%w, --force replaces it", err)
	}
	return err
}

// A tempFile is removed if the process is interrupted before the file has its name. Its errors
// are about that name.
type tempFile struct {
	*os.File
	path string // its name in the end
	done func() // the file need not be removed any more
}

func (t *tempFile) Write(b []byte) (int, error) {
	n, err := t.File.Write(b)
	return n, tempfile.Named(t.path, err)
}

func (t *tempFile) Sync() error  { return tempfile.Named(t.path, t.File.Sync()) }
func (t *tempFile) Close() error { return tempfile.Named(t.path, t.File.Close()) }

// createBeside makes a temporary file of that mode, less what the umask forbids, in the
// folder where path will be.
func createBeside(path string, force bool, mode fs.FileMode) (*tempFile, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		// Renaming over it would replace the device, the link or the folder.
		return nil, fmt.Errorf("%s is not a regular file", path)
	case !force:
		return nil, fmt.Errorf("%s: %w", path, errExists)
	}
	if err := checkFolder(path); err != nil {
		return nil, err
	}
	// A short name, because that of path may be as long as the system allows.
	f, err := os.OpenFile(filepath.Join(filepath.Dir(path), ".qrand-"+rand.Text()+".tmp"), os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, tempfile.Named(path, err)
	}
	return &tempFile{f, path, atExit.add(func() { os.Remove(f.Name()) })}, nil
}

// checkWritable finds out whether files can be made in the folders of the paths, before
// anything is spent on what will be in them.
func checkWritable(paths ...string) error {
	tried := map[string]bool{}
	for _, path := range paths {
		if tried[filepath.Dir(path)] {
			continue
		}
		tried[filepath.Dir(path)] = true
		temp, err := createBeside(path, true, 0o600)
		if err != nil {
			return err
		}
		temp.remove()
	}
	return nil
}

func (t *tempFile) remove() {
	t.Close()
	os.Remove(t.Name())
	t.done()
}

// link is os.Link. A test replaces it by that of a file system without hard links.
var link = os.Link

// place gives the file, which is closed, its name. Without force it does not
// replace a file that came there in the meantime.
func (t *tempFile) place(path string, force bool) error {
	var err error
	if force {
		err = os.Rename(t.Name(), path)
	} else if err = link(t.Name(), path); err == nil {
		if err = os.Remove(t.Name()); err != nil {
			err = errors.Join(err, os.Remove(path)) // after a failure nothing is left
		}
	} else if !errors.Is(err, fs.ErrExist) {
		// The file system has no hard links. Take the name with an empty file,
		// which we may then replace.
		var taken *os.File
		if taken, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err == nil {
			taken.Close() // nothing was written to it
			if err = os.Rename(t.Name(), path); err != nil {
				os.Remove(path) // or somebody would take an empty file for the key
			}
		}
	}
	switch {
	case err == nil:
		t.done()
	case !force && errors.Is(err, fs.ErrExist):
		err = fmt.Errorf("%s: %w", path, errExists)
	case errors.Is(err, syscall.EBUSY):
		err = tempfile.Named(path, err)
		err = fmt.Errorf("%w: is the file mounted by itself? It is replaced, not written into, so mount its folder", err)
	default:
		err = tempfile.Named(path, err)
	}
	return err
}

// writeFile replaces path by a complete file at once. Another process never sees
// half of it.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	return putFile(path, data, mode, func(*tempFile) error { return nil })
}

// putFile is writeFile with something to do when the data is written.
func putFile(path string, data []byte, mode fs.FileMode, written func(*tempFile) error) error {
	temp, err := createBeside(path, true, mode)
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	err = errors.Join(err, written(temp), temp.Close())
	if err == nil {
		err = temp.place(path, true)
	}
	if err != nil {
		temp.remove()
	}
	return err
}

// replaceFile gives a file other content, and keeps its mode. After a failure, or a power cut,
// it has either the old content or the new.
func replaceFile(path string, data []byte) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	err = putFile(path, data, 0o600, func(temp *tempFile) error {
		return errors.Join(temp.Chmod(info.Mode().Perm()), temp.Sync())
	})
	if err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// lockFile waits for the operating system's lock of a file that is replaced, not written into:
// whoever has it may read the file and replace it. The lock ends with the process.
func lockFile(ctx context.Context, path string) (unlock func() error, err error) {
	name, flag := path, os.O_RDONLY
	if runtime.GOOS == "windows" { // which does not replace an open file
		name, flag = path+".lock", os.O_RDWR|os.O_CREATE
	}
	for {
		lock := flock.New(name, flock.SetFlag(flag))
		if _, err := lock.TryLockContext(ctx, 20*time.Millisecond); ctx.Err() != nil {
			return nil, errInterrupted
		} else if errors.Is(err, errors.ErrUnsupported) { // by the file system
			return func() error { return nil }, nil
		} else if err != nil {
			return nil, fmt.Errorf("locking %s: %w", name, err)
		}
		locked, err := lock.Stat()
		var current fs.FileInfo
		if err == nil {
			current, err = os.Stat(name)
		}
		if err == nil && os.SameFile(locked, current) {
			return lock.Unlock, nil
		}
		if err := errors.Join(err, lock.Unlock()); err != nil { // else it was replaced meanwhile
			return nil, err
		}
	}
}

// streamed reports whether what goes to path is written into it: into stdout, which is a dash,
// into a pipe, or into a device such as /dev/null. Beside these there are no other files.
func streamed(path string) bool {
	if path == "-" {
		return true
	}
	info, err := os.Stat(path) // of what a link such as /dev/stdout leads to
	return err == nil && info.Mode()&(fs.ModeCharDevice|fs.ModeNamedPipe) != 0
}

// openStream opens what is streamed, or stdout if path is empty. For a pipe it waits until
// somebody reads.
func openStream(c *console, path string) (io.WriteCloser, error) {
	if path == "" || path == "-" {
		return keptOpen{c.out}, nil
	}
	return os.OpenFile(path, os.O_WRONLY, 0)
}

// keptOpen is a Writer that is not ours to close.
type keptOpen struct{ io.Writer }

func (keptOpen) Close() error { return nil }

// An output is where the bytes of a read go: a stream, or a file that appears under its name
// only when it is complete.
type output struct {
	io.WriteCloser
	temp  *tempFile // nil: a stream
	path  string
	force bool
}

func openOutput(c *console, path string, force bool) (*output, error) {
	if path == "" || streamed(path) {
		w, err := openStream(c, path)
		return &output{WriteCloser: w}, err
	}
	temp, err := createBeside(path, force, 0o600)
	if err != nil {
		return nil, offerForce(err)
	}
	return &output{WriteCloser: temp, temp: temp, path: path, force: force}, nil
}

// discard removes an incomplete file. After keep it does nothing.
func (o *output) discard() {
	if o.temp != nil {
		o.temp.remove()
	}
}

// keep ends a stream, and gives a complete file its name.
func (o *output) keep() error {
	if o.temp == nil {
		return o.Close()
	}
	err := errors.Join(o.temp.Sync(), o.temp.Close())
	if err == nil {
		err = o.temp.place(o.path, o.force)
	}
	if err != nil {
		return offerForce(err)
	}
	o.temp = nil
	return nil
}

// A bundle is files that belong together, such as a key and its record. They
// get their names when all of them are complete, and none replaces another file.
type bundle struct {
	files  []bundled
	placed []placed
}

type bundled struct {
	temp *tempFile
	path string
}

type placed struct {
	path string
	done func() // the file need not be removed any more
}

// add writes a file whose name will be path.
func (b *bundle) add(path string, data []byte, mode fs.FileMode) error {
	temp, err := createBeside(path, false, mode)
	if err != nil {
		return err
	}
	b.files = append(b.files, bundled{temp, path})
	_, err = temp.Write(data)
	return errors.Join(err, temp.Sync(), temp.Close())
}

// place names the files in the order they were added, and makes the names last. Until keep is
// called, discard and an interruption remove them.
func (b *bundle) place() error {
	var folders []string
	for len(b.files) > 0 {
		f := b.files[0]
		if err := f.temp.place(f.path, false); err != nil {
			return err
		}
		b.files, folders = b.files[1:], append(folders, filepath.Dir(f.path))
		b.placed = append(b.placed, placed{f.path, atExit.add(func() { os.Remove(f.path) })})
	}
	for _, folder := range slices.Compact(slices.Sorted(slices.Values(folders))) {
		if err := syncFolder(folder); err != nil {
			return err
		}
	}
	return nil
}

// syncFolder makes the names in a folder survive a power cut, where folders can be
// synced. A folder in which this user may write but not read cannot.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// keep leaves the files that were placed where they are.
func (b *bundle) keep() {
	for _, f := range b.placed {
		f.done()
	}
	b.placed = nil
}

// discard removes the files, unless they were placed and kept.
func (b *bundle) discard() {
	for _, f := range b.files {
		f.temp.remove()
	}
	for _, f := range slices.Backward(b.placed) {
		os.Remove(f.path)
		f.done()
	}
	b.placed = nil
}

// checkFree returns an error if one of the paths exists, or its folder does not.
func checkFree(paths ...string) error {
	for _, path := range paths {
		if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
			return fmt.Errorf("%s is not a regular file", path)
		} else if err == nil {
			return fmt.Errorf("%s: %w: keys are never overwritten, choose another name or move it away", path, errExists)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := checkFolder(path); err != nil {
			return err
		}
	}
	return nil
}

// checkFolder returns an error if the folder of path does not exist.
func checkFolder(path string) error {
	folder := filepath.Dir(path)
	switch info, err := os.Stat(folder); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %s: make it first", folder)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is no folder", folder)
	}
	return nil
}
