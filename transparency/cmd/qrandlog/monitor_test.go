//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/qrand"
	"example.com/qrand/provenance"
	"example.com/qrand/transparency/internal/statementtest"
	"example.com/qrand/transparency/internal/witnesstest"
)

// TestMonitorTrust: with a trust file alone, monitor follows a log of true statements. It ends
// with status 1 for a rollback, for a rewritten entry, and for each entry that is not what
// the trust file asks for, with a line for it.
func TestMonitorTrust(t *testing.T) {
	w := witnesstest.New(t, "witness.example/1", true)
	s := newStory(t, w)
	_, alice := statementtest.Person(t, "alice")
	write := func(name string, data []byte) string {
		t.Helper()
		if err := os.WriteFile(s.path(name), data, 0o644); err != nil {
			t.Fatal(err)
		}
		return s.path(name)
	}
	trusting := func(name string, trust provenance.Trust) string {
		t.Helper()
		text, err := json.Marshal(trust)
		if err != nil {
			t.Fatal(err)
		}
		return write(name, text)
	}
	log := &provenance.TrustedLog{Key: strings.Join(s.vkeys, " "), Witnesses: []provenance.TrustedWitness{{Name: "Wanda", Key: w.VKey}}, Quorum: 1, MaxDelay: "24h"}
	trust := trusting("trust.json", provenance.Trust{Signers: []provenance.TrustedKey{alice}, Threshold: 1, Log: log})
	entries := 0
	add := func(about string, change func(*provenance.Statement), signers ...string) {
		t.Helper()
		path := write(fmt.Sprintf("k%d.pem.provenance.dsse.json", entries), statementtest.Sign(t, about, change, signers...))
		qrandlog(t, 0, "add", "--dir", s.log(), path)
		entries++
	}
	monitor := func(status int, at string) string {
		t.Helper()
		return qrandlog(t, status, "monitor", at, "--trust", trust, "--head", s.path("head"))
	}
	for _, about := range []string{"0", "1"} {
		add(about, nil)
	}
	young := s.path("young")
	if err := os.CopyFS(young, os.DirFS(s.log())); err != nil {
		t.Fatal(err)
	}
	add("2", func(s *provenance.Statement) { s.SelfSigned = true }, "2")
	if got, want := monitor(0, s.log()), "log.example/keys, size 3: every entry is as it was signed, and what "+trust+" asks for; this is the first time\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}

	// The log.
	if got := monitor(1, young); !strings.Contains(got, "was rolled back: it has 2 entries, and had 3") {
		t.Error(got)
	}
	rewritten := s.path("rewritten")
	if err := os.CopyFS(rewritten, os.DirFS(s.log())); err != nil {
		t.Fatal(err)
	}
	bundles, err := filepath.Glob(filepath.Join(rewritten, "tiles/tile/entries/000.p/3"))
	if err != nil || len(bundles) != 1 {
		t.Fatal(bundles, err)
	}
	data, err := os.ReadFile(bundles[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bundles[0], bytes.Replace(data, []byte("payloadType"), []byte("PayloadType"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := monitor(1, rewritten); !strings.Contains(got, "entry 0 is not the one that the log signed: it was rewritten") {
		t.Error(got)
	}

	// Its entries.
	add("0", func(s *provenance.Statement) { s.Record.GoVersion = "go1.26.1" })
	add("3", statementtest.Blocks(qrand.RequireFresh, 7))
	add("4", statementtest.Blocks(qrand.RequireFresh, 7))
	add("5", nil, "mallory")
	add("6", func(s *provenance.Statement) { s.Record.Entropy = provenance.Emulated })
	qrandlog(t, 0, "add", "--dir", s.log(), s.envelope(t, entries))
	want := `^qrandlog: entries that are refused: 5
entry 3: it is about the key of entry 0, whose SHA-256 is [0-9a-f]{64}: a key has one statement
entry 5: its newest block, 89abcdef:0{31}7, is that of another key, in entry 4: RequireFresh means one for each key
entry 6: an unknown key signed it, with keyid [0-9a-f]{64}
entry 7: the entropy was EMULATED, not quantum
entry 8: not an envelope: .*
$`
	if got := monitor(1, s.log()); !regexp.MustCompile(want).MatchString(got) {
		t.Errorf("%s, want %s", got, want)
	}

	// The trust file has the log's keys, or the flags have them.
	flags := []string{"monitor", young, "--head", s.path("head2"), "--trust"}
	for _, flag := range []string{"--keys=keys", "--witness=" + w.VKey, "--quorum=1"} {
		if got := qrandlog(t, 2, append(flags, trust, flag)...); !strings.Contains(got, "leave out --keys, --witness and --quorum") {
			t.Errorf("%s: %s", flag, got)
		}
	}
	only := trusting("only.json", provenance.Trust{Signers: []provenance.TrustedKey{alice}, Threshold: 1})
	qrandlog(t, 0, append(flags, only, "--witness", w.VKey)...)
	stranger := witnesstest.New(t, w.Name, true)
	log.Witnesses[0].Key = stranger.VKey
	other := trusting("other.json", provenance.Trust{Signers: []provenance.TrustedKey{alice}, Threshold: 1, Log: log})
	for path, want := range map[string]string{
		other:            "0 witnesses that count, and 1 are wanted",
		s.path("none"):   "--trust: ",
		s.path("policy"): "the trust file: ",
	} {
		if got := qrandlog(t, 1, append(flags, path)...); !strings.Contains(got, want) {
			t.Errorf("%s: %s", path, got)
		}
	}
}
