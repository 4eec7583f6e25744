// Package clients keeps the list of a relay's clients: who may ask, and for how
// much. Begin with [Open]; [Add], [Revoke] and [Read] serve those who administer
// a list.
package clients

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.com/qrand/internal/hang"
)

// A Client may ask a relay, within its limits. It never holds a token: the relay
// knows only the SHA-256 of each.
type Client struct {
	Name        string    // at most 64 letters, digits and ._-
	Certificate string    // the name in its certificate, see List; empty: it has a token
	Created     time.Time // zero: not known
	Expires     time.Time // from then on it is refused; zero: never
	Rate        int       // requests in a RateWindow; zero: 30, as Qrypt documents; -1: no limit
	Bandwidth   int64     // bytes of entropy a second, on average; zero: 64 KiB; -1: no limit
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

// A List is a relay's list of clients, and what each has used. The list is a file
// that Add and Revoke (qrand relay token) or an editor may change while a relay
// runs: see Watch.
//
// A client shows a token, or a certificate that the relay's TLS verified. A
// certificate is known by the first of its DNS names that is in the list. One
// without DNS names is known by its common name, unless one of its CAs has name
// constraints: those do not bind common names. Names must be equal: no wildcard
// matches.
//
// What clients have used is in a second file, which belongs to one relay: two
// relays need a list each, and a quota then holds for each of them.
type List struct {
	path    string
	read    func(path string) ([]byte, error)
	current atomic.Pointer[index]

	saving sync.Mutex // for file: it is held while the disk writes, and nothing else waits for it
	file   usageFile

	mu   sync.Mutex
	data []byte            // of the list's file, as it is in force
	err  error             // why the file as it is now is not in force
	used map[string]*usage // of names that are no longer in the list, too: a new token is no new quota
}

// An index is read without a lock; a reload makes a new one. How long it takes to
// find a token depends on its hash, which tells nobody anything about the token.
type index struct {
	all           []*Member // sorted by name
	byToken       map[[sha256.Size]byte]*Member
	byCertificate map[string]*Member
	byKey         func() map[[16]byte]keyedMember // by Key.ID; computed at the first call
}

// Open reads a list, and from the file at usagePath what its clients have used so
// far; Save writes that file. If usagePath is empty, the file is beside the list,
// with ".usage" added to the list's name. Where nothing can be written there, as
// in a mounted secret, name another. Open fails while another relay has that file
// open, by whatever name; end with Close, or with the Close of a Relay.
func Open(path, usagePath string) (*List, error) {
	l := &List{path: path, read: readFile}
	// The list is read first: if there is none, the error must say that.
	if _, err := readEntries(path); err != nil {
		return nil, err
	}
	var err error
	if l.file.path, err = resolve(cmp.Or(usagePath, path+usageSuffix)); err != nil {
		return nil, fmt.Errorf("relay: what clients have used cannot be written: %w", err)
	}
	if err := checkUsage(l.file.path, path); err != nil { // before a lock is left beside it
		return nil, err
	}
	// The lock comes before the usage: what another relay still changes must not be read.
	if err := l.file.lock(); err != nil {
		return nil, err
	}
	if l.used, err = l.file.load(); err == nil {
		_, err = l.reload()
	}
	if err == nil {
		err = l.Save() // writes only if there is no file yet, or if it is written in another way
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close lets another relay open the list: while it is open, only this one writes
// what clients have used. It does not save that; the Close of a Relay does both.
func (l *List) Close() error {
	l.saving.Lock()
	defer l.saving.Unlock()
	return l.file.unlock()
}

// watchInterval is how often Watch looks at the file.
const watchInterval = 2 * time.Second

// readLimit is how long the disk may take to give the file, before Watch reports it.
const readLimit = 10 * time.Second

// Watch puts changes of the list in force until ctx is done. After each change it
// calls report: with nil when the new list is in force, or with the reason why the
// old one still is. While the disk hangs, the old one is in force, and Err says so.
func (l *List) Watch(ctx context.Context, report func(error)) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var changed bool
		var err error
		late := func() { report(l.late()) }
		if !hang.Call(ctx, readLimit, func() { changed, err = l.reload() }, late) {
			return
		}
		if changed {
			report(err)
		}
	}
}

// reload reads the file again. A file that cannot be used changes nothing, so that
// a slip in an editor locks nobody out. It compares contents: a file may change
// twice within the resolution of its times.
func (l *List) reload() (changed bool, err error) {
	data, err := l.read(l.path) // without the lock: the disk may hang
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		if l.err == nil && bytes.Equal(data, l.data) {
			return false, nil
		}
		var entries []entry
		if entries, err = parse(l.path, data); err == nil {
			l.current.Store(l.newIndex(entries))
			l.data = data
		}
	}
	changed = err == nil || l.err == nil || err.Error() != l.err.Error()
	l.err = err
	return changed, err
}

// late notes that the disk does not give the file.
func (l *List) late() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = fmt.Errorf("relay: %s cannot be read: its disk has not answered for %v", l.path, readLimit)
	return l.err
}

// newIndex keeps what each name has used, even if its token is a new one. Of its rate
// and its bandwidth it keeps what was used if the limit is the same.
func (l *List) newIndex(entries []entry) *index {
	next := &index{byToken: map[[sha256.Size]byte]*Member{}, byCertificate: map[string]*Member{}}
	before := map[string]*Member{}
	if old := l.current.Load(); old != nil {
		for _, m := range old.all {
			before[m.Name] = m
		}
	}
	for _, e := range entries {
		if l.used[e.Name] == nil {
			l.used[e.Name] = new(usage)
		}
		m := newMember(e.Client, l.used[e.Name])
		if old := before[m.Name]; old != nil {
			if old.Rate == m.Rate {
				m.requests = old.requests
			}
			if old.Bandwidth == m.Bandwidth {
				m.bytes = old.bytes
			}
		}
		next.all = append(next.all, m)
		if m.Certificate != "" {
			next.byCertificate[m.Certificate] = m
		} else {
			next.byToken[e.hash] = m
		}
	}
	sortByName(next.all, func(m *Member) string { return m.Name })
	next.byKey = sync.OnceValue(next.keys)
	return next
}

// Err is why the file as it is now is not the list in force; nil if it is.
func (l *List) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// A Status is a client and what it has used.
type Status struct {
	Client
	PeriodBytes int64     // in the quota's present period; zero without a quota
	PeriodEnds  time.Time // zero without a quota
	TotalBytes  int64     // since the record of it began
	LastUsed    time.Time // when it last asked, to the second; zero: never
}

// Status is that of each client, sorted by name.
func (l *List) Status() []Status {
	now := time.Now()
	var all []Status
	for _, m := range l.current.Load().all {
		all = append(all, m.status(now))
	}
	return all
}

func sortByName[T any](all []T, name func(T) string) {
	slices.SortFunc(all, func(a, b T) int { return strings.Compare(name(a), name(b)) })
}

// Save writes what clients have used, if it has changed, so that a restart goes
// on from there. A crash loses what was used since the last Save. While the disk hangs, Save
// and Close wait, and no other method does.
func (l *List) Save() error {
	l.saving.Lock()
	defer l.saving.Unlock()
	used := map[string]fileUsage{}
	l.mu.Lock()
	for name, one := range l.used {
		if f := one.file(); f != (fileUsage{}) {
			used[name] = f
		}
	}
	l.mu.Unlock()
	return l.file.save(used)
}
