package relay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Client is who may ask a relay, and for how much. It never holds a token:
// the relay knows only the SHA-256 of each.
type Client struct {
	Name        string    // at most 64 letters, digits and ._-
	Certificate string    // the name in its certificate, see Clients; empty: it has a token
	Created     time.Time // zero: not known
	Expires     time.Time // from then on it is refused; zero: never
	Rate        int       // requests in 10 s; zero: 30, as Qrypt documents; -1: no limit
	Quota       Quota     // zero: none
	Operator    bool      // may see the operator's pages, and gets no entropy; false: the reverse
}

// A Quota is how many bytes of entropy a client gets in each period. Periods
// are counted from 1970 (UTC), not from a client's first request, so that a
// restart begins none and 24h is from midnight to midnight.
type Quota struct {
	Bytes  int64
	Period time.Duration
}

// PeriodString writes 24h, where Period.String writes 24h0m0s.
func (q Quota) PeriodString() string {
	text := q.Period.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Clients is the list of a relay's clients, and what each has used. The list is
// a file that AddClient and RevokeClient (qrand relay token) or an editor
// change while the relay runs, which takes changes over.
//
// A client shows a token, or a certificate that the relay's TLS verified: it is
// known by the certificate's DNS names, the first that is in the list, or by the
// common name if it has no DNS name and none of its CAs has name constraints, for
// those do not bind common names. Names must be equal: no wildcard matches.
//
// What clients have used is in a second file, which belongs to one relay: two
// relays need a list each, and a quota then holds for each of them.
type Clients struct {
	path  string
	usage usageFile
	list  atomic.Pointer[clientList]

	mu       sync.Mutex
	data     []byte              // of the file, as it is in force
	err      error               // why the file as it is now is not in force
	accounts map[string]*account // also of names that are no longer in the list: a new token is no new quota
}

// A clientList is looked up without a lock; a reload makes another. That the
// time a look-up takes depends on the hash tells nobody anything of a token.
type clientList struct {
	all           []*client // sorted by name
	byToken       map[[sha256.Size]byte]*client
	byCertificate map[string]*client
}

// OpenClients reads the list of clients, and what they used so far from the file
// of the same name with ".usage" added, in which Save writes it. It fails while
// another has that file open; end it with Close, or with that of a Relay.
func OpenClients(path string) (*Clients, error) { return OpenClientsWithUsage(path, "") }

// OpenClientsWithUsage is OpenClients for a list in a folder where nothing can be
// written, such as a mounted secret: what clients use is in a file elsewhere.
// Empty: beside the list.
func OpenClientsWithUsage(path, usagePath string) (*Clients, error) {
	c := &Clients{path: path, usage: usageFile{path: usageBeside(path, usagePath)}}
	// The list first: who has none yet is to hear of that.
	if _, err := readClients(path); err != nil {
		return nil, err
	}
	// Then the lock: what another relay still changes must not be read.
	if err := c.usage.lock(); err != nil {
		return nil, err
	}
	var err error
	if c.accounts, err = c.usage.load(); err == nil {
		_, err = c.reload()
	}
	if err == nil {
		err = c.Save() // nothing, unless there is no file yet or it is written in another way
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Close lets another open the list: while it is open, what clients use is one
// relay's to write. It saves nothing. The Close of a Relay does both.
func (c *Clients) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.usage.unlock()
}

func usageBeside(path, usagePath string) string {
	if usagePath == "" {
		return path + ".usage"
	}
	return usagePath
}

// clientsInterval is how often watch looks at the file.
const clientsInterval = 2 * time.Second

// watch takes over changes of the list until ctx is done. After each change it
// calls report, if that is not nil: with nil when the new list is in force, or
// with the reason why the old one still is.
func (c *Clients) watch(ctx context.Context, report func(error)) {
	tick := time.NewTicker(clientsInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if changed, err := c.reload(); changed && report != nil {
				report(err)
			}
		}
	}
}

// reload reads the file anew. A file that cannot be used changes nothing, so that
// a slip of an editor locks nobody out. It compares contents: a file may change
// twice within the resolution of its times.
func (c *Clients) reload() (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, err := readFile(c.path)
	if err == nil {
		if c.err == nil && bytes.Equal(data, c.data) {
			return false, nil
		}
		var entries []entry
		if entries, err = parseClients(c.path, data); err == nil {
			c.list.Store(c.newList(entries))
			c.data = data
		}
	}
	changed = err == nil || c.err == nil || err.Error() != c.err.Error()
	c.err = err
	return changed, err
}

// Err is why the file as it is now is not the list in force; nil if it is.
func (c *Clients) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// newList keeps what each name has used, even if its token is another, and its
// limiter where the limit is the same.
func (c *Clients) newList(entries []entry) *clientList {
	l := &clientList{byToken: map[[sha256.Size]byte]*client{}, byCertificate: map[string]*client{}}
	limited := map[string]*client{}
	if old := c.list.Load(); old != nil {
		for _, cl := range old.all {
			limited[cl.Name] = cl
		}
	}
	for _, e := range entries {
		cl := &client{Client: e.Client, account: c.accounts[e.Name]}
		if cl.account == nil {
			cl.account = new(account)
			c.accounts[e.Name] = cl.account
		}
		if old := limited[cl.Name]; old != nil && old.Rate == cl.Rate {
			cl.limiter = old.limiter
		} else {
			cl.limiter = newLimiter(cl.Rate)
		}
		l.all = append(l.all, cl)
		if cl.Certificate != "" {
			l.byCertificate[cl.Certificate] = cl
		} else {
			l.byToken[e.hash] = cl
		}
	}
	sortByName(l.all, func(cl *client) string { return cl.Name })
	return l
}

// A ClientStatus is a client and what it has used.
type ClientStatus struct {
	Client
	PeriodBytes int64     // in the quota's present period; zero without a quota
	PeriodEnds  time.Time // zero without a quota
	TotalBytes  int64     // since there is a record
	LastUsed    time.Time // when it was last recognised, to the second; zero: never
}

// Status tells of each client, sorted by name.
func (c *Clients) Status() []ClientStatus {
	now := time.Now()
	var all []ClientStatus
	for _, cl := range c.list.Load().all {
		all = append(all, cl.status(now))
	}
	return all
}

// Save writes what clients have used, if it has changed, so that a restart goes
// on from there. What was used since the last Save is lost in a crash.
func (c *Clients) Save() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.usage.save(c.accounts)
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case os.IsNotExist(err):
		return nil, fmt.Errorf("relay: there is no list of clients in %s: qrand relay token new makes it, with a first client (%w)", path, os.ErrNotExist)
	case err != nil:
		return nil, fmt.Errorf("relay: the list of clients: %w", err)
	case !info.Mode().IsRegular(): // a pipe would keep us waiting
		return nil, fmt.Errorf("relay: %s is not a regular file: name the file with the list of clients", path)
	case info.Size() > maxClientsFile:
		return nil, fmt.Errorf("relay: %s has more than %d bytes: is it the list of clients?", path, maxClientsFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("relay: the list of clients: %w", err)
	}
	return data, nil
}
