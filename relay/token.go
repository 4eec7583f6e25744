package relay

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"
)

// A token's prefix lets scanners for secrets find it where it does not belong.
const (
	tokenPrefix = "qrelay_"
	tokenBytes  = 32
)

// newToken makes a token of 256 random bits. That many cannot be guessed, so the
// list keeps its plain SHA-256: the salt and the slowness that passwords need
// would protect nothing here, and cost on each request.
func newToken() (string, error) {
	var b [tokenBytes]byte
	if _, err := io.ReadFull(osReader, b[:]); err != nil {
		return "", fmt.Errorf("relay: crypto/rand failed: %w", err)
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// Errors of AddClient and RevokeClient.
var (
	ErrClientExists = errors.New("relay: there is a client of that name already")
	ErrNoClient     = errors.New("relay: there is no client of that name")
)

// AddClient adds a client to the list in the file, which it makes if need be, and
// returns the client's token: nobody can learn that again. A client with a
// Certificate has none. Created is now if it is zero.
func AddClient(path string, c Client) (token string, err error) {
	e := entry{Client: c}
	if c.Certificate == "" {
		if token, err = newToken(); err != nil {
			return "", err
		}
		e.hash = hashToken(token)
	}
	if e.Created.IsZero() {
		e.Created = time.Now().Truncate(time.Second)
	}
	if e.Rate == 0 {
		e.Rate = defaultClientRate
	}
	err = editClients(path, true, func(entries []entry) ([]entry, error) {
		if slices.ContainsFunc(entries, e.isNamed) {
			return nil, fmt.Errorf("%w: revoke that one first, or choose another name", ErrClientExists)
		}
		return append(entries, e), nil
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// RevokeClient takes a client from the list. A relay that runs refuses it when it
// has looked at the list again, some seconds later.
func RevokeClient(path, name string) error {
	gone := entry{Client: Client{Name: name}}
	return editClients(path, false, func(entries []entry) ([]entry, error) {
		kept := slices.DeleteFunc(slices.Clone(entries), gone.isNamed)
		if len(kept) == len(entries) {
			return nil, ErrNoClient
		}
		return kept, nil
	})
}

func (e *entry) isNamed(other entry) bool { return e.Name == other.Name }

// ListClients reads the list, and what clients had used when the relay last noted
// it. Empty usagePath: beside the list.
func ListClients(path, usagePath string) ([]ClientStatus, error) {
	entries, err := readClients(path)
	if err != nil {
		return nil, err
	}
	usage := usageFile{path: usageBeside(path, usagePath)}
	accounts, err := usage.load()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	all := make([]ClientStatus, 0, len(entries))
	for _, e := range entries {
		cl := &client{Client: e.Client, account: accounts[e.Name]}
		if cl.account == nil {
			cl.account = new(account)
		}
		all = append(all, cl.status(now))
	}
	sortByName(all, func(st ClientStatus) string { return st.Name })
	return all, nil
}

// editClients changes the list, one editor at a time. The operating system's lock
// is on a file of its own, which stays: the list itself is replaced, and a lock
// that ends with its process needs no guess whether it is stale.
func editClients(path string, create bool, edit func([]entry) ([]entry, error)) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // renaming would put a file in place of the link
	}
	if _, err := readFile(path); err != nil && !(create && errors.Is(err, fs.ErrNotExist)) {
		return err // before a lock is left beside what is no list
	}
	unlock, err := lockedfile.MutexAt(path + ".lock").Lock()
	if err != nil {
		return fmt.Errorf("relay: the list of clients cannot be locked: %w", err)
	}
	defer unlock()
	entries, err := readClients(path)
	if err != nil && !(create && errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	if entries, err = edit(entries); err != nil {
		return err
	}
	data := encodeClients(entries)
	// What a relay would refuse is not written.
	if _, err := parseClients(path, data); err != nil {
		return err
	}
	if len(data) > maxClientsFile {
		return fmt.Errorf("relay: %s would have more than %d bytes", path, maxClientsFile)
	}
	if _, err := replaceFile(path, data); err != nil {
		return fmt.Errorf("relay: the list of clients cannot be written: %w", err)
	}
	return nil
}
