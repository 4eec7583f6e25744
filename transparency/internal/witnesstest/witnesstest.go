// Package witnesstest has a witness (https://c2sp.org/tlog-witness) for tests. It keeps what it
// has seen in memory, so it forgets a log when the process ends: do not trust it elsewhere.
package witnesstest

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	f_note "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"example.com/qrand/provenance/tlogproof"
)

// A Witness cosigns the checkpoints of logs that it knows, and no second history of them.
type Witness struct {
	Name, VKey, URL string
	signer          note.Signer

	mu      sync.Mutex
	logs    map[string]*tlogproof.Policy
	heads   map[string]tlogproof.Checkpoint
	away    bool
	refused []string
}

// New starts a witness on this host with an ML-DSA-44 key, or one of Ed25519, until the test
// ends.
func New(t testing.TB, name string, pq bool) *Witness {
	t.Helper()
	w := &Witness{Name: name, logs: map[string]*tlogproof.Policy{}, heads: map[string]tlogproof.Checkpoint{}}
	skey, vkey, err := note.GenerateKey(nil, name)
	if pq {
		skey, vkey, err = f_note.GenerateMLDSAKey(name)
	} else if err == nil {
		vkey, err = f_note.VKeyToCosignatureV1(vkey)
	}
	if err == nil {
		w.VKey = vkey
		w.signer, err = f_note.NewSignerForCosignatureV1(skey)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(w)
	t.Cleanup(s.Close)
	w.URL = s.URL
	return w
}

// Policy is the policy of a log that wants that many of the witnesses.
func Policy(quorum int, witnesses ...*Witness) []byte {
	var names, text strings.Builder
	for i, w := range witnesses {
		fmt.Fprintf(&text, "witness w%d %s %s\n", i, w.VKey, w.URL)
		fmt.Fprintf(&names, " w%d", i)
	}
	fmt.Fprintf(&text, "group all-of-them %d%s\nquorum all-of-them\n", quorum, &names)
	return []byte(text.String())
}

// Trust makes the witness know a log.
func (w *Witness) Trust(t testing.TB, vkeys ...string) {
	t.Helper()
	p, err := tlogproof.NewPolicy(vkeys, nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logs[p.Origin()] = p
}

// Impersonate gives the witness the key of another, but not what that has seen.
func (w *Witness) Impersonate(other *Witness) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.VKey, w.signer = other.VKey, other.signer
}

// SetAway makes the witness answer 503, or no longer.
func (w *Witness) SetAway(away bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = away
}

// Refused returns why the witness did not cosign, for each time.
func (w *Witness) Refused() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused
}

func (w *Witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, 1<<20))
	if w.away || err != nil || r.Method != http.MethodPost || r.URL.Path != "/add-checkpoint" {
		http.Error(rw, "away", http.StatusServiceUnavailable)
		return
	}
	status, answer := w.add(string(body))
	if status == http.StatusConflict {
		rw.Header().Set("Content-Type", "text/x.tlog.size")
	} else if status != http.StatusOK {
		w.refused = append(w.refused, answer)
	}
	rw.WriteHeader(status)
	io.WriteString(rw, answer)
}

// add is add-checkpoint of https://c2sp.org/tlog-witness.
func (w *Witness) add(body string) (status int, answer string) {
	request, checkpoint, ok := strings.Cut(body, "\n\n")
	lines := strings.Split(request, "\n")
	old, err := strconv.ParseInt(strings.TrimPrefix(lines[0], "old "), 10, 64)
	if !ok || err != nil || lines[0] != fmt.Sprintf("old %d", old) || len(lines) > 64 {
		return http.StatusBadRequest, "malformed"
	}
	var proof tlog.TreeProof
	for _, line := range lines[1:] {
		b, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(b) != tlog.HashSize {
			return http.StatusBadRequest, "malformed hash"
		}
		proof = append(proof, tlog.Hash(b))
	}
	origin, _, _ := strings.Cut(checkpoint, "\n")
	p := w.logs[origin]
	if p == nil {
		return http.StatusNotFound, "unknown log"
	}
	c, _, err := p.Open(checkpoint)
	if err != nil {
		return http.StatusForbidden, err.Error()
	}
	last := w.heads[origin]
	switch {
	case old > c.Size:
		return http.StatusBadRequest, "the old size is larger than the checkpoint"
	case old != last.Size:
		return http.StatusConflict, fmt.Sprintf("%d\n", last.Size)
	case old == 0 && len(proof) > 0, old == c.Size && old > 0 && c.Hash != last.Hash:
		return http.StatusUnprocessableEntity, "another history"
	case old > 0:
		if err := tlog.CheckTree(proof, c.Size, c.Hash, old, last.Hash); err != nil {
			return http.StatusUnprocessableEntity, "another history"
		}
	}
	n, err := note.Sign(&note.Note{Text: c.String()}, w.signer)
	if err != nil {
		return http.StatusInternalServerError, err.Error()
	}
	w.heads[origin] = c
	_, line, _ := strings.Cut(string(n), "\n\n")
	return http.StatusOK, line
}
