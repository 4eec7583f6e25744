//go:build unix

package transparency

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/qrand/provenance/tlogproof"
	"example.com/qrand/transparency/internal/witnesstest"
)

// envelope is one that looks like a statement's, with filler.
func envelope(i int, after string) []byte {
	statement := fmt.Sprintf(`{"number":%d,"predicate":{"after":%q},"filler":"%s"}`, i, after, strings.Repeat("f", 2500))
	return fmt.Appendf(nil, `{"payloadType":"application/vnd.in-toto+json","payload":"%s","signatures":[]}`+"\n", base64.StdEncoding.EncodeToString([]byte(statement)))
}

const origin = "log.example/keys"

// newLog makes a log with witnesses, and the policy of somebody who verifies its proofs.
func newLog(t testing.TB, quorum int, witnesses ...*witnesstest.Witness) (dir string, p *tlogproof.Policy) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "log")
	var text []byte
	if quorum > 0 {
		text = witnesstest.Policy(quorum, witnesses...)
	}
	vkeys, err := Create(dir, origin, text)
	if err != nil {
		t.Fatal(err)
	}
	var witnessKeys []string
	for _, w := range witnesses {
		w.Trust(t, vkeys...)
		witnessKeys = append(witnessKeys, w.VKey)
	}
	if p, err = tlogproof.NewPolicy(vkeys, witnessKeys, quorum, 0); err != nil {
		t.Fatal(err)
	}
	return dir, p
}

func open(t testing.TB, dir string) *Log {
	t.Helper()
	l, err := Open(dir, Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-l.closed:
		default:
			l.Close()
		}
	})
	return l
}

func add(t testing.TB, l *Log, leaves ...[]byte) []int64 {
	t.Helper()
	indexes, err := l.Add(t.Context(), leaves...)
	if err != nil {
		t.Fatal(err)
	}
	return indexes
}

// prove returns a proof that was written and read, and what follows from it.
func prove(t testing.TB, l *Log, p *tlogproof.Policy, leaf []byte, after string) (*tlogproof.Proof, tlogproof.Verdict) {
	t.Helper()
	proof, err := l.Prove(t.Context(), leaf)
	if err != nil {
		t.Fatal(err)
	}
	read, err := tlogproof.Parse(proof.Encode())
	if err != nil {
		t.Fatal(err)
	}
	v, err := p.Verify(read, tlogproof.Entry{Leaf: leaf, After: after})
	if err != nil {
		t.Fatal(err)
	}
	return proof, v
}

// TestLog: entries get one index each and proofs that verify, with both keys of the log and
// the witnesses, also after the log was closed and opened.
func TestLog(t *testing.T) {
	w1, w2 := witnesstest.New(t, "witness.example/1", false), witnesstest.New(t, "witness.example/2", true)
	dir, p := newLog(t, 2, w1, w2)
	l := open(t, dir)
	first, err := l.Head(t.Context())
	if err != nil || !strings.HasPrefix(first, origin+"\n0\n") {
		t.Fatalf("%q, %v", first, err)
	}
	a, b := envelope(1, ""), envelope(2, first)
	if got := fmt.Sprint(add(t, l, a, b, a), add(t, l, b)); got != "[0 1 0] [1]" {
		t.Errorf("the indexes are %s", got)
	}
	_, v := prove(t, l, p, b, first)
	if v.Index != 1 || v.Size != 2 || len(v.Cosignatures) != 2 || time.Since(v.Time) > time.Minute {
		t.Errorf("%+v", v)
	}
	l.Close()

	l = open(t, dir)
	head, err := l.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := envelope(3, head)
	if got := fmt.Sprint(add(t, l, a, c)); got != "[0 2]" {
		t.Errorf("the indexes are %s", got)
	}
	proof, v := prove(t, l, p, c, head)
	if v.NotBefore.IsZero() || proof.After.Size != 2 || v.Index != 2 || v.Size != 3 {
		t.Errorf("%+v of %+v", v, proof)
	}
	if _, err := p.Verify(proof, tlogproof.Entry{Leaf: b, After: first}); err == nil {
		t.Error("the proof of an entry is good for another one")
	}
	if _, err := l.Prove(t.Context(), envelope(4, "")); !errors.Is(err, ErrUnknown) {
		t.Errorf("an entry that is not there: %v", err)
	}
	if got := w1.Refused(); len(got) > 0 {
		t.Errorf("a witness refused: %q", got)
	}
}

// pending asks for a proof until the error says that it waits, and what the witness answered.
func pending(t *testing.T, l *Log, leaf []byte, status string) {
	t.Helper()
	var err error
	for range 50 { // a checkpoint may not have been due yet
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err = l.Prove(ctx, leaf)
		cancel()
		if !errors.Is(err, ErrPending) || strings.Contains(err.Error(), status) {
			break
		}
	}
	if !errors.Is(err, ErrPending) || !strings.Contains(err.Error(), status) {
		t.Errorf("got %v, want it pending after %s", err, status)
	}
}

// TestRefused: what can never get a proof, or is no envelope, does not get in.
func TestRefused(t *testing.T) {
	dir, _ := newLog(t, 0)
	l := open(t, dir)
	add(t, l, envelope(0, ""))
	prove(t, l, l.verifier, envelope(0, ""), "")
	head, err := l.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(head, "\n")
	with := func(i int, line string) string {
		changed := append([]string{}, lines...)
		changed[i] = line
		return strings.Join(changed, "\n")
	}
	for want, leaf := range map[string][]byte{
		"is not an envelope":    []byte("{}"),
		"at most 65535":         []byte(strings.Repeat("x", MaxEntry+1)),
		"names is not a":        envelope(1, "a checkpoint"),
		"of another history":    envelope(2, with(2, base64.StdEncoding.EncodeToString(make([]byte, 32)))),
		"a head of 2 entries, ": envelope(3, with(1, "2")),
		"log.example/other":     envelope(4, with(0, "log.example/other")),
	} {
		if _, err := l.Add(t.Context(), leaf); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", leaf, err, want)
		}
	}
	if got := add(t, l, envelope(5, "")); got[0] != 1 {
		t.Errorf("the log has %d entries, want 1", got[0])
	}
}

// TestWitnessAway: without a witness an entry is in the log, but has no proof, until the
// witness is back, also in another process.
func TestWitnessAway(t *testing.T) {
	w := witnesstest.New(t, "witness.example/1", false)
	dir, p := newLog(t, 1, w)
	w.SetAway(true)
	l := open(t, dir)
	leaf := envelope(1, "")
	add(t, l, leaf)
	pending(t, l, leaf, "503")
	if head, err := l.Head(t.Context()); err != nil || !strings.HasPrefix(head, origin+"\n0\n") {
		t.Errorf("a checkpoint without the witness: %q, %v", head, err)
	}
	l.Close()
	w.SetAway(false)
	l = open(t, dir)
	if _, v := prove(t, l, p, leaf, ""); v.Index != 0 || v.Size != 1 {
		t.Errorf("%+v", v)
	}
}

// TestSecondHistory: the log's own keys sign another history, and no entry of it gets a proof
// from a log that asks a witness that has seen the first. Without the witness it gets one, and
// only those are deceived who ask for no witness.
func TestSecondHistory(t *testing.T) {
	w := witnesstest.New(t, "witness.example/1", true)
	dir, p := newLog(t, 1, w)
	fork := filepath.Join(t.TempDir(), "fork")
	if err := os.CopyFS(fork, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir)
	add(t, l, envelope(1, ""))
	prove(t, l, p, envelope(1, ""), "")
	l = open(t, fork)
	for i := int64(2); i < 4; i++ { // as many entries as the first, and more
		if got := add(t, l, envelope(int(i), "")); got[0] != i-2 {
			t.Fatalf("the fork has %d entries", got[0])
		}
		pending(t, l, envelope(int(i), ""), "422")
	}
	if got := w.Refused(); len(got) == 0 || got[0] != "another history" {
		t.Errorf("the witness refused: %q", got)
	}
	l.Close()
	if err := os.Remove(filepath.Join(fork, witnessFile)); err != nil {
		t.Fatal(err)
	}
	vkeys, err := ReadKeys(filepath.Join(fork, publicFile))
	if err != nil {
		t.Fatal(err)
	}
	alone, err := tlogproof.NewPolicy(vkeys, nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	proof, v := prove(t, open(t, fork), alone, envelope(2, ""), "")
	if v.Index != 0 { // as envelope(1) in the first history
		t.Errorf("%+v", v)
	}
	if _, err := p.Verify(proof, tlogproof.Entry{Leaf: envelope(2, "")}); err == nil || !strings.Contains(err.Error(), "0 witnesses that count, and 1 are wanted") {
		t.Errorf("whoever asks for the witness: %v", err)
	}
}

// TestNewWitness: a log that gets a policy later has its entries cosigned without a new one.
func TestNewWitness(t *testing.T) {
	dir, p := newLog(t, 0)
	l := open(t, dir)
	leaf := envelope(1, "")
	add(t, l, leaf)
	prove(t, l, p, leaf, "")
	l.Close()

	w := witnesstest.New(t, "witness.example/1", false)
	vkeys, err := ReadKeys(filepath.Join(dir, publicFile))
	if err != nil {
		t.Fatal(err)
	}
	w.Trust(t, vkeys...)
	if err := os.WriteFile(filepath.Join(dir, witnessFile), witnesstest.Policy(1, w), 0o644); err != nil {
		t.Fatal(err)
	}
	if p, err = tlogproof.NewPolicy(vkeys, []string{w.VKey}, 1, 0); err != nil {
		t.Fatal(err)
	}
	if _, v := prove(t, open(t, dir), p, leaf, ""); v.Size != 1 || len(v.Cosignatures) != 1 {
		t.Errorf("%+v", v)
	}
}

// BenchmarkAdd: an entry and its proof, with a checkpoint and the cosignature of a witness on
// this host for each, and for up to 100 clients at once.
func BenchmarkAdd(b *testing.B) {
	for _, clients := range []int{1, 100} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			dir, _ := newLog(b, 1, witnesstest.New(b, "witness.example/1", true))
			l := open(b, dir)
			var next atomic.Int64
			var size atomic.Int64
			var all sync.WaitGroup
			b.ResetTimer()
			for range clients {
				all.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						leaf := envelope(int(i), "")
						_, err := l.Add(b.Context(), leaf)
						if err != nil {
							b.Error(err)
							return
						}
						p, err := l.Prove(b.Context(), leaf)
						if err != nil {
							b.Error(err)
							return
						}
						size.Store(int64(len(p.Encode())))
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "adds/s")
			b.ReportMetric(float64(size.Load()), "proof-bytes")
		})
	}
}
