package tlogproof

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

var emptyHash = tlog.Hash(sha256.Sum256(nil)) // RFC 6962 section 2.1

// A Policy says which log is trusted, which witnesses, and how many of them. Use NewPolicy.
type Policy struct {
	log, witnesses []*Key
	quorum         int
	maxDelay       time.Duration
}

// NewPolicy makes a Policy. The log's keys have one name, which is the log's origin, and
// types 1 or 6: each of them must have signed. The witnesses' keys have types 4 or 6, and no
// two of all keys have the same public key: quorum of them must have cosigned. Without
// witnesses, pass a quorum of zero: then a log can show a history to each of us. MaxDelay is
// how long after an entry was made, by its own word, the witnesses may have cosigned; zero is
// no limit.
func NewPolicy(logKeys, witnessKeys []string, quorum int, maxDelay time.Duration) (*Policy, error) {
	p := &Policy{quorum: quorum, maxDelay: maxDelay}
	var all []*Key
	read := func(vkeys []string, who string, types ...byte) (keys []*Key, err error) {
		for _, vkey := range vkeys {
			k, err := ParseKey(vkey)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(types, k.kind()) {
				return nil, fmt.Errorf("the verifier key %v has type %d: that of a %s has type %d or %d", k, k.kind(), who, types[0], types[1])
			}
			if slices.ContainsFunc(all, func(other *Key) bool {
				return bytes.Equal(other.public[1:], k.public[1:]) || other.name == k.name && other.hash == k.hash
			}) {
				return nil, fmt.Errorf("the verifier key %v is given twice: a log and its witnesses have a key each", k)
			}
			keys, all = append(keys, k), append(all, k)
		}
		return keys, nil
	}
	var err error
	if p.log, err = read(logKeys, "log", typeEd25519, typeMLDSA44Cosignature); err != nil {
		return nil, err
	}
	if p.witnesses, err = read(witnessKeys, "witness", typeEd25519Cosignature, typeMLDSA44Cosignature); err != nil {
		return nil, err
	}
	switch {
	case len(p.log) == 0:
		return nil, errors.New("a policy needs the log's key")
	case slices.ContainsFunc(p.log, func(k *Key) bool { return k.name != p.log[0].name }):
		return nil, errors.New("the keys of a log have one name")
	case quorum < 0 || quorum > len(p.witnesses) || quorum == 0 && len(p.witnesses) > 0:
		return nil, fmt.Errorf("a quorum of %d does not fit %d witnesses", quorum, len(p.witnesses))
	case maxDelay < 0 || maxDelay > 0 && quorum == 0:
		return nil, errors.New("the limit of delay is negative, or there are no witnesses to say the time")
	}
	return p, nil
}

// Origin is the name of the log.
func (p *Policy) Origin() string { return p.log[0].name }

// clockError is how far apart the clocks of witnesses, and of whoever makes and verifies
// entries, may be.
const clockError = 5 * time.Minute

// A Cosignature is a witness's, on a checkpoint.
type Cosignature struct {
	Witness string    // the name of its key
	Time    time.Time // when it cosigned, in seconds
}

// Open verifies the log's signatures on a checkpoint and those cosignatures of the witnesses
// that are there, however few. Cosignatures are sorted by time.
func (p *Policy) Open(checkpoint string) (Checkpoint, []Cosignature, error) {
	if len(checkpoint) > MaxSize {
		return Checkpoint{}, nil, fmt.Errorf("not a checkpoint: it has more than %d bytes", MaxSize)
	}
	var known []note.Verifier
	for _, k := range slices.Concat(p.log, p.witnesses) {
		known = append(known, k)
	}
	n, err := note.Open([]byte(checkpoint), note.VerifierList(known...))
	var bad *note.InvalidSignatureError
	var unverified *note.UnverifiedNoteError
	switch {
	case errors.As(err, &bad):
		return Checkpoint{}, nil, fmt.Errorf("the signature of %.100s+%08x on the checkpoint is wrong: the checkpoint or the signature was changed", bad.Name, bad.Hash)
	case errors.As(err, &unverified):
		n = unverified.Note
	case err != nil:
		return Checkpoint{}, nil, errors.New("not a checkpoint: it is not a signed note")
	}
	signed := func(k *Key) int {
		return slices.IndexFunc(n.Sigs, func(s note.Signature) bool { return s.Name == k.name && s.Hash == k.hash })
	}
	for _, k := range p.log {
		if signed(k) >= 0 {
			continue
		}
		for _, s := range n.UnverifiedSigs {
			if s.Name == k.name {
				return Checkpoint{}, nil, fmt.Errorf("the checkpoint is not signed by the log's key %v, but by another key of this name, %08x", k, s.Hash)
			}
		}
		return Checkpoint{}, nil, fmt.Errorf("the checkpoint is not signed by the log's key %v", k)
	}
	c, err := ParseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	if c.Origin != p.Origin() {
		return Checkpoint{}, nil, fmt.Errorf("the checkpoint is of the log %.100q, not of %.100q", c.Origin, p.Origin())
	}
	var found []Cosignature
	for _, k := range p.witnesses {
		if i := signed(k); i >= 0 {
			found = append(found, Cosignature{k.name, timeOf(n.Sigs[i])})
		}
	}
	slices.SortStableFunc(found, func(a, b Cosignature) int { return a.Time.Compare(b.Time) })
	return c, found, nil
}

// OpenCosigned is Open, and wants the cosignatures of the quorum. The head of an empty log
// needs none.
func (p *Policy) OpenCosigned(checkpoint string) (Checkpoint, error) {
	c, found, err := p.Open(checkpoint)
	if err == nil && c.Size > 0 {
		_, err = p.timely(found, time.Time{})
	}
	return c, err
}

// An Entry is what a proof is about.
type Entry struct {
	Leaf  []byte    // the bytes that are in the log
	Made  time.Time // when they were made, by their own word; zero: they do not say
	After string    // the checkpoint that they name, seen before they were made; empty: none
}

// A Verdict is what follows from a proof.
type Verdict struct {
	Checkpoint
	Index        int64
	Cosignatures []Cosignature // those that count, sorted by time

	// Time is by when the entry was in the log: that many witnesses as are the quorum say so.
	// NotBefore is when the checkpoint that the entry names had as many cosignatures, and so
	// the entry is not older. Each is zero if nobody says.
	Time, NotBefore time.Time
}

// Verify verifies a proof: that the entry is in the log, that the log signed the checkpoint,
// and that a quorum of witnesses cosigned it within the limits of time. If the entry names an
// earlier checkpoint, the log signed that, too, and has only grown since. The error says in
// words what is wrong; nothing follows from a Verdict that comes with an error.
func (p *Policy) Verify(proof *Proof, e Entry) (Verdict, error) {
	c, found, err := p.Open(proof.Checkpoint)
	if err != nil {
		return Verdict{}, err
	}
	if _, err := proof.Includes(e.Leaf); err != nil {
		return Verdict{}, err
	}
	v := Verdict{Checkpoint: c, Index: proof.Index}
	if v.Cosignatures, err = p.timely(found, e.Made); err != nil {
		return Verdict{}, err
	}
	if p.quorum > 0 {
		// One of the quorum is honest, and says this time or an earlier one.
		v.Time = v.Cosignatures[p.quorum-1].Time
	}
	switch {
	case (e.After == "") != (proof.After == nil):
		return Verdict{}, errors.New("the entry names an earlier checkpoint and the proof shows no growth from it, or the reverse: it is the proof of another entry, or its extra line was changed")
	case e.After == "":
		return v, nil
	}
	if v.NotBefore, err = p.grown(proof, c, e); err != nil {
		return Verdict{}, err
	}
	return v, nil
}

// timely returns the cosignatures that count, at least as many as the quorum.
func (p *Policy) timely(found []Cosignature, made time.Time) (counted []Cosignature, err error) {
	now := time.Now()
	var reasons []string
	for _, c := range found {
		at := c.Time.Format(time.RFC3339)
		switch {
		case c.Time.After(now.Add(clockError)):
			reasons = append(reasons, fmt.Sprintf("%.100s cosigned at %s, which is in the future", c.Witness, at))
		case !made.IsZero() && c.Time.Before(made.Add(-clockError)):
			reasons = append(reasons, fmt.Sprintf("%.100s cosigned at %s, before the entry was made at %s", c.Witness, at, made.UTC().Format(time.RFC3339)))
		case !made.IsZero() && p.maxDelay > 0 && c.Time.After(made.Add(p.maxDelay+clockError)):
			reasons = append(reasons, fmt.Sprintf("%.100s cosigned at %s, more than %v after the entry was made at %s", c.Witness, at, p.maxDelay, made.UTC().Format(time.RFC3339)))
		default:
			counted = append(counted, c)
		}
	}
	if len(counted) < p.quorum {
		return nil, fmt.Errorf("the checkpoint has the cosignatures of %s", strings.Join(append([]string{
			fmt.Sprintf("%d witnesses that count, and %d are wanted", len(counted), p.quorum)}, reasons...), "; "))
	}
	return counted, nil
}

// grown verifies that the log has grown from the checkpoint that the entry names, and returns
// since when the entry can be.
func (p *Policy) grown(proof *Proof, to Checkpoint, e Entry) (notBefore time.Time, err error) {
	from, found, err := p.Open(e.After)
	if err != nil {
		return time.Time{}, fmt.Errorf("the checkpoint that the entry names: %w", err)
	}
	switch {
	case proof.After.Size != from.Size:
		return time.Time{}, fmt.Errorf("the entry names a checkpoint of size %d, the proof shows growth from size %d: it is the proof of another entry, or it was changed", from.Size, proof.After.Size)
	case proof.Index < from.Size:
		return time.Time{}, fmt.Errorf("the entry has index %d, and names a checkpoint of size %d that would have it already: the index or the name was changed", proof.Index, from.Size)
	case from.Size == 0 && len(proof.After.Hashes) > 0:
		return time.Time{}, errors.New("the proof shows growth from nothing with hashes: it was changed")
	}
	if from.Size > 0 {
		if err := tlog.CheckTree(proof.After.Hashes, to.Size, to.Hash, from.Size, from.Hash); err != nil {
			return time.Time{}, fmt.Errorf("the checkpoint that the entry names, of size %d, is of another history than the proof's, of size %d: the log was rewritten, or the proof was changed", from.Size, to.Size)
		}
	}
	if p.quorum == 0 || len(found) < p.quorum {
		return time.Time{}, nil
	}
	// One of the quorum is honest, and says this time or a later one.
	notBefore = found[len(found)-p.quorum].Time
	if !e.Made.IsZero() && notBefore.After(e.Made.Add(clockError)) {
		return time.Time{}, fmt.Errorf("the entry names a checkpoint that was cosigned at %s, after the entry was made at %s: one of the times is wrong", notBefore.Format(time.RFC3339), e.Made.UTC().Format(time.RFC3339))
	}
	return notBefore, nil
}
