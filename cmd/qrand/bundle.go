package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
)

// A bundle is files that belong together, such as a key and its record: they
// get their names when all of them are complete, and none replaces another.
type bundle struct {
	files []bundled
}

type bundled struct {
	temp *tempFile
	path string
}

// add writes a file that will be called path.
func (b *bundle) add(path string, data []byte, mode fs.FileMode) error {
	temp, err := createBeside(path, false)
	if err != nil {
		return err
	}
	b.files = append(b.files, bundled{temp, path})
	_, err = temp.Write(data)
	return errors.Join(err, temp.Chmod(mode), temp.Sync(), temp.Close())
}

// place names the files, in the order they were added. If one cannot be named,
// or the process is interrupted, those that were are removed again.
func (b *bundle) place() error {
	for i, f := range b.files {
		if err := f.temp.place(f.path, false); err != nil {
			for _, placed := range b.files[:i] {
				err = errors.Join(err, os.Remove(placed.path))
			}
			b.files = b.files[i:]
			return err
		}
		defer atExit.add(func() { os.Remove(f.path) })()
	}
	var folders []string
	for _, f := range b.files {
		folders = append(folders, filepath.Dir(f.path))
	}
	b.files = nil
	var err error
	for _, folder := range slices.Compact(slices.Sorted(slices.Values(folders))) {
		err = errors.Join(err, syncFolder(folder))
	}
	return err
}

// syncFolder makes the names in a folder outlive a power cut, where folders can be
// synced.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// discard removes what was not placed.
func (b *bundle) discard() {
	for _, f := range b.files {
		f.temp.remove()
	}
}

// free reports an error if any of the paths is taken, or cannot be written.
func free(paths ...string) error {
	for _, path := range paths {
		if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
			return fmt.Errorf("%s is not a regular file", path)
		} else if err == nil {
			return fmt.Errorf("%s: %w: keys are never overwritten, choose another name or move it away", path, errExists)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if info, err := os.Stat(filepath.Dir(path)); err != nil {
			return err
		} else if !info.IsDir() {
			return fmt.Errorf("%s is no folder", filepath.Dir(path))
		}
	}
	return nil
}
