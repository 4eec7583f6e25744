package transparency

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"example.com/qrand/provenance/tlogproof"
	"example.com/qrand/transparency/internal/atomicfile"
)

// A Monitor follows a log: it reads every entry, and makes sure that the log only grows.
type Monitor struct {
	// At is where the log is: an https URL, or a folder. Required.
	At string

	// Policy has the keys of the log. If it has witnesses, their quorum must have cosigned.
	// Required.
	Policy *tlogproof.Policy

	// HeadFile keeps the last head that was consistent with all before it. The Monitor makes it
	// at its first Check. Required.
	HeadFile string

	// Verify returns what is wrong with an entry. It gets each entry once, in their order: also
	// those of earlier runs, so that it can compare an entry with all before it.
	// VerifyStatements makes one. Nil: CheckEnvelope.
	Verify func(index int64, entry []byte) error

	source  source
	read    *compact.Range // the hash over the entries that were read
	bad     int            // entries that Verify refused
	reasons []string       // of the first maxReasons of them
}

const maxReasons = 20

// A MisbehaviorError says that a log broke its promise, or has an entry that it must not have.
type MisbehaviorError struct{ Reason string }

func (e *MisbehaviorError) Error() string { return e.Reason }

// Check reads what is new in the log, and returns its head. The error is a MisbehaviorError if
// the log was rolled back, if it signed another history than that of HeadFile, or if an entry
// is not the one that it signed. Then HeadFile stays as it is. After a rollback or another
// history, the checkpoint that does not fit is in HeadFile.conflict: the log signed both, which
// shows others what it did. The error is a MisbehaviorError, too, if Verify refuses entries. Any
// other error says that the log could not be read.
func (m *Monitor) Check(ctx context.Context) (c tlogproof.Checkpoint, err error) {
	if m.source == nil {
		if m.source, err = newSource(m.At); err != nil {
			return c, err
		}
		m.read = (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	}
	var known tlogproof.Checkpoint
	last, err := os.ReadFile(m.HeadFile)
	if err == nil {
		known, err = m.Policy.OpenCosigned(string(last))
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return c, fmt.Errorf("the head in %s: %w", m.HeadFile, err)
	}
	text, err := m.source.read(ctx, checkpointPath, tlogproof.MaxSize)
	if err == nil {
		c, err = m.Policy.OpenCosigned(string(text))
	}
	if err != nil {
		return c, err
	}
	if err := m.compare(ctx, known, c, text); err != nil {
		return c, err
	}
	if !bytes.Equal(text, last) {
		if err := atomicfile.Write(m.HeadFile, text); err != nil {
			return c, err
		}
	}
	return c, m.refused()
}

// compare reads the log up to the head c, whose text with signatures is there, too.
func (m *Monitor) compare(ctx context.Context, known, c tlogproof.Checkpoint, text []byte) error {
	broken := func(format string, args ...any) error {
		conflict := m.HeadFile + ".conflict"
		return errors.Join(&MisbehaviorError{fmt.Sprintf(format, args...) + "; its checkpoint is in " + conflict}, atomicfile.Write(conflict, text))
	}
	if c.Size < known.Size {
		return broken("the log was rolled back: it has %d entries, and had %d", c.Size, known.Size)
	}
	forked := false
	if int64(m.read.End()) <= known.Size {
		if err := m.readTo(ctx, known.Size, c.Size); err != nil {
			return err
		}
		forked = known.Size > 0 && m.hash() != known.Hash
	}
	if err := m.readTo(ctx, c.Size, c.Size); err != nil {
		return err
	}
	if m.hash() != c.Hash {
		index, err := m.rewritten(ctx, c)
		if err != nil {
			return &MisbehaviorError{"an entry is not the one that the log signed, and its tiles do not say which"}
		}
		if index >= 0 {
			return &MisbehaviorError{fmt.Sprintf("entry %d is not the one that the log signed: it was rewritten", index)}
		}
		forked = true // what was read before is not in the log any more
	}
	if forked {
		return broken("the log has forked: it signed another history of its first %d entries than the one in %s", known.Size, m.HeadFile)
	}
	return nil
}

// readTo reads and verifies the entries below to, of a log of that size.
func (m *Monitor) readTo(ctx context.Context, to, size int64) error {
	for at := int64(m.read.End()); at < to; at = int64(m.read.End()) {
		entries, err := readEntries(ctx, m.source, at/tileWidth, size)
		if err != nil {
			return err
		}
		first := at / tileWidth * tileWidth
		for index := at; index < min(to, first+int64(len(entries))); index++ {
			entry := entries[index-first]
			verify := m.Verify
			if verify == nil {
				verify = CheckEnvelope
			}
			if err := verify(index, entry); err != nil {
				m.bad++
				if len(m.reasons) < maxReasons {
					m.reasons = append(m.reasons, fmt.Sprintf("entry %d: %s", index, strings.TrimPrefix(err.Error(), "provenance: ")))
				}
			}
			h := tlog.RecordHash(entry)
			if err := m.read.Append(h[:], nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// hash is that over the entries that were read.
func (m *Monitor) hash() tlog.Hash {
	h, err := m.read.GetRootHash(nil)
	if err != nil || len(h) == 0 {
		return sha256.Sum256(nil) // RFC 6962 section 2.1
	}
	return tlog.Hash(h)
}

// rewritten finds the first entry that does not have the hash in the tree. If each has it, it
// returns -1.
func (m *Monitor) rewritten(ctx context.Context, c tlogproof.Checkpoint) (int64, error) {
	hashes := tree(ctx, m.source, c)
	for n := int64(0); n*tileWidth < c.Size; n++ {
		entries, err := readEntries(ctx, m.source, n, c.Size)
		if err != nil {
			return 0, err
		}
		var indexes []int64
		for i := range entries {
			indexes = append(indexes, tlog.StoredHashIndex(0, n*tileWidth+int64(i)))
		}
		signed, err := hashes.ReadHashes(indexes)
		if err != nil {
			return 0, err
		}
		for i, entry := range entries {
			if tlog.RecordHash(entry) != signed[i] {
				return n*tileWidth + int64(i), nil
			}
		}
	}
	return -1, nil
}

// refused is the error about entries that Verify refused, with a line for each.
func (m *Monitor) refused() error {
	if m.bad == 0 {
		return nil
	}
	text := fmt.Sprintf("entries that are refused: %d\n%s", m.bad, strings.Join(m.reasons, "\n"))
	if more := m.bad - len(m.reasons); more > 0 {
		text += fmt.Sprintf("\nand %d more", more)
	}
	return &MisbehaviorError{text}
}

// CheckEnvelope checks that an entry is an envelope of a statement. It verifies no signature.
func CheckEnvelope(_ int64, entry []byte) error {
	var e struct {
		PayloadType string `json:"payloadType"`
	}
	if err := json.Unmarshal(entry, &e); err != nil || e.PayloadType != "application/vnd.in-toto+json" {
		return errors.New("it is not an envelope with payloadType application/vnd.in-toto+json")
	}
	return nil
}

// ReadKeys reads a file of verifier keys, one in each line, as Create writes it.
func ReadKeys(path string) (vkeys []string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if vkeys = strings.Fields(string(data)); len(vkeys) == 0 {
		return nil, fmt.Errorf("%s has no keys", path)
	}
	return vkeys, nil
}
