package clients

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"example.com/qrand/internal/osrand"
)

// A token's prefix lets scanners for secrets find it where it does not belong.
const (
	tokenPrefix = "qrelay_"
	tokenBytes  = 32
)

// newToken makes a token of 256 random bits. That many cannot be guessed, so the
// list keeps its plain SHA-256: the salt and the slowness that passwords need
// would protect nothing here, and would slow down each request.
func newToken() (string, error) {
	var b [tokenBytes]byte
	if _, err := io.ReadFull(osrand.Reader(), b[:]); err != nil {
		return "", fmt.Errorf("relay: crypto/rand failed: %w", err)
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// Errors of Add and Revoke.
var (
	ErrExists  = errors.New("relay: there is a client of that name already")
	ErrUnknown = errors.New("relay: there is no client of that name")
)

// Add adds a client to the list at path, which it makes if there is none. It
// returns the client's token, which cannot be read anywhere later. A client with a
// Certificate has none. A zero Created means now.
func Add(path string, c Client) (token string, err error) {
	e := entry{Client: c}
	if !namePattern().MatchString(c.Name) {
		return "", fmt.Errorf("relay: %.100q cannot be the name of a client: 1 to 64 letters, digits and ._- can, of which the first is a letter or digit", c.Name)
	}
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
		e.Rate = defaultRate
	}
	if e.Bandwidth == 0 && !e.Operator {
		e.Bandwidth = defaultBandwidth
	}
	err = edit(path, true, func(entries []entry) ([]entry, error) {
		if slices.ContainsFunc(entries, func(other entry) bool { return other.Name == e.Name }) {
			return nil, fmt.Errorf("%w: revoke that one first, or choose another name", ErrExists)
		}
		return append(entries, e), nil
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// Revoke takes a client off the list at path. A running relay refuses it when it
// has read the list again, some seconds later.
func Revoke(path, name string) error {
	return edit(path, false, func(entries []entry) ([]entry, error) {
		kept := slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return e.Name == name })
		if len(kept) == len(entries) {
			return nil, ErrUnknown
		}
		return kept, nil
	})
}

// Read reads the list at path, sorted by name, and what clients had used when the
// relay last saved it. For usagePath see Open.
func Read(path, usagePath string) ([]Status, error) {
	entries, err := readEntries(path)
	if err != nil {
		return nil, err
	}
	file := usageFile{path: cmp.Or(usagePath, path+usageSuffix)} // reading follows links
	if err := checkUsage(file.path, path); err != nil {
		return nil, err
	}
	used, err := file.load()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	all := make([]Status, 0, len(entries))
	for _, e := range entries {
		m := Member{Client: e.Client, used: cmp.Or(used[e.Name], new(usage))}
		all = append(all, m.status(now))
	}
	sortByName(all, func(st Status) string { return st.Name })
	return all, nil
}

// edit changes the list. Only one process does so at a time.
func edit(path string, create bool, change func([]entry) ([]entry, error)) error {
	path, err := resolve(path)
	if err != nil {
		return fmt.Errorf("relay: the list of clients: %w", err)
	}
	if _, err := readFile(path); err != nil && !(create && errors.Is(err, fs.ErrNotExist)) {
		return err // before a lock is left beside a file that is no list
	}
	lock := newLock(path, 0o666)
	err = lock.Lock()
	for errors.Is(err, syscall.EINTR) { // which happens on network file systems
		err = lock.Lock()
	}
	if err != nil {
		return fmt.Errorf("relay: the list of clients cannot be locked: %w", err)
	}
	defer lock.Close()
	entries, err := readEntries(path)
	if err != nil && !(create && errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	if entries, err = change(entries); err != nil {
		return err
	}
	data := encode(entries)
	// A list that a relay would refuse is not written.
	if _, err := parse(path, data); err != nil {
		return err
	}
	if len(data) > maxFile {
		return fmt.Errorf("relay: %s would have more than %d bytes", path, maxFile)
	}
	if _, err := replaceFile(path, data); err != nil {
		return fmt.Errorf("relay: the list of clients cannot be written: %w", err)
	}
	return nil
}
