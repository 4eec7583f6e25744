package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// usageSuffix follows the list's path in that of a usageFile beside it.
const usageSuffix = ".usage"

// A usageFile keeps what clients have used over restarts. One relay writes it.
type usageFile struct {
	path   string
	saved  []byte       // what was read, or written last; nil: nothing
	info   os.FileInfo  // of the file then
	locked *flock.Flock // nil: another may write it
}

// A fileUsage is a usage as it is written.
type fileUsage struct {
	PeriodStart time.Time `json:"period_start,omitzero"`
	PeriodBytes int64     `json:"period_bytes,omitzero"`
	TotalBytes  int64     `json:"total_bytes,omitzero"`
	LastUsed    time.Time `json:"last_used,omitzero"`
}

// checkUsage refuses a path that is that of the list, of a pipe, which would keep us waiting,
// or of something else that is no file: the error for a damaged file says to delete it.
func checkUsage(path, list string) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil // there may be none yet; load says what else is wrong
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("relay: %s is not a regular file: name the file of what clients have used", path)
	}
	if other, err := os.Stat(list); err == nil && os.SameFile(info, other) {
		return fmt.Errorf("relay: %s is the list of clients: name another file for what they have used", path)
	}
	return nil
}

// lock makes this relay the one that writes the file, or fails at once.
func (u *usageFile) lock() error {
	lock := newLock(u.path, 0o600)
	locked, err := lock.TryLock()
	for errors.Is(err, syscall.EINTR) { // which happens on network file systems
		locked, err = lock.TryLock()
	}
	var open *fs.PathError
	switch {
	case errors.As(err, &open):
		return fmt.Errorf("relay: what clients have used cannot be written: %w", err)
	case err != nil:
		return fmt.Errorf("relay: %s cannot be locked, so another relay might write what clients have used: keep that on another file system: %w", lock, err)
	case !locked:
		return fmt.Errorf("relay: a relay that runs writes %s, what its clients have used: end that one first, or give this one a list of clients of its own", u.path)
	}
	u.locked = lock
	return nil
}

// unlock lets another relay write the file; from then on save fails.
func (u *usageFile) unlock() error {
	if u.locked == nil {
		return nil
	}
	err := u.locked.Close()
	u.locked = nil
	if err != nil {
		return fmt.Errorf("relay: %s.lock: %w", u.path, err)
	}
	return nil
}

// load reads what clients have used; nothing, if there is no file.
func (u *usageFile) load() (map[string]*usage, error) {
	used := map[string]*usage{}
	data, err := os.ReadFile(u.path)
	if errors.Is(err, fs.ErrNotExist) {
		return used, nil
	}
	if err != nil {
		return nil, fmt.Errorf("relay: what clients have used: %w", err)
	}
	if u.info, err = os.Stat(u.path); err != nil {
		return nil, fmt.Errorf("relay: what clients have used: %w", err)
	}
	if names(u.info) > 1 && u.locked != nil {
		return nil, fmt.Errorf("relay: %s, what clients have used, has another name by a hard link, and another relay may use it by that: make a copy of it, for this relay alone", u.path)
	}
	u.saved = data
	var file struct {
		Clients map[string]fileUsage `json:"clients"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err = d.Decode(&file)
	if err == nil {
		if _, end := d.Token(); end != io.EOF {
			err = errors.New("something follows the accounts")
		}
	}
	if err == nil && file.Clients == nil {
		err = errors.New("there are no accounts")
	}
	for name, f := range file.Clients {
		if f.PeriodBytes < 0 || f.TotalBytes < 0 {
			err = fmt.Errorf("%.64q has used less than nothing", name)
		}
		one := &usage{periodBytes: f.PeriodBytes, totalBytes: f.TotalBytes}
		if !f.PeriodStart.IsZero() {
			one.periodStart = f.PeriodStart.UnixNano()
		}
		if !f.LastUsed.IsZero() {
			one.lastUsed.Store(f.LastUsed.Unix())
		}
		used[name] = one
	}
	if err != nil {
		return nil, fmt.Errorf("relay: %s, what clients have used, is damaged (%w): put a copy in its place, or delete it: then all quotas and totals begin anew", u.path, err)
	}
	if u.locked != nil { // if the file cannot be replaced, that must show now, not when there is much to lose
		if u.info, err = replaceFile(u.path, data); err != nil {
			return nil, fmt.Errorf("relay: what clients have used cannot be written: %w", err)
		}
	}
	return used, nil
}

// save writes what clients have used, if it has changed.
func (u *usageFile) save(used map[string]fileUsage) error {
	file := struct {
		Clients map[string]fileUsage `json:"clients"`
	}{used}
	data, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return fmt.Errorf("relay: what clients have used: %w", err)
	}
	data = append(data, '\n')
	if bytes.Equal(data, u.saved) {
		return nil
	}
	if u.locked == nil {
		return fmt.Errorf("relay: %s, what clients have used, is not written after Close", u.path)
	}
	if err := u.stillOurs(); err != nil {
		return err
	}
	info, err := replaceFile(u.path, data)
	if err != nil {
		return fmt.Errorf("relay: what clients have used cannot be written: %w", err)
	}
	u.saved, u.info = data, info
	return nil
}

// stillOurs fails if somebody else, without the lock, has written other things into the file
// since we did: two relays with one file would each undo what the other noted.
func (u *usageFile) stillOurs() error {
	info, err := os.Stat(u.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("relay: what clients have used: %w", err)
	}
	if u.info != nil && os.SameFile(info, u.info) && info.Size() == u.info.Size() && info.ModTime().Equal(u.info.ModTime()) {
		return nil
	}
	// It may have been copied, restored or touched, and have the same in it.
	data, err := os.ReadFile(u.path)
	if err != nil {
		return fmt.Errorf("relay: what clients have used: %w", err)
	}
	if u.saved == nil || !bytes.Equal(data, u.saved) {
		return fmt.Errorf("relay: somebody else writes %s, so what clients use is not being saved: give each relay a list of clients of its own, and restart this one", u.path)
	}
	return nil
}

func (one *usage) file() (f fileUsage) {
	if seconds := one.lastUsed.Load(); seconds != 0 {
		f.LastUsed = time.Unix(seconds, 0).UTC()
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	f.PeriodBytes, f.TotalBytes = one.periodBytes, one.totalBytes
	if one.periodStart != 0 {
		f.PeriodStart = time.Unix(0, one.periodStart).UTC()
	}
	return f
}
