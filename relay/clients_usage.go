package relay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// A usageFile keeps accounts over restarts. One relay writes it.
type usageFile struct {
	path   string
	saved  []byte      // what was read, or written last; nil: nothing
	info   os.FileInfo // of the file then
	locked *os.File    // nil: another may write it
}

// A fileAccount is an account as it is written.
type fileAccount struct {
	PeriodStart time.Time `json:"period_start,omitzero"`
	PeriodBytes int64     `json:"period_bytes,omitzero"`
	TotalBytes  int64     `json:"total_bytes,omitzero"`
	LastUsed    time.Time `json:"last_used,omitzero"`
}

// load reads the accounts; of a file that is not there, none.
func (u *usageFile) load() (map[string]*account, error) {
	accounts := map[string]*account{}
	data, err := os.ReadFile(u.path)
	if errors.Is(err, fs.ErrNotExist) {
		return accounts, nil
	}
	if err != nil {
		return nil, fmt.Errorf("relay: what clients have used: %w", err)
	}
	if u.info, err = os.Stat(u.path); err != nil {
		return nil, fmt.Errorf("relay: what clients have used: %w", err)
	}
	u.saved = data
	var file struct {
		Clients map[string]fileAccount `json:"clients"`
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
		a := &account{periodBytes: f.PeriodBytes, totalBytes: f.TotalBytes}
		if !f.PeriodStart.IsZero() {
			a.periodStart = f.PeriodStart.UnixNano()
		}
		if !f.LastUsed.IsZero() {
			a.lastUsed.Store(f.LastUsed.Unix())
		}
		accounts[name] = a
	}
	if err != nil {
		return nil, fmt.Errorf("relay: %s, what clients have used, is damaged (%w): put a copy in its place, or delete it: then all quotas and totals begin anew", u.path, err)
	}
	return accounts, nil
}

// save writes the accounts if they have changed.
func (u *usageFile) save(accounts map[string]*account) error {
	file := struct {
		Clients map[string]fileAccount `json:"clients"`
	}{map[string]fileAccount{}}
	for name, a := range accounts {
		if f := a.file(); f != (fileAccount{}) {
			file.Clients[name] = f
		}
	}
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
		return fmt.Errorf("relay: what clients have used cannot be written beside their list: %w", err)
	}
	u.saved, u.info = data, info
	return nil
}

// stillOurs reports that somebody else has written the file since we did, who
// holds no lock: two relays with one file would each undo what the other noted.
func (u *usageFile) stillOurs() error {
	info, err := os.Stat(u.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("relay: what clients have used: %w", err)
	}
	if u.info == nil || !os.SameFile(info, u.info) || info.Size() != u.info.Size() || !info.ModTime().Equal(u.info.ModTime()) {
		return fmt.Errorf("relay: somebody else writes %s, so what clients use is not being saved: give each relay a list of clients of its own, and restart this one", u.path)
	}
	return nil
}

func (a *account) file() (f fileAccount) {
	if used := a.lastUsed.Load(); used != 0 {
		f.LastUsed = time.Unix(used, 0).UTC()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	f.PeriodBytes, f.TotalBytes = a.periodBytes, a.totalBytes
	if a.periodStart != 0 {
		f.PeriodStart = time.Unix(0, a.periodStart).UTC()
	}
	return f
}
