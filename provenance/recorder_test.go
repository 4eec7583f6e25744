package provenance

import (
	"crypto/ed25519"
	"crypto/rand"
	"strings"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"example.com/qrand"
)

// TestClocks: whatever the clocks did between the blocks and the key, Parse accepts the
// Record, and no block looks younger than either clock says.
func TestClocks(t *testing.T) {
	begin := time.Now()
	rapid.Check(t, func(t *rapid.T) {
		var monotonic, wall time.Duration
		span := func(label string, least time.Duration) time.Duration {
			most := rapid.SampledFrom([]time.Duration{time.Second, time.Hour, 50 * 365 * 24 * time.Hour}).Draw(t, label+" at most")
			return time.Duration(rapid.Int64Range(int64(max(least, -most)), int64(most)).Draw(t, label))
		}
		now := func(label string) time.Time {
			passed := span(label+" after", 0)
			monotonic, wall = monotonic+passed, wall+passed+span(label+", clock set by", -1<<62)
			at := withClocks(begin, monotonic, wall)
			if rapid.Bool().Draw(t, label+" without a monotonic clock") {
				at = at.Round(0)
			}
			return at
		}
		received, mixed := now("received"), now("mixed")
		if received.After(mixed) {
			received = mixed // as a Source does
		}
		st := qrand.Status{
			Time: now("made"), State: qrand.Seeded, Policy: rapid.SampledFrom([]qrand.Policy{qrand.Augment, qrand.RequireInitial, qrand.RequireFresh}).Draw(t, "policy"),
			Blocks: 1, LastBlock: mixed, LastReceived: received, Fingerprints: []string{"01234567:0123456789abcdef0123456789abcdef"},
		}
		if st.Policy == qrand.RequireFresh {
			st.MaxAgeSeconds = max(1, span("max age", 0)).Seconds()
		}
		if !meetsPolicy(st) {
			return // then Read returns no byte
		}
		r := Recorder{before: st, after: st, bytes: 32}
		record, err := r.Record("ed25519", nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := record.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(text); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		for _, age := range []time.Duration{st.Time.Sub(received), st.Time.Round(0).Sub(received.Round(0))} {
			if record.AgeSeconds < age.Seconds() {
				t.Errorf("a block that is %v old: %s", age, text)
			}
		}
	})
}

// A latecomer is a Source whose first block comes during the first Read.
type latecomer struct {
	before, after qrand.Status
	reads         int
}

func (l *latecomer) Read(p []byte) (int, error) {
	l.reads++
	return len(p), nil
}

func (l *latecomer) Status() qrand.Status {
	if l.reads == 0 {
		return l.before
	}
	return l.after
}

// TestBlockDuringRead: under a Policy, a Read may find a block that came after the Recorder
// looked at the Source. Then the Recorder reads again, so that the Record has the block.
func TestBlockDuringRead(t *testing.T) {
	now := time.Now()
	status := func(policy qrand.Policy, blocks int64, age time.Duration) qrand.Status {
		st := qrand.Status{Time: now, Policy: policy}
		if policy == qrand.RequireFresh {
			st.MaxAgeSeconds = 600
		}
		if blocks > 0 {
			st.State, st.Blocks, st.Fingerprints = qrand.Seeded, blocks, []string{"01234567:0123456789abcdef0123456789abcdef"}
			st.LastBlock, st.LastReceived = now.Add(-age), now.Add(-age)
		}
		return st
	}
	for _, test := range []struct {
		policy      qrand.Policy
		blocks      int64 // before the Read
		age         time.Duration
		wantReads   int
		wantEntropy Entropy
	}{
		{qrand.Augment, 0, 0, 1, OSOnly},
		{qrand.RequireInitial, 0, 0, 2, Quantum},
		{qrand.RequireInitial, 1, time.Hour, 1, Quantum},
		{qrand.RequireFresh, 0, 0, 2, Quantum},
		{qrand.RequireFresh, 1, 10 * time.Minute, 1, Quantum},
		{qrand.RequireFresh, 1, 10*time.Minute + 1, 2, Quantum},
	} {
		src := &latecomer{before: status(test.policy, test.blocks, test.age), after: status(test.policy, test.blocks+1, 0)}
		r := Recorder{src: src}
		if n, err := r.Read(make([]byte, 32)); n != 32 || err != nil || r.Bytes() != 32 {
			t.Fatalf("%+v: Read returned %d, %v", test, n, err)
		}
		record, err := r.Record("ed25519", nil)
		if err != nil || record.Entropy != test.wantEntropy || src.reads != test.wantReads {
			t.Errorf("%+v: %d reads, %v, %+v", test, src.reads, err, record)
		}
	}
}

// TestRecorderReceipts: a key has the receipts of all of its blocks, each once, or an error.
func TestRecorderReceipts(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	names := []string{"01234567:00000000000000000000000000000001", "01234567:00000000000000000000000000000002", "01234567:00000000000000000000000000000003"}
	sign := func(fingerprints []string, change func(*Receipt)) string {
		r := Receipt{Relay: "a", Client: "b", Time: now, Blocks: []RelayBlocks{{Fingerprints: fingerprints, Endpoint: "https://c", Received: now.Add(-time.Second)}}}
		if change != nil {
			change(&r)
		}
		e, err := r.Sign(t.Context(), signer)
		if err != nil {
			t.Fatal(err)
		}
		text, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(string(text), "\n")
	}
	both, last := sign(names[:2], nil), sign(names[2:], nil)
	for _, test := range []struct {
		name     string
		receipts []string
		want     int
		err      string
	}{
		{"two for three blocks", []string{both, both, last}, 2, ""},
		{"one is missing", []string{both, "", last}, 0, "no receipt came with the block " + names[1]},
		{"nobody asked", nil, 0, "no receipt came with the block " + names[0]},
		{"no JSON", []string{both, both, "{"}, 0, "that came with the block " + names[2] + ": not an envelope"},
		{"with white space", []string{both, both, " " + last}, 0, "not as qrand writes it"},
		{"no receipt", []string{both, both, strings.Replace(last, "receipt.v1", "receipt.v2", 1)}, 0, "and no receipt"},
		{"that of another block", []string{both, both, both}, 0, "that came with the block " + names[2] + ": it is for other blocks"},
		{"with another key", []string{both, both, sign([]string{"76543210:00000000000000000000000000000003"}, nil)}, 0, "it is for other blocks"},
		{"of another hour", []string{both, both, sign(names[2:], func(r *Receipt) { r.Blocks[0].Received = now.Add(-time.Hour) })}, 0, "does not fit the record: it came from the service at "},
	} {
		st := qrand.Status{Time: now, State: qrand.Seeded, Blocks: 3, LastBlock: now, LastReceived: now, Fingerprints: names, Receipts: test.receipts}
		r := Recorder{before: st, after: st, bytes: 32}
		record, err := r.Record("ed25519", nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Receipts(record)
		if len(got) != test.want || (err == nil) != (test.err == "") || err != nil && (!strings.Contains(err.Error(), test.err) || !strings.HasPrefix(err.Error(), "provenance: ")) {
			t.Errorf("%s: %d receipts, %v, want %d %q", test.name, len(got), err, test.want, test.err)
		}
	}
}

// withClocks moves both clocks of t, each on its own. Package time cannot do that, but real
// clocks do.
func withClocks(t time.Time, monotonic, wall time.Duration) time.Time {
	moved := t.Add(wall)
	(*struct { // time.Time
		wall      uint64
		monotonic int64
		location  *time.Location
	})(unsafe.Pointer(&moved)).monotonic += int64(monotonic - wall)
	if moved.Sub(t) != monotonic || moved.Round(0).Sub(t.Round(0)) != wall {
		panic("time.Time is not what it was")
	}
	return moved
}
