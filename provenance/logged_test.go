package provenance_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/qrand/internal/logtest"
	"example.com/qrand/provenance"
	"example.com/qrand/provenance/tlogproof"
)

// A logged is a statement that was logged, by two witnesses of three.
type logged struct {
	trust     provenance.Trust
	statement provenance.Statement // before it is signed and logged
	log       *logtest.Tree
	keys      []*logtest.Signer // of the log
	witnesses []*logtest.Signer
	cosigned  []time.Time // when each witness did; zero: not
	after     int64       // the size of the head that the statement names; -1: it names none
	afterAt   []time.Time // when each witness cosigned that
	other     *logtest.Tree
}

const (
	logSize  = 13
	logIndex = 9
)

// newLogged has entry 9 of 13 in a log. The statement names the head of 6.
func newLogged() *logged {
	l := &logged{statement: statement("ecdsa-p384"), log: logtest.NewTree(), other: logtest.NewTree("rewritten"), after: 6}
	for i := range logIndex {
		l.log.Add(fmt.Append(nil, "leaf ", i))
		l.other.Add(fmt.Append(nil, "leaf ", i))
	}
	l.keys = []*logtest.Signer{logtest.NewSigner(l.log.Origin, 1, 1), logtest.NewSigner(l.log.Origin, 6, 2)}
	l.witnesses = []*logtest.Signer{logtest.NewSigner("w1.example", 4, 3), logtest.NewSigner("w2.example", 6, 4), logtest.NewSigner("w3.example", 4, 5)}
	l.cosigned = []time.Time{keyMade.Add(2 * time.Minute), keyMade.Add(time.Minute), {}}
	l.afterAt = []time.Time{keyMade.Add(-2 * time.Minute), keyMade.Add(-time.Minute), {}}
	l.trust = provenance.Trust{Signers: trusted("alice"), Threshold: 1, Log: &provenance.TrustedLog{
		Key: l.keys[0].VKey + "  " + l.keys[1].VKey, Quorum: 2, MaxDelay: "1h",
		Witnesses: []provenance.TrustedWitness{{Name: "Wanda", Key: l.witnesses[0].VKey}, {Name: "Willi", Key: l.witnesses[1].VKey}, {Name: "Wu", Key: l.witnesses[2].VKey}}}}
	return l
}

func (l *logged) head(tree *logtest.Tree, size int64, at []time.Time) string {
	c := tree.Head(size)
	var lines []string
	for _, k := range l.keys {
		lines = append(lines, k.Line(c, keyMade))
	}
	for i, w := range l.witnesses {
		if !at[i].IsZero() {
			lines = append(lines, w.Line(c, at[i]))
		}
	}
	return logtest.Signed(c, lines...)
}

// evidence signs the statement and logs it.
func (l *logged) evidence(t *testing.T) (provenance.Evidence, *tlogproof.Proof) {
	t.Helper()
	if l.after >= 0 {
		l.statement.After = l.head(l.log, l.after, l.afterAt)
	}
	return l.evidenceOf(t, signed(t, l.statement, "alice"))
}

func (l *logged) evidenceOf(t *testing.T, e provenance.Envelope) (provenance.Evidence, *tlogproof.Proof) {
	t.Helper()
	leaf := must(e.Encode())
	for _, tree := range []*logtest.Tree{l.log, l.other} {
		tree.Add(leaf)
		for i := len(tree.Leaves); i < logSize; i++ {
			tree.Add(fmt.Append(nil, "leaf ", i))
		}
	}
	proof := l.log.Prove(logSize, logIndex, l.after)
	proof.Checkpoint = l.head(l.log, logSize, l.cosigned)
	return provenance.Evidence{Envelope: e, PublicKey: spki(l.statement.Record.Algorithm), Proof: proof.Encode()}, proof
}

// TestLogged: what a report says of a log, in its words.
func TestLogged(t *testing.T) {
	const follows = `log follows it is entry 9 of the log "log.example/keys", whose size was then 13
logged follows it existed by 2026-03-01T12:02:00Z: the log was cosigned by Willi at 2026-03-01T12:01:00Z, Wanda at 2026-03-01T12:02:00Z; 2 of 3 witnesses, and 2 are wanted
after follows the statement is not older than 2026-03-01T11:58:00Z: it names the head of the log with 6 entries, which witnesses cosigned then
`
	const alone = "logged open nobody but the log says when it was logged, and the log may show others another history: no witnesses are given\n"
	const others = "others open nothing here shows that there is no other statement about the key: qrandlog monitor reads the whole log\n"
	const entry = `log follows it is entry 9 of the log "log.example/keys", whose size was then 13` + "\n"
	for name, test := range map[string]struct {
		change func(*logged)
		want   string
	}{
		"all": {func(*logged) {}, follows + others},
		"no witnesses": {func(l *logged) {
			l.trust.Log.Witnesses, l.trust.Log.Quorum, l.trust.Log.MaxDelay = nil, 0, ""
		}, entry + alone + "after open the log has grown from the head of 6 entries that the statement names, and nobody but the log says when that was: no witnesses are given\n" + others},
		"no earlier head": {func(l *logged) { l.after = -1 },
			strings.SplitAfter(follows, "are wanted\n")[0] + "after open nothing shows since when the statement can have been made: it names no earlier head of the log\n" + others},
		"an earlier head without the quorum": {func(l *logged) { l.afterAt[0] = time.Time{} },
			strings.SplitAfter(follows, "are wanted\n")[0] + "after open nothing shows since when the statement can have been made: the earlier head of the log that it names, of 6 entries, has not the cosignatures of the quorum\n" + others},
		"the head of an empty log": {func(l *logged) { l.after = 0; l.afterAt = make([]time.Time, 3) },
			strings.SplitAfter(follows, "are wanted\n")[0] + "after open nothing shows since when the statement can have been made: the earlier head of the log that it names, of 0 entries, has not the cosignatures of the quorum\n" + others},
		"no log": {func(l *logged) { l.trust.Log = nil },
			"log open nothing shows when the statement was made, nor that there is no other one: no log is given; the proof of a log that is there was not verified\n"},
		"any delay": {func(l *logged) { l.trust.Log.MaxDelay = ""; l.cosigned[0] = keyMade.Add(100 * time.Hour) },
			strings.ReplaceAll(follows, "2026-03-01T12:02:00Z", "2026-03-05T16:00:00Z") + others},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLogged()
			test.change(l)
			e, _ := l.evidence(t)
			r, err := l.trust.Verify(e, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if _, got, _ := strings.Cut(lines(r), "by the signers' word\n"); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// TestLogRefused: a proof that does not show what is asked for is refused, with the cause.
func TestLogRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*logged)                                         // before it is signed and logged
		after  func(*logged, *provenance.Evidence, *tlogproof.Proof) // the proof is put in the evidence again
		want   string
	}{
		"never logged": {nil, func(_ *logged, e *provenance.Evidence, _ *tlogproof.Proof) { e.Proof = nil },
			`it was never logged, or its proof is lost: there is no proof that it is in the log "log.example/keys"; qrand record prove gets one`},
		"no proof": {nil, func(_ *logged, e *provenance.Evidence, _ *tlogproof.Proof) { e.Proof = []byte{} }, "the log: not a proof"},
		"another entry's proof": {nil, func(l *logged, _ *provenance.Evidence, p *tlogproof.Proof) {
			checkpoint := p.Checkpoint
			*p = *l.log.Prove(logSize, 7, 6)
			p.Checkpoint = checkpoint
		}, "these bytes are not entry 7 of 13 in the checkpoint: it is the proof of another entry"},
		"a signature more than was logged": {nil, func(_ *logged, e *provenance.Evidence, _ *tlogproof.Proof) {
			e.Envelope = must(e.Envelope.Add(t.Context(), signer("bob")))
		}, "these bytes are not entry 9 of 13 in the checkpoint"},
		"index changed":      {nil, func(_ *logged, _ *provenance.Evidence, p *tlogproof.Proof) { p.Index = 8 }, "these bytes are not entry 8 of 13"},
		"index out of range": {nil, func(_ *logged, _ *provenance.Evidence, p *tlogproof.Proof) { p.Index = logSize }, "the index was changed"},
		"size changed": {nil, func(_ *logged, _ *provenance.Evidence, p *tlogproof.Proof) {
			p.Checkpoint = strings.Replace(p.Checkpoint, "\n13\n", "\n14\n", 1)
		}, "the checkpoint or the signature was changed"},
		"size of after":       {nil, func(_ *logged, _ *provenance.Evidence, p *tlogproof.Proof) { p.After.Size = 5 }, "the entry names a checkpoint of size 6, the proof shows growth from size 5"},
		"growth left out":     {nil, func(_ *logged, _ *provenance.Evidence, p *tlogproof.Proof) { p.After = nil }, "the entry names an earlier checkpoint and the proof shows no growth from it"},
		"another key":         {func(l *logged) { l.keys[0] = logtest.NewSigner(l.log.Origin, 1, 7) }, nil, "but by another key of this name"},
		"one key of two":      {func(l *logged) { l.keys = l.keys[:1] }, nil, "the checkpoint is not signed by the log's key log.example/keys+"},
		"another log":         {func(l *logged) { l.trust.Log.Key = logtest.NewSigner("log.example/2", 1, 1).VKey }, nil, "the checkpoint is not signed by the log's key log.example/2+"},
		"the quorum is unmet": {func(l *logged) { l.cosigned[1] = time.Time{} }, nil, "the cosignatures of 1 witnesses that count, and 2 are wanted"},
		"strangers cosigned": {func(l *logged) {
			l.witnesses[0] = logtest.NewSigner("w1.example", 4, 8)
			l.cosigned[2] = time.Time{}
		}, nil, "the cosignatures of 1 witnesses that count, and 2 are wanted"},
		"backdated": {func(l *logged) {
			l.cosigned[0], l.cosigned[1] = keyMade.Add(66*time.Minute), keyMade.Add(67*time.Minute)
		},
			nil, "w1.example cosigned at 2026-03-01T13:06:00Z, more than 1h0m0s after the entry was made at 2026-03-01T12:00:00Z"},
		"postdated": {func(l *logged) { l.cosigned[0] = keyMade.Add(-6 * time.Minute) }, nil, "w1.example cosigned at 2026-03-01T11:54:00Z, before the entry was made"},
		"cosigned in the future": {func(l *logged) {
			l.trust.Log.MaxDelay = ""
			l.cosigned[0] = time.Now().Add(time.Hour)
		}, nil, "which is in the future"},
		"after of another history": {func(l *logged) {
			l.statement.After = l.head(l.other, 6, l.afterAt)
		}, nil, "the checkpoint that the entry names, of size 6, is of another history than the proof's, of size 13"},
		"after of another log": {func(l *logged) {
			other := *l
			other.keys = []*logtest.Signer{logtest.NewSigner("log.example/2", 1, 1)}
			l.statement.After = other.head(l.log, 6, l.afterAt)
		}, nil, "the checkpoint that the entry names: the checkpoint is not signed by the log's key"},
		"after of later than the key": {func(l *logged) {
			l.afterAt = []time.Time{keyMade.Add(6 * time.Minute), keyMade.Add(7 * time.Minute), {}}
		}, nil, "the entry names a checkpoint that was cosigned at 2026-03-01T12:06:00Z, after the entry was made at 2026-03-01T12:00:00Z"},
		"after that is no checkpoint":  {func(l *logged) { l.statement.After = "log.example/keys\n6\nhash\n\n— log.example/keys AAAA\n" }, nil, "the checkpoint that the entry names: not a checkpoint"},
		"a log that cannot be trusted": {nil, func(l *logged, _ *provenance.Evidence, _ *tlogproof.Proof) { l.trust.Log.Key = "k" }, `what is trusted: the log: "k" is not a verifier key`},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLogged()
			if test.change != nil {
				test.change(l)
			}
			if l.statement.After == "" {
				l.statement.After = l.head(l.log, l.after, l.afterAt)
			}
			e, proof := l.evidenceOf(t, signed(t, l.statement, "alice"))
			if test.after != nil {
				test.after(l, &e, proof)
				if len(e.Proof) > 0 {
					e.Proof = proof.Encode()
				}
			}
			r, err := l.trust.Verify(e, time.Now())
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "provenance: ") {
				t.Errorf("%v, want %q", err, test.want)
			}
			if len(r.Findings) > 0 {
				wantFinding(t, r, provenance.Refused, strings.TrimPrefix(err.Error(), "provenance: "))
			}
		})
	}
}
