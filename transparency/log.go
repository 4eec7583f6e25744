//go:build unix

package transparency

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/tlog"
	"k8s.io/klog/v2"

	"example.com/qrand/provenance/tlogproof"
)

// ErrPending is wrapped by errors that say that an entry is in the log, but that no
// checkpoint covers it yet which witnesses have cosigned. Ask again later.
var ErrPending = errors.New("pending")

// ErrRefused is wrapped by errors that say that an entry is not one for this log.
var ErrRefused = errors.New("refused")

var errClosed = errors.New("the log is closed")

// ErrUnknown is wrapped by errors that say that an entry is not in the log.
var ErrUnknown = errors.New("not in the log")

// A Log is the log in a folder that Create made. Many processes may have it open at the same
// time, but one process only once.
type Log struct {
	dir       string
	tiles     dirSource
	verifier  *tlogproof.Policy // of the log's own keys
	quorum    tessera.WitnessGroup
	witnesses []string // their verifier keys

	ctx    context.Context // of Tessera
	stop   context.CancelFunc
	append func() (*appender, error) // once
	jobs   chan job
	closed chan struct{}
	done   sync.WaitGroup

	mu      sync.Mutex
	index   map[tlog.Hash]int64 // of the leaves below indexed
	indexed int64
	head    head
}

// A head is the newest checkpoint.
type head struct {
	tlogproof.Checkpoint
	text      string // with the signatures
	witnessed bool   // as the policy wants it
}

type appender struct {
	*tessera.Appender
	tessera.LogReader
	witnesses *witnessTransport
}

// Config says how a Log works.
type Config struct {
	// CheckpointInterval is how often the log may make a checkpoint, at least 100 ms. Zero:
	// 100 ms, which suits a process that adds some entries and ends. Tessera's default is 10 s.
	CheckpointInterval time.Duration
}

// Open opens the log in the folder. Close it.
func Open(dir string, cfg Config) (*Log, error) {
	vkeys, err := ReadKeys(filepath.Join(dir, publicFile))
	if err != nil {
		return nil, fmt.Errorf("%s is not the folder of a log: %w", dir, err)
	}
	l := &Log{dir: dir, tiles: dirSource(filepath.Join(dir, tilesDir)), jobs: make(chan job), closed: make(chan struct{}), index: map[tlog.Hash]int64{}}
	if l.verifier, err = tlogproof.NewPolicy(vkeys, nil, 0, 0); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, witnessFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if l.quorum, l.witnesses, err = parseWitnesses(text); err != nil {
		return nil, err
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.append = sync.OnceValues(func() (*appender, error) { return l.newAppender(cfg) })
	return l, nil
}

// Close ends what the log does. It waits for entries that are being added.
func (l *Log) Close() {
	close(l.closed)
	l.done.Wait()
	l.stop()
}

// Origin is the name of the log.
func (l *Log) Origin() string { return l.verifier.Origin() }

const minInterval = 100 * time.Millisecond // Tessera's, on POSIX

// newAppender starts Tessera. Whoever only reads needs no keys, and starts nothing.
func (l *Log) newAppender(cfg Config) (*appender, error) {
	klog.LogToStderr(false) // what goes wrong is in our errors
	klog.SetOutput(io.Discard)
	signers, err := readSigners(l.dir)
	if err != nil {
		return nil, err
	}
	a := &appender{witnesses: &witnessTransport{}}
	driver, err := posix.New(l.ctx, posix.Config{Path: string(l.tiles), HTTPClient: &http.Client{Transport: a.witnesses}})
	if err != nil {
		return nil, err
	}
	interval := max(cfg.CheckpointInterval, minInterval)
	if text, err := l.tiles.read(l.ctx, checkpointPath, tlogproof.MaxSize); err == nil && !l.quorum.Satisfied(text) {
		// The witnesses are newer than the checkpoint. Tessera makes another one of the same
		// tree if the file is old.
		if err := os.Chtimes(filepath.Join(string(l.tiles), checkpointPath), time.Time{}, time.Unix(0, 0)); err != nil {
			return nil, err
		}
	}
	opts := tessera.NewAppendOptions().
		WithCheckpointSigner(signers[0], signers[1:]...).
		WithCheckpointInterval(interval).
		WithBatching(tileWidth, 5*time.Millisecond).
		WithWitnesses(l.quorum, nil)
	if a.Appender, _, a.LogReader, err = tessera.NewAppender(l.ctx, driver, opts); err != nil {
		return nil, err
	}
	l.done.Go(func() { l.sequence(a) })
	return a, nil
}

// Start makes the log ready to append, which it otherwise is at the first need: it publishes
// what another process left unpublished.
func (l *Log) Start() error {
	_, err := l.append()
	return err
}

// A job is entries that wait to be appended together.
type job struct {
	leaves [][]byte
	done   chan<- result
}

type result struct {
	indexes []int64
	err     error
}

// Add appends entries and returns their indexes. Bytes that are in the log keep the index
// that they have, whichever process added them. When Add returns, the entries are on disk:
// no crash loses them. Prove waits until they are in a checkpoint.
func (l *Log) Add(ctx context.Context, leaves ...[]byte) ([]int64, error) {
	for _, leaf := range leaves {
		if err := l.check(ctx, leaf); err != nil {
			return nil, err
		}
	}
	if _, err := l.append(); err != nil {
		return nil, err
	}
	done := make(chan result, 1)
	select {
	case l.jobs <- job{leaves, done}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.closed:
		return nil, errClosed
	}
	r := <-done
	return r.indexes, r.err
}

// check refuses what could never get a proof.
func (l *Log) check(ctx context.Context, leaf []byte) error {
	if len(leaf) > MaxEntry {
		return fmt.Errorf("%w: the envelope has %d bytes, and an entry at most %d", ErrRefused, len(leaf), MaxEntry)
	}
	if err := CheckEnvelope(0, leaf); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	h, err := l.readHead(ctx)
	if err == nil {
		_, err = l.growth(ctx, leaf, h.Checkpoint)
	}
	return err
}

// sequence appends the entries of all jobs that wait, under the lock of the folder. Under
// that, nobody else can append what is not in the log yet.
func (l *Log) sequence(a *appender) {
	lock := flock.New(filepath.Join(l.dir, lockFile))
	for {
		var jobs []job
		select {
		case <-l.closed:
			return
		case j := <-l.jobs:
			jobs = append(jobs, j)
		}
		err := lock.Lock()
		for more := true; more && len(jobs) < tileWidth; {
			select {
			case j := <-l.jobs:
				jobs = append(jobs, j)
			default:
				more = false
			}
		}
		if err == nil {
			err = l.refresh(a)
		}
		futures := map[tlog.Hash]tessera.IndexFuture{}
		for _, j := range jobs {
			for _, leaf := range j.leaves {
				h := tlog.RecordHash(leaf)
				if _, known := l.find(h); err == nil && !known && futures[h] == nil {
					futures[h] = a.Add(l.ctx, tessera.NewEntry(leaf))
				}
			}
		}
		for _, future := range futures {
			if err == nil {
				_, err = future()
			}
		}
		if err == nil {
			err = l.refresh(a)
		}
		err = errors.Join(err, lock.Unlock())
		for _, j := range jobs {
			r := result{err: err}
			for _, leaf := range j.leaves {
				i, _ := l.find(tlog.RecordHash(leaf))
				r.indexes = append(r.indexes, i)
			}
			j.done <- r
		}
	}
}

func (l *Log) find(h tlog.Hash) (int64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := l.index[h]
	return i, ok
}

// refresh reads the hashes of the entries that are new in the tree: what is in the log says
// the log itself, and no second file that a crash could leave behind it.
func (l *Log) refresh(a *appender) error {
	n, err := a.IntegratedSize(l.ctx)
	if err != nil {
		return err
	}
	return l.indexTo(int64(n))
}

func (l *Log) indexTo(size int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.indexed < size {
		n := l.indexed / tileWidth
		t := tlog.Tile{H: tileHeight, N: n, W: int(min(size-n*tileWidth, tileWidth))}
		data, err := readTile(l.ctx, l.tiles, t)
		if err != nil {
			return err
		}
		for i := range t.W {
			h := tlog.Hash(data[i*tlog.HashSize:][:tlog.HashSize])
			if _, ok := l.index[h]; !ok {
				l.index[h] = n*tileWidth + int64(i)
			}
		}
		l.indexed = n*tileWidth + int64(t.W)
	}
	return nil
}

// Head returns the newest checkpoint, as it is published: a signed note.
func (l *Log) Head(ctx context.Context) (string, error) {
	h, err := l.readHead(ctx)
	return h.text, err
}

// readHead verifies a checkpoint once.
func (l *Log) readHead(ctx context.Context) (head, error) {
	text, err := l.tiles.read(ctx, checkpointPath, tlogproof.MaxSize)
	if err != nil {
		return head{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.head.text != string(text) {
		c, _, err := l.verifier.Open(string(text))
		if err != nil {
			return head{}, err
		}
		l.head = head{c, string(text), l.quorum.Satisfied(text)}
	}
	return l.head, nil
}

// Prove returns the proof of an entry, and waits until a checkpoint covers it which the
// witnesses have cosigned. The error is ErrPending if that is not so when ctx is done, and
// ErrUnknown if the log has no such entry.
func (l *Log) Prove(ctx context.Context, leaf []byte) (*tlogproof.Proof, error) {
	h, err := l.readHead(ctx)
	if err == nil {
		err = l.indexTo(h.Size)
	}
	index, ok := l.find(tlog.RecordHash(leaf))
	var a *appender
	if err == nil && !(ok && index < h.Size && h.witnessed) {
		if a, err = l.append(); err == nil { // it publishes what another process left
			err = l.refresh(a)
		}
		index, ok = l.find(tlog.RecordHash(leaf))
	}
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, fmt.Errorf("%w: these bytes were never added", ErrUnknown)
	case a != nil:
		if h, err = l.await(ctx, a, index); err != nil {
			return nil, err
		}
	}
	p := &tlogproof.Proof{Index: index, Checkpoint: h.text}
	if p.Hashes, err = tlog.ProveRecord(h.Size, index, tree(ctx, l.tiles, h.Checkpoint)); err != nil {
		return nil, err
	}
	p.After, err = l.growth(ctx, leaf, h.Checkpoint)
	return p, err
}

// leaf returns the entry with a hash. The error is ErrUnknown if no published checkpoint or
// appended entry has it.
func (l *Log) leaf(ctx context.Context, hash tlog.Hash) ([]byte, error) {
	a, err := l.append()
	if err == nil {
		err = l.refresh(a)
	}
	if err != nil {
		return nil, err
	}
	index, ok := l.find(hash)
	if !ok {
		return nil, fmt.Errorf("%w: these bytes were never added", ErrUnknown)
	}
	l.mu.Lock()
	size := l.indexed
	l.mu.Unlock()
	entries, err := readEntries(ctx, l.tiles, index/tileWidth, size)
	if err != nil {
		return nil, err
	}
	return entries[index%tileWidth], nil
}

// await waits for a checkpoint that covers the entry, and removes what it makes superfluous.
func (l *Log) await(ctx context.Context, a *appender, index int64) (head, error) {
	for {
		h, err := l.readHead(ctx)
		if err != nil {
			return head{}, err
		}
		if index < h.Size && h.witnessed {
			return h, l.tiles.removeNarrow(h.Size)
		}
		select {
		case <-ctx.Done():
			return head{}, fmt.Errorf("%w: the entry is in the log, but not in a checkpoint that the witnesses have cosigned%s", ErrPending, a.witnesses.problems())
		case <-l.closed:
			return head{}, errClosed
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// growth is the consistency proof from the head that the statement in an envelope names to a
// newer one; nil if it names none.
func (l *Log) growth(ctx context.Context, envelope []byte, to tlogproof.Checkpoint) (*tlogproof.Consistency, error) {
	from, err := named(envelope)
	if from == nil {
		return nil, err
	}
	g := &tlogproof.Consistency{Size: from.Size}
	switch {
	case from.Origin != to.Origin:
		return nil, fmt.Errorf("%w: the statement names a head of the log %.100q, and this is %.100q", ErrRefused, from.Origin, to.Origin)
	case from.Size > to.Size:
		return nil, fmt.Errorf("%w: the statement names a head of %d entries, and the log has %d", ErrRefused, from.Size, to.Size)
	case from.Size == 0:
		return g, nil
	}
	hashes := tree(ctx, l.tiles, to)
	h, err := tlog.TreeHash(from.Size, hashes)
	if err != nil {
		return nil, err
	}
	if h != from.Hash {
		return nil, fmt.Errorf("%w: the statement names a head of %d entries of another history", ErrRefused, from.Size)
	}
	g.Hashes, err = tlog.ProveTree(to.Size, from.Size, hashes)
	return g, err
}

// named is the head that the statement in an envelope names, which was seen before its key
// was made: the member "after" of the predicate. Its signatures are for those who verify.
func named(envelope []byte) (*tlogproof.Checkpoint, error) {
	var e struct {
		Payload []byte `json:"payload"`
	}
	var s struct {
		Predicate struct {
			After string `json:"after"`
		} `json:"predicate"`
	}
	if json.Unmarshal(envelope, &e) != nil || json.Unmarshal(e.Payload, &s) != nil || s.Predicate.After == "" {
		return nil, nil
	}
	text, _, _ := strings.Cut(s.Predicate.After, "\n\n")
	c, err := tlogproof.ParseCheckpoint(text + "\n")
	if err != nil {
		return nil, fmt.Errorf("%w: the head that the statement names is %w", ErrRefused, err)
	}
	return &c, nil
}

// removeNarrow removes the partial tiles and bundles that are narrower than those of the
// published checkpoint. Each is the beginning of a wider one, so readTile and Handler still
// give them. Tessera keeps them until the tile is full, which with entries of 4 KB takes up to
// 130 MB, and removes them every minute, which is longer than most processes live.
func (s dirSource) removeNarrow(size int64) (err error) {
	remove := func(f func(string) error, p string) {
		if e := f(p); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	for level := entriesLevel; ; level++ {
		n := size >> (tileHeight * max(level, 0))
		if n == 0 {
			return err
		}
		partial := filepath.Join(string(s), filepath.FromSlash(tilePath(tlog.Tile{H: tileHeight, L: level, N: n / tileWidth, W: tileWidth}))) + ".p"
		full, _ := filepath.Glob(filepath.Join(filepath.Dir(partial), "*.p"))
		for _, p := range full {
			if p < partial { // the numbers have three digits each
				remove(os.RemoveAll, p)
			}
		}
		widths, _ := os.ReadDir(partial)
		for _, f := range widths {
			if w, err := strconv.Atoi(f.Name()); err == nil && int64(w) < n%tileWidth {
				remove(os.Remove, filepath.Join(partial, f.Name()))
			}
		}
	}
}

// A witnessTransport bounds what witnesses answer, and remembers what went wrong last with
// each of them.
type witnessTransport struct {
	mu   sync.Mutex
	last map[string]string // by host
}

func (w *witnessTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	problem := ""
	if err != nil {
		problem = err.Error()
	} else {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, tlogproof.MaxSize), resp.Body}
		if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusConflict {
			problem = "it answers " + resp.Status
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		w.last = map[string]string{}
	}
	w.last[req.URL.Host] = problem
	return resp, err
}

func (w *witnessTransport) problems() (text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for host, problem := range w.last {
		if problem != "" {
			text += fmt.Sprintf("; the witness at %s: %.200s", host, problem)
		}
	}
	return text
}
