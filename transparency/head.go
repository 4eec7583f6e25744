//go:build unix

package transparency

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	f_note "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"example.com/qrand/provenance/tlogproof"
)

// Spoken returns three lines about the newest checkpoint, to read aloud: the name of the log
// and its size; the hash in hex; the time and who signed then. The time is that of the newest
// cosignature, or without witnesses that of the log's own ML-DSA-44 signature.
func (l *Log) Spoken(ctx context.Context) (string, error) {
	text, err := l.Head(ctx)
	if err != nil {
		return "", err
	}
	vkeys, err := ReadKeys(filepath.Join(l.dir, publicFile))
	if err != nil {
		return "", err
	}
	p, err := tlogproof.NewPolicy(vkeys, l.witnesses, min(len(l.witnesses), 1), 0)
	if err != nil {
		return "", err
	}
	c, found, err := p.Open(text)
	if err != nil {
		return "", err
	}
	var who []string
	var at string
	for _, f := range found {
		who, at = append(who, f.Witness), f.Time.Format("2006-01-02 15:04:05")
	}
	if len(found) == 0 {
		v, err := f_note.NewVerifierForCosignatureV1(vkeys[1])
		if err != nil {
			return "", err
		}
		n, err := note.Open([]byte(text), note.VerifierList(v))
		if err != nil {
			return "", err
		}
		t, err := f_note.CoSigV1Timestamp(n.Sigs[0])
		if err != nil {
			return "", err
		}
		who, at = []string{"the log alone, no witness"}, t.UTC().Format("2006-01-02 15:04:05")
	}
	return fmt.Sprintf("%s, size %d\n%s\n%s UTC, %s\n", c.Origin, c.Size, c.Spoken(), at, strings.Join(who, ", ")), nil
}
