package tlogproof_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"example.com/qrand/internal/logtest"
	"example.com/qrand/provenance/tlogproof"
)

func entries(prefix string, n int) (leaves []string) {
	for i := range n {
		leaves = append(leaves, fmt.Sprint(prefix, i))
	}
	return leaves
}

// TestVerify: a good proof says what follows from it, and every way to be wrong is an error
// that names it.
func TestVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // 2000-01-01
		const size, index, old = 13, 9, 6
		now := time.Now().UTC()
		made := now.Add(-time.Hour)
		log := logtest.NewTree(entries("leaf ", size)...)
		other := logtest.NewTree(append([]string{"rewritten"}, entries("leaf ", size)[1:]...)...)
		classical, hybrid := logtest.NewSigner(log.Origin, 1, 1), logtest.NewSigner(log.Origin, 6, 2)
		w1, w2, w3 := logtest.NewSigner("witness.example/w1", 4, 3), logtest.NewSigner("witness.example/w2", 6, 4), logtest.NewSigner("witness.example/w3", 4, 5)
		stranger, impostor := logtest.NewSigner("witness.example/w9", 4, 6), logtest.NewSigner(log.Origin, 1, 7)
		policy := func(quorum int, maxDelay time.Duration) *tlogproof.Policy {
			p, err := tlogproof.NewPolicy([]string{classical.VKey, hybrid.VKey}, []string{w1.VKey, w2.VKey, w3.VKey}, quorum, maxDelay)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		cosigned := func(l *logtest.Tree, size int64, at ...time.Time) string {
			c := l.Head(size)
			lines := []string{classical.Line(c, now), stranger.Line(c, now), hybrid.Line(c, now)}
			for i, w := range []*logtest.Signer{w1, w2, w3}[:len(at)] {
				lines = append(lines, w.Line(c, at[i]))
			}
			return logtest.Signed(c, lines...)
		}
		first, second := made.Add(time.Minute), made.Add(2*time.Minute)
		before := made.Add(-time.Minute)
		p := policy(2, time.Hour)
		good := func() *tlogproof.Proof {
			proof := log.Prove(size, index, old)
			proof.Checkpoint = cosigned(log, size, second, first)
			return proof
		}
		entry := tlogproof.Entry{Leaf: log.Leaves[index], Made: made, After: cosigned(log, old, before, before.Add(-time.Minute))}

		v, err := p.Verify(good(), entry)
		want := tlogproof.Verdict{Checkpoint: log.Head(size), Index: index, Time: second, NotBefore: before.Add(-time.Minute),
			Cosignatures: []tlogproof.Cosignature{{Witness: w2.Name, Time: first}, {Witness: w1.Name, Time: second}}}
		if err != nil || !reflect.DeepEqual(v, want) {
			t.Fatalf("%+v, %v; want %+v", v, err, want)
		}

		reject := func(want string, p *tlogproof.Policy, proof *tlogproof.Proof, e tlogproof.Entry) {
			t.Helper()
			v, err := p.Verify(proof, e)
			if err == nil || !strings.Contains(err.Error(), want) || !reflect.ValueOf(v).IsZero() {
				t.Errorf("got %v, want %q", err, want)
			}
		}
		with := func(f func(*tlogproof.Proof)) *tlogproof.Proof { proof := good(); f(proof); return proof }
		entryWith := func(f func(*tlogproof.Entry)) tlogproof.Entry { e := entry; f(&e); return e }

		// Another entry, another place.
		reject("not entry 9 of 13", p, good(), entryWith(func(e *tlogproof.Entry) { e.Leaf = log.Leaves[8] }))
		reject("not entry 8 of 13", p, with(func(p *tlogproof.Proof) { p.Hashes, p.Index = log.Prove(size, 8, -1).Hashes, 8 }), entry)
		reject("not entry 8 of 13", p, with(func(p *tlogproof.Proof) { p.Index-- }), entry)
		reject("index was changed", p, with(func(p *tlogproof.Proof) { p.Index = size }), entry)
		reject("not entry 9", p, with(func(p *tlogproof.Proof) { p.Hashes = p.Hashes[1:] }), entry)
		reject("not entry 9", p, with(func(p *tlogproof.Proof) { p.Hashes[0][0]++ }), entry)
		reject("checkpoint or the signature was changed", p, with(func(p *tlogproof.Proof) { p.Checkpoint = strings.Replace(p.Checkpoint, "\n13\n", "\n12\n", 1) }), entry)

		// Another log.
		c := log.Head(size)
		lines := w1.Line(c, first) + w2.Line(c, first)
		reject("not signed by the log's key log.example/keys+", p, with(func(p *tlogproof.Proof) { p.Checkpoint = logtest.Signed(c, lines) }), entry)
		reject("another key of this name", p, with(func(p *tlogproof.Proof) {
			p.Checkpoint = logtest.Signed(c, impostor.Line(c, now), hybrid.Line(c, now), lines)
		}), entry)
		reject(fmt.Sprintf("not signed by the log's key log.example/keys+%x", hybrid.ID), p, with(func(p *tlogproof.Proof) { p.Checkpoint = logtest.Signed(c, classical.Line(c, now), lines) }), entry)
		named := c
		named.Origin = "log.example/other"
		reject("of the log \"log.example/other\"", p, with(func(p *tlogproof.Proof) {
			p.Checkpoint = logtest.Signed(named, classical.Line(named, now), hybrid.Line(named, now), w1.Line(named, first), w2.Line(named, first))
		}), entry)
		extended := c.String() + "an extension\n\n" + fmt.Sprintf("— %s x\n", log.Origin)
		reject("not a signed note", p, with(func(p *tlogproof.Proof) { p.Checkpoint = extended }), entry)
		reject("not a signed note", p, with(func(p *tlogproof.Proof) { p.Checkpoint = "" }), entry)

		// Too few witnesses, or at the wrong time. A witness counts once.
		at := func(times ...time.Time) *tlogproof.Proof {
			return with(func(p *tlogproof.Proof) { p.Checkpoint = cosigned(log, size, times...) })
		}
		reject("0 witnesses that count, and 2 are wanted", p, at(), entry)
		reject("1 witnesses that count, and 2 are wanted", p, at(first), entry)
		reject("1 witnesses that count", p, with(func(p *tlogproof.Proof) { p.Checkpoint = cosigned(log, size, first) + w1.Line(c, second) }), entry)
		reject("3 are wanted", policy(3, time.Hour), good(), entry)
		reject("before the entry was made", p, at(first, made.Add(-6*time.Minute)), entry)
		reject("more than 30m0s after the entry was made", policy(2, 30*time.Minute), at(first, made.Add(36*time.Minute)), entry)
		reject("which is in the future", policy(2, 0), at(first, now.Add(6*time.Minute)), entry)
		if v, err := policy(2, 0).Verify(at(first, now.Add(4*time.Minute)), entry); err != nil || v.Time != now.Add(4*time.Minute) {
			t.Errorf("without a limit: %v, %v", v.Time, err)
		}
		if v, err := p.Verify(at(first, made.Add(-6*time.Minute), second), entry); err != nil || v.Time != second || len(v.Cosignatures) != 2 {
			t.Errorf("two of three: %+v, %v", v, err)
		}
		reject("the signature of witness.example/w1", p, with(func(p *tlogproof.Proof) {
			p.Checkpoint = strings.Replace(p.Checkpoint, w1.Line(c, second), w1.Line(log.Head(old), second), 1)
		}), entry)

		// Another history, or none.
		reject("is of another history", p, good(), entryWith(func(e *tlogproof.Entry) { e.After = cosigned(other, old, before, before) }))
		reject("is of another history", p, with(func(p *tlogproof.Proof) { p.After.Hashes[0][0]++ }), entry)
		reject("is of another history", p, with(func(p *tlogproof.Proof) { p.After.Hashes = nil }), entry)
		reject("shows growth from size 5", p, with(func(p *tlogproof.Proof) { p.After.Size-- }), entry)
		reject("would have it already", p, with(func(p *tlogproof.Proof) { p.After = log.Prove(size, index, 11).After }), entryWith(func(e *tlogproof.Entry) { e.After = cosigned(log, 11, before, before) }))
		reject("the proof shows no growth", p, with(func(p *tlogproof.Proof) { p.After = nil }), entry)
		reject("the proof shows no growth", p, good(), entryWith(func(e *tlogproof.Entry) { e.After = "" }))
		reject("the checkpoint that the entry names: the checkpoint is not signed", p, good(), entryWith(func(e *tlogproof.Entry) { e.After = logtest.Signed(log.Head(old), w1.Line(log.Head(old), before)) }))
		reject("after the entry was made", p, good(), entryWith(func(e *tlogproof.Entry) { e.After = cosigned(log, old, now, now) }))
		reject("growth from nothing", p, with(func(p *tlogproof.Proof) { p.After.Size = 0 }), entryWith(func(e *tlogproof.Entry) { e.After = cosigned(log, 0) }))

		// What an entry need not say.
		for after, wantTime := range map[string]time.Time{
			"":                     {},
			cosigned(log, 0):       {},
			cosigned(log, 0, made): {},
			cosigned(log, index, before, before.Add(-time.Minute), before.Add(-time.Hour)): before.Add(-time.Minute),
		} {
			proof := log.Prove(size, index, -1)
			if after != "" {
				from, _, err := p.Open(after)
				if err != nil {
					t.Fatal(err)
				}
				proof = log.Prove(size, index, from.Size)
			}
			proof.Checkpoint = good().Checkpoint
			if v, err := p.Verify(proof, tlogproof.Entry{Leaf: entry.Leaf, After: after}); err != nil || v.NotBefore != wantTime {
				t.Errorf("after %.40q: %+v, %v", after, v, err)
			}
		}

		// A head alone.
		for checkpoint, want := range map[string]string{cosigned(log, size, first, second): "", cosigned(log, 0): "", cosigned(log, size, first): "2 are wanted",
			cosigned(log, size, first, time.Unix(math.MaxInt64, 0)): "w2 cosigned at 9999-12-31T23:59:59Z, which is in the future"} {
			if c, err := p.OpenCosigned(checkpoint); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || err == nil && c != log.Head(c.Size) {
				t.Errorf("%+v, %v, want %q", c, err, want)
			}
		}

		// A log alone says no time.
		alone, err := tlogproof.NewPolicy([]string{classical.VKey}, nil, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := alone.Verify(good(), entry); err != nil || !v.Time.IsZero() || len(v.Cosignatures) != 0 || !v.NotBefore.IsZero() {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

// TestEveryByte: no byte of a proof can be changed.
func TestEveryByte(t *testing.T) {
	log := logtest.NewTree(entries("leaf ", 6)...)
	c, old := log.Head(6), log.Head(3)
	key, witness := logtest.NewSigner(log.Origin, 1, 1), logtest.NewSigner("witness.example", 4, 2)
	p, err := tlogproof.NewPolicy([]string{key.VKey}, []string{witness.VKey}, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	proof := log.Prove(6, 4, 3)
	proof.Checkpoint = logtest.Signed(c, key.Line(c, time.Now()), witness.Line(c, time.Now()))
	e := tlogproof.Entry{Leaf: log.Leaves[4], After: logtest.Signed(old, key.Line(old, time.Now()))}
	data := proof.Encode()
	verify := func(data []byte) error {
		proof, err := tlogproof.Parse(data)
		if err == nil {
			_, err = p.Verify(proof, e)
		}
		return err
	}
	if err := verify(data); err != nil {
		t.Fatal(err)
	}
	for i := range data {
		for _, flip := range []byte{1, 0x20, 0x80} {
			data[i] ^= flip
			if verify(data) == nil {
				t.Errorf("byte %d may be changed to %q", i, data[i])
			}
			data[i] ^= flip
		}
	}
}

// TestForm: the form is that of the document, and only one is read.
func TestForm(t *testing.T) {
	hash := tlog.Hash{1}
	p := &tlogproof.Proof{Index: 5, Hashes: tlog.RecordProof{hash}, After: &tlogproof.Consistency{Size: 258, Hashes: tlog.TreeProof{hash}}, Checkpoint: "x\n1\ny\n\n— z\n"}
	b64 := hash.String()
	extra := base64.StdEncoding.EncodeToString(append([]byte{0, 0, 0, 0, 0, 0, 1, 2}, hash[:]...))
	text := "c2sp.org/tlog-proof@v1\nextra " + extra + "\nindex 5\n" + b64 + "\n\n" + p.Checkpoint
	if got := string(p.Encode()); got != text {
		t.Errorf("got %q\nwant %q", got, text)
	}
	if got, err := tlogproof.Parse([]byte(text)); err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("%+v, %v", got, err)
	}
	for old, new := range map[string]string{
		"@v1":                   "@v2",
		"proof@v1\n":            "proof@v1\r\n",
		"extra ":                "extra  ",
		"extra " + extra + "\n": "extra " + extra + "\nextra " + extra + "\n",
		extra:                   extra[:len(extra)-4],
		"index 5":               "index 05",
		"ndex 5":                "ndex +5",
		"index 5\n":             "index -5\n",
		"index 5\n" + b64:       b64 + "\nindex 5",
		"\n" + b64 + "\n":       "\n" + strings.Repeat(b64+"\n", 64),
		b64 + "\n":              b64 + " \n",
		"AAA=\n\n":              "AAB=\n\n", // the same hash
		"\n\n":                  "\n",
		"c2sp":                  strings.Repeat("c", tlogproof.MaxSize),
	} {
		wrong := strings.Replace(text, old, new, 1)
		if _, err := tlogproof.Parse([]byte(wrong)); err == nil || wrong == text || !strings.HasPrefix(err.Error(), "not a proof: ") {
			t.Errorf("%.100q for %q: %v", new, old, err)
		}
	}
	for _, wrong := range []string{
		"", "x\n1\n", "\n1\n" + b64 + "\n", "x\n01\n" + b64 + "\n", "x\n-1\n" + b64 + "\n", "x\n1\n" + b64, "x\n1\n" + b64[1:] + "\n",
		"x\n1\n" + b64 + "\nextension\n", "x\n0\n" + b64 + "\n", "x\n9223372036854775808\n" + b64 + "\n",
		"x\n1000000000000000000\n" + b64 + "\n", "x\n4611686018427387905\n" + b64 + "\n",
	} {
		if c, err := tlogproof.ParseCheckpoint(wrong); err == nil {
			t.Errorf("%q is read as %+v", wrong, c)
		}
	}
	if c, err := tlogproof.ParseCheckpoint("x\n999999999999999999\n" + b64 + "\n"); err != nil || c.Size != 1e18-1 {
		t.Errorf("the largest size is read as %+v, %v", c, err)
	}
	head := logtest.NewTree("leaf").Head(1)
	note := logtest.Signed(head, "— log.example/keys AAAAAAAA\n")
	if c, err := tlogproof.ParseNote(note); err != nil || c != head {
		t.Errorf("%+v, %v", c, err)
	}
	for _, wrong := range []string{"", head.String(), head.String() + "\n", note[:len(note)-1], strings.Replace(note, "1\n", "01\n", 1), note + strings.Repeat("— x AAAAAAAA\n", 10_000)} {
		if c, err := tlogproof.ParseNote(wrong); err == nil || !strings.HasPrefix(err.Error(), "not a checkpoint: ") {
			t.Errorf("%.100q is read as %+v, %v", wrong, c, err)
		}
	}
}

// TestKey reads the key and verifies the note that https://c2sp.org/signed-note has as an
// example, and refuses keys that are damaged or have no place in a policy.
func TestKey(t *testing.T) {
	const vkey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
	k, err := tlogproof.ParseKey(vkey)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := base64.StdEncoding.DecodeString("Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=")
	if err != nil || !k.Verify([]byte("This is an example message.\n"), sig[4:]) || k.Name() != "example.com/foo" || k.KeyHash() != 0x530d903a {
		t.Errorf("%v, %v", k, err)
	}
	for old, new := range map[string]string{"foo": "fop", "foo+": "fo o+", "530d": "530D", "Aek": "Aem", "AekyeR": "BOkyeR", "3U2k": "3U2k=", "+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k": "+AQ==", "+Aeky": "Aeky", vkey: ""} {
		if k, err := tlogproof.ParseKey(strings.Replace(vkey, old, new, 1)); err == nil {
			t.Errorf("%q for %q is read as %v", new, old, k)
		}
	}
	for _, kind := range []byte{4, 6} { // https://c2sp.org/tlog-cosignature limits the time
		s := logtest.NewSigner("w.example", kind, 9)
		k, err := tlogproof.ParseKey(s.VKey)
		if err != nil {
			t.Fatal(err)
		}
		c := logtest.NewTree("leaf").Head(1)
		for second, want := range map[int64]bool{0: true, math.MaxInt64: true, -1: false} {
			if got := k.Verify([]byte(c.String()), s.Sign(c, time.Unix(second, 0))); got != want {
				t.Errorf("type %d, time %d: %v", kind, second, got)
			}
		}
	}
	log, again, pq := logtest.NewSigner("log.example", 1, 1), logtest.NewSigner("w.example", 4, 1), logtest.NewSigner("log.example", 6, 2)
	w1, w2 := logtest.NewSigner("w.example/1", 4, 3), logtest.NewSigner("w.example/2", 4, 3)
	unknown := append([]byte{2}, make([]byte, 32)...)
	sum := sha256.Sum256(append([]byte("log.example\n"), unknown...))
	ecdsa := fmt.Sprintf("log.example+%x+%s", sum[:4], base64.StdEncoding.EncodeToString(unknown))
	for _, test := range []struct {
		want           string
		log, witnesses []string
		quorum         int
		delay          time.Duration
	}{
		{"needs the log's key", nil, []string{w1.VKey}, 1, 0},
		{"of a log has type 1 or 6", []string{w1.VKey}, nil, 0, 0},
		{"of a witness has type 4 or 6", []string{pq.VKey}, []string{log.VKey}, 1, 0},
		{"have one name", []string{log.VKey, logtest.NewSigner("log.example/2", 6, 2).VKey}, nil, 0, 0},
		{"given twice", []string{log.VKey}, []string{again.VKey}, 1, 0},
		{"given twice", []string{log.VKey}, []string{w1.VKey, w2.VKey}, 2, 0},
		{"has type 2", []string{ecdsa}, nil, 0, 0},
		{"a quorum of 2", []string{log.VKey}, []string{w1.VKey}, 2, 0},
		{"a quorum of -1", []string{log.VKey}, []string{w1.VKey}, -1, 0},
		{"a quorum of 0", []string{log.VKey}, []string{w1.VKey}, 0, 0},
		{"limit of delay", []string{log.VKey}, []string{w1.VKey}, 1, -1},
		{"limit of delay", []string{log.VKey}, nil, 0, 1},
	} {
		if p, err := tlogproof.NewPolicy(test.log, test.witnesses, test.quorum, test.delay); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", p, err, test.want)
		}
	}
}

// TestOneOfTwo: a witness whose long name begins like another one's, and whose key ID is the
// same, does not count for both.
func TestOneOfTwo(t *testing.T) {
	name := func(i int) string { return fmt.Sprintf("%s/%d", strings.Repeat("w", 100), i) }
	vkey := func(seed byte, i int) string {
		_, rest, _ := strings.Cut(logtest.NewSigner("w", 4, seed).VKey, "+")
		_, public, _ := strings.Cut(rest, "+")
		key, err := base64.StdEncoding.DecodeString(public)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(append([]byte(name(i)+"\n"), key...))
		return fmt.Sprintf("%s+%x+%s", name(i), sum[:4], public)
	}
	const i, j = 5425, 103352 // found by trying
	log := logtest.NewSigner("log.example/keys", 1, 1)
	one := logtest.NewSigner(name(i), 4, 2)
	if vkey(2, i) != one.VKey || vkey(2, i)[len(name(i)):][:9] != vkey(3, j)[len(name(j)):][:9] {
		t.Fatalf("%s and %s have not the same key ID", vkey(2, i), vkey(3, j))
	}
	p, err := tlogproof.NewPolicy([]string{log.VKey}, []string{one.VKey, vkey(3, j)}, 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := logtest.NewTree("leaf").Head(1)
	if _, found, err := p.Open(logtest.Signed(c, log.Line(c, time.Now()), one.Line(c, time.Now()))); err != nil || len(found) != 1 {
		t.Errorf("%+v, %v", found, err)
	}
}

// FuzzParse: what is read is written as it was, and no proof makes Verify panic or succeed.
func FuzzParse(f *testing.F) {
	f.Add([]byte("c2sp.org/tlog-proof@v1\nindex 0\n\nlog.example\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— log.example AAAAAAAA\n"))
	f.Add([]byte("c2sp.org/tlog-proof@v1\nextra AAAAAAAAAAA=\nindex 3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\nx\n9\n\n"))
	vkey := "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
	policy, err := tlogproof.NewPolicy([]string{vkey}, nil, 0, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := tlogproof.Parse(data)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Encode(), data) {
			t.Errorf("%q is written as %q", data, p.Encode())
		}
		p.Includes(data)
		if v, err := policy.Verify(p, tlogproof.Entry{Leaf: data, After: p.Checkpoint}); err == nil {
			t.Errorf("%q proves %+v", data, v)
		}
	})
}

// TestAllShapes: proofs of every entry in trees of every size up to 40, from every earlier head.
func TestAllShapes(t *testing.T) {
	log := logtest.NewTree(entries("leaf ", 40)...)
	key := logtest.NewSigner(log.Origin, 1, 1)
	policy, err := tlogproof.NewPolicy([]string{key.VKey}, nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	heads := map[int64]string{}
	for size := range int64(41) {
		c := log.Head(size)
		heads[size] = logtest.Signed(c, key.Line(c, time.Time{}))
	}
	for size := int64(1); size <= 40; size++ {
		index := rand.Int64N(size)
		for after := int64(-1); after <= index; after++ {
			proof := log.Prove(size, index, after)
			proof.Checkpoint = heads[size]
			read, err := tlogproof.Parse(proof.Encode())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := policy.Verify(read, tlogproof.Entry{Leaf: log.Leaves[index], After: heads[after]}); err != nil {
				t.Errorf("entry %d of %d after %d: %v", index, size, after, err)
			}
		}
	}
}

// BenchmarkVerify: a proof in a log of a million entries cannot be made here quickly, but its
// 20 hashes take a microsecond each: the signatures are what takes time.
func BenchmarkVerify(b *testing.B) {
	log := logtest.NewTree(entries("leaf ", 1000)...)
	ed, pq := logtest.NewSigner(log.Origin, 1, 1), logtest.NewSigner(log.Origin, 6, 2)
	witness := logtest.NewSigner("witness.example", 6, 3)
	p, err := tlogproof.NewPolicy([]string{ed.VKey, pq.VKey}, []string{witness.VKey}, 1, 0)
	if err != nil {
		b.Fatal(err)
	}
	c := log.Head(1000)
	proof := log.Prove(1000, 500, -1)
	proof.Checkpoint = logtest.Signed(c, ed.Line(c, time.Now()), pq.Line(c, time.Now()), witness.Line(c, time.Now()))
	data := proof.Encode()
	for b.Loop() {
		proof, err := tlogproof.Parse(data)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Verify(proof, tlogproof.Entry{Leaf: log.Leaves[500]}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(data)), "proof-bytes")
}
