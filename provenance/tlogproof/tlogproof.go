// Package tlogproof reads, writes and verifies proofs that some bytes are an entry of a
// transparency log (https://c2sp.org/tlog-proof). A proof is checked offline, with keys that
// were got beforehand: begin with [NewPolicy] and [Policy.Verify].
//
// A proof is text: the entry's index, the hashes of its inclusion proof, and the checkpoint
// of the log (https://c2sp.org/tlog-checkpoint) with the signatures of the log and the
// cosignatures of witnesses (https://c2sp.org/tlog-cosignature). Hashes are those of RFC 6962
// section 2.1.
//
// The bytes may name an earlier head of the same log: a checkpoint that was seen before they
// were written. Then the proof's extra line shows that the log has only grown since. It is
// the base64 of the earlier size, 8 bytes big-endian, followed by the hashes of the
// consistency proof (RFC 6962 section 2.1.2) in their order, 32 bytes each:
//
//	extra base64(uint64(size) || hash || hash ...)
//
// A proof does not say what the bytes mean, nor that they are true.
package tlogproof

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A Proof shows that some bytes are an entry of a log.
type Proof struct {
	Index      int64            // of the entry, from zero
	Hashes     tlog.RecordProof // from the entry's sibling up
	After      *Consistency     // from the earlier head that the entry names; nil: it names none
	Checkpoint string           // the signed note
}

// Consistency shows that a log has grown from an earlier size to that of a checkpoint.
type Consistency struct {
	Size   int64
	Hashes tlog.TreeProof
}

// MaxSize is the most bytes that a proof has. It leaves room for 30 ML-DSA-44 signatures.
const MaxSize = 128 << 10

const (
	header    = "c2sp.org/tlog-proof@v1\n"
	maxHashes = 63 // of a tree whose size fits 63 bits
	maxDigits = 18 // of a size: with more than 1<<62 entries package tlog never ends
)

// Encode writes the proof in the only form that Parse reads.
func (p *Proof) Encode() []byte {
	var b strings.Builder
	b.WriteString(header)
	if p.After != nil {
		extra := binary.BigEndian.AppendUint64(nil, uint64(p.After.Size))
		for _, h := range p.After.Hashes {
			extra = append(extra, h[:]...)
		}
		fmt.Fprintf(&b, "extra %s\n", base64.StdEncoding.EncodeToString(extra))
	}
	fmt.Fprintf(&b, "index %d\n", p.Index)
	for _, h := range p.Hashes {
		fmt.Fprintf(&b, "%s\n", base64.StdEncoding.EncodeToString(h[:]))
	}
	return append([]byte(b.String()+"\n"), p.Checkpoint...)
}

// Parse reads a proof. It verifies nothing.
func Parse(data []byte) (*Proof, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("not a proof: it has more than %d bytes", MaxSize)
	}
	text, ok := strings.CutPrefix(string(data), header)
	if !ok {
		return nil, errors.New("not a proof: the first line is not c2sp.org/tlog-proof@v1")
	}
	text, checkpoint, ok := strings.Cut(text, "\n\n")
	if !ok {
		return nil, errors.New("not a proof: it has no checkpoint")
	}
	p := &Proof{Checkpoint: checkpoint}
	lines := strings.Split(text, "\n")
	if extra, ok := strings.CutPrefix(lines[0], "extra "); ok {
		b, err := base64.StdEncoding.DecodeString(extra)
		if err != nil || len(b) < 8 || (len(b)-8)%tlog.HashSize != 0 || len(b) > 8+maxHashes*tlog.HashSize {
			return nil, errors.New("not a proof: its extra line is not a consistency proof")
		}
		p.After = &Consistency{Size: int64(binary.BigEndian.Uint64(b))}
		for b = b[8:]; len(b) > 0; b = b[tlog.HashSize:] {
			p.After.Hashes = append(p.After.Hashes, tlog.Hash(b[:tlog.HashSize]))
		}
		lines = lines[1:]
	}
	if len(lines) == 0 || len(lines) > 1+maxHashes {
		return nil, fmt.Errorf("not a proof: it has no index, or more than %d hashes", maxHashes)
	}
	index, ok := strings.CutPrefix(lines[0], "index ")
	var err error
	if p.Index, err = strconv.ParseInt(index, 10, 64); !ok || err != nil || p.Index < 0 {
		return nil, fmt.Errorf("not a proof: %.100q is not an index", lines[0])
	}
	for _, line := range lines[1:] {
		h, err := tlog.ParseHash(line)
		if err != nil {
			return nil, fmt.Errorf("not a proof: %.100q is not a hash", line)
		}
		p.Hashes = append(p.Hashes, h)
	}
	if !bytes.Equal(p.Encode(), data) {
		return nil, errors.New("not a proof: it is not written in the one way that is read")
	}
	return p, nil
}

// Includes checks that the proof's hashes lead from the leaf to the checkpoint, whoever
// signed that. It returns the checkpoint.
func (p *Proof) Includes(leaf []byte) (Checkpoint, error) {
	text, _, _ := strings.Cut(p.Checkpoint, "\n\n")
	c, err := ParseCheckpoint(text + "\n")
	if err != nil {
		return Checkpoint{}, err
	}
	if p.Index >= c.Size {
		return Checkpoint{}, fmt.Errorf("the proof is for entry %d, but the checkpoint has %d entries: the index was changed, or it is another checkpoint", p.Index, c.Size)
	}
	if err := tlog.CheckRecord(p.Hashes, c.Size, c.Hash, p.Index, tlog.RecordHash(leaf)); err != nil {
		return Checkpoint{}, fmt.Errorf("these bytes are not entry %d of %d in the checkpoint: it is the proof of another entry, or its index, size or hashes were changed", p.Index, c.Size)
	}
	return c, nil
}

// A Checkpoint is the head of a log: the hash over its first Size entries.
type Checkpoint struct {
	Origin string // the name of the log
	Size   int64
	Hash   tlog.Hash
}

// ParseCheckpoint reads the text of a checkpoint, without signatures. It refuses extension
// lines, which https://c2sp.org/tlog-checkpoint advises against: witnesses say nothing about
// them.
func ParseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] == "" || lines[3] != "" {
		return Checkpoint{}, fmt.Errorf("not a checkpoint: it has not three lines: %.100q", text)
	}
	c := Checkpoint{Origin: lines[0]}
	var err error
	if c.Size, err = strconv.ParseInt(lines[1], 10, 64); err == nil {
		c.Hash, err = tlog.ParseHash(lines[2])
	}
	if err != nil || c.Size < 0 || len(lines[1]) > maxDigits || c.String() != text {
		return Checkpoint{}, fmt.Errorf("not a checkpoint: bad size or hash: %.100q", text)
	}
	if c.Size == 0 && c.Hash != emptyHash {
		return Checkpoint{}, errors.New("not a checkpoint: it has no entries, but a hash of some")
	}
	return c, nil
}

// ParseNote reads the checkpoint in a signed note (https://c2sp.org/signed-note), whoever signed
// that.
func ParseNote(text string) (Checkpoint, error) {
	var unverified *note.UnverifiedNoteError
	if _, err := note.Open([]byte(text), note.VerifierList()); len(text) > MaxSize || !errors.As(err, &unverified) {
		return Checkpoint{}, errors.New("not a checkpoint: it is not a signed note")
	}
	return ParseCheckpoint(unverified.Note.Text)
}

// Spoken is the hash in hex, four digits at a time, to read aloud and to write on paper.
func (c Checkpoint) Spoken() string {
	var fours []string
	for b := range slices.Chunk(c.Hash[:], 2) {
		fours = append(fours, hex.EncodeToString(b))
	}
	return strings.Join(fours, " ")
}

// String is the checkpoint's text, as it is signed.
func (c Checkpoint) String() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Hash[:]))
}
