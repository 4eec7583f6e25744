//go:build unix

package transparency

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	f_note "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/tessera"
	"golang.org/x/mod/sumdb/note"

	"example.com/qrand/internal/loopback"
)

// The files in the folder of a log.
const (
	secretFile  = "secret"      // the signing keys, as package note writes them, one a line
	publicFile  = "keys"        // their verifier keys
	witnessFile = "witnesses"   // the policy, in Sigsum's format; may be missing
	lockFile    = "append.lock" // of whoever appends
)

// Create makes the folder of a log that has that origin, with two keys: Ed25519, which every
// reader of signed notes knows, and ML-DSA-44, which holds against quantum computers. It
// returns their verifier keys. The witnesses are in Sigsum's policy format, or nil:
//
//	witness w1 witness.example/w1+HASH+KEY https://witness.example/
//	quorum w1
//
// The origin should be the address of the log without https://. It must not be that of
// another log.
func Create(dir, origin string, witnesses []byte) (vkeys []string, err error) {
	if len(origin) > 255 { // https://c2sp.org/tlog-cosignature
		return nil, errors.New("the origin has more than 255 bytes")
	}
	if _, _, err := parseWitnesses(witnesses); err != nil {
		return nil, err
	}
	ed, edPublic, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, fmt.Errorf("the origin %.100q: %w", origin, err)
	}
	pq, pqPublic, err := f_note.GenerateMLDSAKey(origin)
	if err != nil {
		return nil, fmt.Errorf("the origin %.100q: %w", origin, err)
	}
	if err := os.MkdirAll(filepath.Join(dir, tilesDir), 0o755); err != nil {
		return nil, err
	}
	// The secret comes first: a log that has one is never made again.
	files := []struct {
		name, text string
		mode       fs.FileMode
	}{{secretFile, ed + "\n" + pq + "\n", 0o600}, {witnessFile, string(witnesses), 0o644}, {publicFile, edPublic + "\n" + pqPublic + "\n", 0o644}}
	for _, f := range files {
		if f.text == "" {
			continue
		}
		w, err := os.OpenFile(filepath.Join(dir, f.name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
		if err != nil {
			return nil, err
		}
		_, err = w.WriteString(f.text)
		if err = errors.Join(err, w.Sync(), w.Close()); err != nil {
			return nil, err
		}
	}
	l, err := Open(dir, Config{})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	l.quorum = tessera.WitnessGroup{} // the first checkpoint is of nothing
	if _, err := l.append(); err != nil {
		return nil, err
	}
	return []string{edPublic, pqPublic}, nil
}

// readSigners reads the signing keys of a log.
func readSigners(dir string) (signers []note.Signer, err error) {
	data, err := os.ReadFile(filepath.Join(dir, secretFile))
	if err != nil {
		return nil, err
	}
	ed, pq, _ := bytes.Cut(bytes.TrimSpace(data), []byte("\n"))
	s, err := note.NewSigner(string(ed))
	if err == nil {
		signers = append(signers, s)
		var s *f_note.SubtreeSigner
		if s, err = f_note.NewMLDSASigner(string(pq)); err == nil {
			return append(signers, s), nil
		}
	}
	return nil, fmt.Errorf("%s has not the two keys of a log", filepath.Join(dir, secretFile)) // no error shows a key
}

// parseWitnesses reads which witnesses a log asks, and how many must cosign. It checks what
// Tessera does not: that nothing leaves this host in the clear.
func parseWitnesses(text []byte) (quorum tessera.WitnessGroup, vkeys []string, err error) {
	if len(text) == 0 {
		return quorum, nil, nil
	}
	if quorum, err = tessera.NewWitnessGroupFromPolicy(text); err != nil {
		return quorum, nil, fmt.Errorf("the policy of the witnesses: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if f := strings.Fields(line); len(f) == 4 && f[0] == "witness" {
			u, err := url.Parse(f[3])
			if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback.Is(u.Hostname())) {
				return quorum, nil, fmt.Errorf("the witness %.100q is at %.100q: it must be an https address, or on this host", f[1], f[3])
			}
			vkeys = append(vkeys, f[2])
		}
	}
	return quorum, vkeys, nil
}
