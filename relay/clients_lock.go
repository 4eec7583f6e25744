package relay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// errLocked is tryLock's when another has the lock.
var errLocked = errors.New("it is locked")

// lock makes this relay the one that writes the file, or fails at once. The lock
// is the operating system's, on a file of its own, which stays: it ends with the
// process, so that a relay that was killed leaves nothing in the way of the next.
func (u *usageFile) lock() (err error) {
	f, err := os.OpenFile(u.path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("relay: what clients have used cannot be written: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := tryLock(f); errors.Is(err, errLocked) {
		return fmt.Errorf("relay: a relay that runs writes %s, what its clients have used: end that one first, or give this one a list of clients of its own", u.path)
	} else if err != nil {
		return fmt.Errorf("relay: %s.lock cannot be locked, so another relay might write what clients have used: keep that on another file system: %w", u.path, err)
	}
	// That nothing can be written is found now, not when there is much to lose.
	probe, err := os.CreateTemp(filepath.Dir(u.path), "."+filepath.Base(u.path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("relay: what clients have used cannot be written: %w", err)
	}
	if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return fmt.Errorf("relay: what clients have used cannot be written: %w", err)
	}
	u.locked = f
	return nil
}

// unlock gives the file up; after it, save writes nothing.
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
