//go:build unix

package transparency

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"example.com/qrand/provenance/tlogproof"
	"example.com/qrand/transparency/internal/witnesstest"
)

// grow adds entries in one batch, and waits for a checkpoint.
func grow(t *testing.T, l *Log, from, to int) {
	t.Helper()
	var leaves [][]byte
	for i := from; i < to; i++ {
		leaves = append(leaves, envelope(i, ""))
	}
	add(t, l, leaves...)
	if _, err := l.Prove(t.Context(), leaves[len(leaves)-1]); err != nil {
		t.Fatal(err)
	}
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	other := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return other
}

// TestMonitor: a Monitor reads each entry once, over HTTP and in a folder, and notices each way
// in which a log can break its promise.
func TestMonitor(t *testing.T) {
	w := witnesstest.New(t, "witness.example/1", true)
	dir, p := newLog(t, 1, w)
	served := open(t, dir)
	var handler atomic.Pointer[http.Handler]
	serve := func(l *Log) {
		h := Handler(l, nil, slog.New(slog.DiscardHandler))
		handler.Store(&h)
	}
	serve(served)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*handler.Load()).ServeHTTP(w, r) }))
	defer server.Close()
	headFile := filepath.Join(t.TempDir(), "head")
	var seen []int64
	monitor := func(at string) *Monitor {
		seen = nil
		return &Monitor{At: at, Policy: p, HeadFile: headFile, Verify: func(index int64, entry []byte) error {
			if !bytes.Equal(entry, envelope(int(index), "")) {
				t.Errorf("entry %d is %.100q", index, entry)
			}
			seen = append(seen, index)
			return nil
		}}
	}
	upTo := func(n int) (all []int64) {
		for i := range n {
			all = append(all, int64(i))
		}
		return all
	}
	m := monitor(server.URL)
	check := func(m *Monitor, size int) {
		t.Helper()
		c, err := m.Check(t.Context())
		if err != nil || c.Size != int64(size) || !reflect.DeepEqual(seen, upTo(size)) {
			t.Fatalf("%+v, %v, read %v; want %d", c, err, seen, size)
		}
	}
	check(m, 0)
	grow(t, served, 0, 3)
	check(m, 3)
	check(m, 3)
	old := copyOf(t, dir)
	grow(t, served, 3, 250)
	check(m, 250)
	grow(t, served, 250, 261) // into the next bundle
	check(m, 261)
	check(monitor(dir), 261)
	m = monitor(server.URL)
	check(m, 261)

	misbehaves := func(want, at string, f func(*Monitor)) {
		t.Helper()
		before, err := os.ReadFile(headFile)
		if err != nil {
			t.Fatal(err)
		}
		follower := &Monitor{At: at, Policy: p, HeadFile: headFile}
		if at == "" {
			follower = m
		}
		f(follower)
		_, err = follower.Check(t.Context())
		var misbehavior *MisbehaviorError
		if !errors.As(err, &misbehavior) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if after, err := os.ReadFile(headFile); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: the head was replaced, %v", want, err)
		}
		if strings.Contains(err.Error(), "checkpoint is in") {
			conflict, err := os.ReadFile(headFile + ".conflict")
			if _, _, openErr := p.Open(string(conflict)); err != nil || openErr != nil || bytes.Equal(conflict, before) {
				t.Errorf("%s: the evidence is %.100q, %v, %v", want, conflict, err, openErr)
			}
		}
	}
	none := func(*Monitor) {}
	misbehaves("was rolled back: it has 3 entries, and had 261", old, none)
	misbehaves("entry 7: no reason\nentry 260: no reason", dir, func(m *Monitor) {
		m.Verify = func(index int64, _ []byte) error {
			if index == 7 || index == 260 {
				return errors.New("no reason")
			}
			return nil
		}
	})
	misbehaves("\nand 241 more", dir, func(m *Monitor) { m.Verify = func(int64, []byte) error { return errors.New("no") } })

	// The log's keys sign other entries, without the witness or with one that looks away.
	alone, err := os.ReadFile(filepath.Join(old, witnessFile))
	if err != nil {
		t.Fatal(err)
	}
	forgetful := witnesstest.New(t, w.Name, true)
	vkeys, err := ReadKeys(filepath.Join(old, publicFile))
	if err != nil {
		t.Fatal(err)
	}
	forgetful.Trust(t, vkeys...)
	forgetful.Impersonate(w)
	if err := os.WriteFile(filepath.Join(old, witnessFile), bytes.ReplaceAll(alone, []byte(w.URL), []byte(forgetful.URL)), 0o644); err != nil {
		t.Fatal(err)
	}
	fork := open(t, old)
	grow(t, fork, 4, 262) // one entry is missing
	misbehaves("has forked: it signed another history of its first 261 entries", old, none)
	serve(fork)
	misbehaves("has forked: it signed another history of its first 261 entries", "", none)
	grow(t, fork, 262, 263)
	misbehaves("has forked: it signed another history of its first 261 entries", old, none)
	serve(served)

	// Somebody changes what is in the folder.
	bundle := filepath.Join(dir, tilesDir, "tile/entries/000")
	data, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	at := 2 + len(envelope(0, "")) + 100
	data[at] ^= 1
	if err := os.WriteFile(bundle, data, 0o644); err != nil {
		t.Fatal(err)
	}
	misbehaves("entry 1 is not the one that the log signed: it was rewritten", dir, none)
	grow(t, served, 261, 262)
	misbehaves("entry 1 is not the one that the log signed: it was rewritten", server.URL, none)
	data[at] ^= 1
	if err := os.WriteFile(bundle, data, 0o644); err != nil {
		t.Fatal(err)
	}
	check(monitor(dir), 262)

	// What proves nothing about the log is no misbehavior.
	var misbehavior *MisbehaviorError
	for at, f := range map[string]func(*Monitor){
		"http://127.0.0.1:1": none,
		dir:                  func(m *Monitor) { _, m.Policy = newLog(t, 0) }, // another log's key
		server.URL: func(m *Monitor) { // another witness
			if m.Policy, err = tlogproof.NewPolicy(vkeys, []string{witnesstest.New(t, w.Name, true).VKey}, 1, 0); err != nil {
				t.Fatal(err)
			}
		},
		server.URL + "/x":    none,
		t.TempDir():          none,
		"http://log.example": none,
	} {
		m := &Monitor{At: at, Policy: p, HeadFile: filepath.Join(t.TempDir(), "head")}
		f(m)
		if _, err := m.Check(t.Context()); err == nil || errors.As(err, &misbehavior) {
			t.Errorf("%s: %v", at, err)
		}
	}
	if err := os.WriteFile(headFile, []byte("damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := monitor(dir).Check(t.Context()); err == nil || errors.As(err, &misbehavior) {
		t.Errorf("a damaged file of the head: %v", err)
	}
}

// TestPartialTiles: with single entries few partial tiles stay, but a server and a folder give
// all of them.
func TestPartialTiles(t *testing.T) {
	dir, _ := newLog(t, 0)
	l := open(t, dir)
	grow(t, l, 0, 250)
	for i := 250; i < 259; i++ {
		grow(t, l, i, i+1)
	}
	var left []string
	for _, pattern := range []string{"tile/*/*.p/*", "tile/*/*.p"} {
		found, err := filepath.Glob(filepath.Join(dir, tilesDir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			rel, _ := filepath.Rel(filepath.Join(dir, tilesDir), path)
			left = append(left, rel)
		}
	}
	want := "[tile/0/001.p/3 tile/1/000.p/1 tile/entries/001.p/3 tile/0/001.p tile/1/000.p tile/entries/001.p]"
	if fmt.Sprint(left) != want {
		t.Errorf("the partial tiles are %v, want %s", left, want)
	}
	var bundle []byte
	for i := range 259 {
		leaf := envelope(i, "")
		bundle = append(bundle, byte(len(leaf)>>8), byte(len(leaf)))
		bundle = append(bundle, leaf...)
		if i == 255 {
			bundle = nil
		}
		if i < 255 {
			continue
		}
		rec := httptest.NewRecorder()
		Handler(l, nil, slog.New(slog.DiscardHandler)).ServeHTTP(rec, httptest.NewRequest("GET", fmt.Sprintf("/tile/entries/001.p/%d", i-255), nil))
		if got := rec.Body.Bytes(); i > 255 && (rec.Code != 200 || !bytes.Equal(got, bundle)) {
			t.Errorf("a bundle of %d: status %d, %d bytes, want %d", i-255, rec.Code, len(got), len(bundle))
		}
	}
}

// TestCheckEnvelope: what is no envelope is named.
func TestCheckEnvelope(t *testing.T) {
	if err := CheckEnvelope(0, envelope(0, "")); err != nil {
		t.Error(err)
	}
	for _, entry := range []string{"", "{}", "null", `{"payloadType":"text/plain"}`, string(envelope(0, "")) + "{}"} {
		if err := CheckEnvelope(0, []byte(entry)); err == nil {
			t.Errorf("%q is an envelope", entry)
		}
	}
}
