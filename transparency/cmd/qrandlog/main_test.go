//go:build unix

package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"example.com/qrand/internal/cli"
	"example.com/qrand/provenance/tlogproof"
	"example.com/qrand/transparency/internal/witnesstest"
)

// TestMain: the test binary is the command, if it is asked to.
func TestMain(m *testing.M) {
	if os.Getenv("QRANDLOG_TEST_RUN") != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), "QRANDLOG_TEST_RUN=1", "GORACE=atexit_sleep_ms=0") // or each takes a second
	return cmd
}

// qrandlog runs the command in a process of its own, and returns what it prints.
func qrandlog(t testing.TB, status int, args ...string) string {
	t.Helper()
	out, err := command(t, args...).CombinedOutput()
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if got != status {
		t.Fatalf("qrandlog %s: exit status %d, want %d: %s", strings.Join(args, " "), got, status, out)
	}
	return string(out)
}

// A story is a log with its folder, and envelopes beside it.
type story struct {
	dir    string // of all
	policy *tlogproof.Policy
	vkeys  []string
}

func (s *story) path(name string) string { return filepath.Join(s.dir, name) }

func (s *story) log() string { return s.path("log") }

func newStory(t testing.TB, w *witnesstest.Witness) *story {
	t.Helper()
	s := &story{dir: t.TempDir()}
	args := []string{"new", "--dir", s.log(), "--origin", "log.example/keys"}
	var witnesses []string
	if w != nil {
		if err := os.WriteFile(s.path("policy"), witnesstest.Policy(1, w), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--witnesses", s.path("policy"))
		witnesses = append(witnesses, w.VKey)
	}
	s.vkeys = strings.Fields(qrandlog(t, 0, args...))
	if w != nil {
		w.Trust(t, s.vkeys...)
	}
	var err error
	if s.policy, err = tlogproof.NewPolicy(s.vkeys, witnesses, len(witnesses), 0); err != nil {
		t.Fatal(err)
	}
	return s
}

// envelope writes the envelope of a number, of 4 KB.
func (s *story) envelope(t testing.TB, i int) string {
	t.Helper()
	path := s.path(fmt.Sprintf("k%d.pem.provenance.dsse.json", i))
	payload := base64.StdEncoding.EncodeToString([]byte(fmt.Sprint(i, strings.Repeat(" ", 2900))))
	if err := os.WriteFile(path, fmt.Appendf(nil, `{"payloadType":"application/vnd.in-toto+json","payload":"%s","signatures":[]}`+"\n", payload), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// verify verifies the proof beside an envelope, and returns what follows.
func (s *story) verify(t testing.TB, envelope string) tlogproof.Verdict {
	t.Helper()
	leaf, err := os.ReadFile(envelope)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(strings.TrimSuffix(envelope, ".dsse.json") + ".tlog-proof")
	if err != nil {
		t.Fatal(err)
	}
	proof, err := tlogproof.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.policy.Verify(proof, tlogproof.Entry{Leaf: leaf})
	if err != nil {
		t.Error(err)
	}
	return v
}

// verifyAll verifies the proofs of n envelopes: each has an index of its own, and the log has
// no other entry.
func (s *story) verifyAll(t *testing.T, n int) {
	t.Helper()
	seen := map[int64]bool{}
	for i := range n {
		seen[s.verify(t, s.path(fmt.Sprintf("k%d.pem.provenance.dsse.json", i))).Index] = true
	}
	if got := qrandlog(t, 0, "monitor", s.log(), "--head", s.path("head")); len(seen) != n || !strings.Contains(got, fmt.Sprintf(", size %d: ", n)) {
		t.Errorf("%d entries have %d indexes: %s", n, len(seen), got)
	}
}

func size(t testing.TB, dir string) (bytes int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += (info.Size() + 4095) &^ 4095 // as a disk counts, a folder too
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// TestStory: the five commands, as docs/transparency.md tells them.
func TestStory(t *testing.T) {
	w := witnesstest.New(t, "witness.example/1", false)
	s := newStory(t, w)
	a, b := s.envelope(t, 0), s.envelope(t, 1)
	if got, want := qrandlog(t, 0, "add", "--dir", s.log(), a, b, a), fmt.Sprintf("%s: entry 0\n%s: entry 1\n%s: entry 0\n", a, b, a); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	s.verify(t, a)
	s.verify(t, b)
	if err := os.Remove(strings.TrimSuffix(b, ".dsse.json") + ".tlog-proof"); err != nil {
		t.Fatal(err)
	}
	qrandlog(t, 0, "prove", "--dir", s.log(), b)
	s.verify(t, b)
	if got := qrandlog(t, 1, "prove", "--dir", s.log(), s.envelope(t, 2)); !strings.Contains(got, "not in the log") {
		t.Error(got)
	}
	head := qrandlog(t, 0, "head", "--dir", s.log())
	if !regexp.MustCompile(`^log\.example/keys, size 2\n([0-9a-f]{4} ){15}[0-9a-f]{4}\n\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, witness\.example/1\n$`).MatchString(head) {
		t.Errorf("the head is %q", head)
	}
	if info, err := os.Stat(filepath.Join(s.log(), "secret")); err != nil || info.Mode() != 0o600 {
		t.Errorf("the secret: %v, %v", info.Mode(), err)
	}
	if got := qrandlog(t, 1, "new", "--dir", s.log()); !strings.Contains(got, "exists") {
		t.Errorf("a second log in the folder: %s", got)
	}
	if err := os.WriteFile(s.path("keys"), []byte(strings.Join(s.vkeys, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		qrandlog(t, 0, "monitor", s.log(), "--keys", s.path("keys"), "--head", s.path("head"), "--witness", w.VKey)
	}
	w.SetAway(true)
	if got := qrandlog(t, 1, "add", "--dir", s.log(), "--wait", "1s", s.envelope(t, 3)); !strings.Contains(got, "pending") || !strings.Contains(got, "503") {
		t.Errorf("without the witness: %s", got)
	}
}

// TestUsage: a wrong command line has exit status 2 and says what to do.
func TestUsage(t *testing.T) {
	for args, want := range map[string]string{
		"sub":                         "no command",
		"new extra":                   "unexpected argument",
		"new --unknown":               "unknown flag",
		"add":                         "which envelope",
		"prove":                       "which envelope",
		"head extra":                  "unexpected argument",
		"serve --cert x":              "belong together",
		"monitor":                     "which log",
		"monitor https://log.example": "--keys",
		"monitor x --interval -1s":    "negative",
	} {
		if got := qrandlog(t, 2, strings.Fields(args)...); !strings.Contains(got, want) || !strings.HasSuffix(got, "(see qrandlog --help)\n") {
			t.Errorf("%s: %s", args, got)
		}
	}
	for args, want := range map[string]string{
		"head --dir none":        "not the folder of a log",
		"add --dir none main.go": "not the folder of a log",
		"add none":               "no such file",
		"monitor none":           "no such file",
		"serve --dir none":       "not the folder of a log",
		"new --dir /dev/null/x":  "not a directory",
		"new --origin a+b --dir " + t.TempDir() + "/l": "a+b",
	} {
		if got := qrandlog(t, 1, strings.Fields(args)...); !strings.Contains(got, want) {
			t.Errorf("%s: %s", args, got)
		}
	}
	s := newStory(t, nil)
	if got := qrandlog(t, 1, "serve", "--dir", s.log(), "--listen", "0.0.0.0:0"); !strings.Contains(got, "loopback") {
		t.Errorf("plain HTTP to the network: %s", got)
	}
}

// TestManyProcesses: 20 processes add at once, some of them the same bytes. Each entry is in
// the log once, and each process has its proof.
func TestManyProcesses(t *testing.T) {
	const processes, entries = 24, 20
	s := newStory(t, witnesstest.New(t, "witness.example/1", false))
	var paths []string
	for i := range entries {
		paths = append(paths, s.envelope(t, i))
	}
	var all sync.WaitGroup
	for i := range processes {
		all.Go(func() {
			out, err := command(t, "add", "--dir", s.log(), paths[i%entries]).CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	all.Wait()
	s.verifyAll(t, entries)
}

// TestKilled: processes are killed while they add. When all have been repeated, each entry is
// in the log once and has its proof, and so has one that was in the log without a proof.
func TestKilled(t *testing.T) {
	const kills = 20
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := newStory(t, witnesstest.New(t, "witness.example/1", true))
	start := time.Now()
	qrandlog(t, 0, "add", "--dir", s.log(), s.envelope(t, 0))
	usual := time.Since(start)
	without := 0
	for i := 1; i <= kills; i++ {
		path := s.envelope(t, i)
		cmd := command(t, "add", "--dir", s.log(), path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(random.Int64N(int64(usual))), func() { cmd.Process.Kill() })
		cmd.Wait() // killed, or done
		timer.Stop()
		if _, err := os.Stat(proofPath(path)); err != nil {
			without++
		}
		if random.IntN(3) == 0 { // the folder is good for the next process
			qrandlog(t, 0, "monitor", s.log(), "--head", s.path("head"))
		}
	}
	state, err := os.ReadFile(filepath.Join(s.log(), "tiles/.state/treeState"))
	if err != nil {
		t.Fatal(err)
	}
	if without == 0 {
		t.Errorf("all %d processes were done before they were killed", kills)
	}
	for i := range kills + 1 {
		qrandlog(t, 0, "add", "--dir", s.log(), s.path(fmt.Sprintf("k%d.pem.provenance.dsse.json", i)))
	}
	s.verifyAll(t, kills+1)
	t.Logf("%d of %d were killed before they had a proof; the tree was then %s", without, kills, state)
}

// TestSingleAdds: processes that add one entry each leave no partial bundles behind: Tessera
// alone would leave 130 MB, as it removes none before 256 entries, and then only if a process
// lives long enough. QRANDLOG_ADDS=520 does it in full size.
func TestSingleAdds(t *testing.T) {
	s := newStory(t, nil)
	adds := 30
	if n := os.Getenv("QRANDLOG_ADDS"); n != "" {
		fmt.Sscan(n, &adds)
	}
	start := time.Now()
	for i := range adds {
		qrandlog(t, 0, "add", "--dir", s.log(), s.envelope(t, i))
	}
	took := time.Since(start)
	s.verifyAll(t, adds)
	entry, err := os.Stat(s.path("k0.pem.provenance.dsse.json"))
	if err != nil {
		t.Fatal(err)
	}
	got, most := size(t, s.log()), 1<<20+2*int64(adds)*entry.Size()
	t.Logf("%d single adds of %d bytes in %v: %d bytes on disk", adds, entry.Size(), took.Round(time.Millisecond), got)
	if got > most {
		t.Errorf("the log has %d bytes on disk, want at most %d", got, most)
	}
}

// TestHelpWidth: no line of help has more than 80 columns, and in a terminal of 40 columns only a
// line that can be copied.
func TestHelpWidth(t *testing.T) {
	for _, cmd := range append(newCommand().Commands(), newCommand()) {
		for _, width := range []int{0, 40} {
			var out strings.Builder
			root := newCommand()
			cli.FitHelp(root, width)
			root.SetOut(&out)
			root.SetArgs(append(strings.Fields(cmd.CommandPath())[1:], "--help"))
			if err := root.Execute(); err != nil || out.Len() < 200 {
				t.Errorf("%s: %v, %q", cmd.CommandPath(), err, out.String())
			}
			for line := range strings.Lines(out.String()) {
				line = strings.TrimSuffix(line, "\n")
				if n := utf8.RuneCountInString(line); n > 80 || width == 40 && n > 40 && !copied.MatchString(line) {
					t.Errorf("%s: width %d: %q", cmd.CommandPath(), width, line)
				}
			}
		}
	}
}

// copied are the lines of help that stay whole: commands, what is in a file, and what has no space.
var copied = regexp.MustCompile(`^  (qrandlog|curl|.*qrand|  --|witness|quorum) |^ *\S+$`)
