// Package logtest has a transparency log in memory, its witnesses, and a server like qrandlog
// serve, for tests. It is written from the C2SP documents, apart from what it tests.
package logtest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"golang.org/x/mod/sumdb/tlog"

	"example.com/qrand/provenance"
	"example.com/qrand/provenance/tlogproof"
)

// A Signer signs checkpoints, for a log or a witness.
type Signer struct {
	Name, VKey string
	ID         []byte // the key ID
	sign       func(c tlogproof.Checkpoint, at time.Time) []byte
}

// NewSigner makes a Signer whose kind is a signature type of https://c2sp.org/signed-note: 1
// (Ed25519), 4 or 6 (cosignatures of Ed25519 and ML-DSA-44). The same seed makes the same key.
func NewSigner(name string, kind, seed byte) *Signer { return newSigner(name, kind, [32]byte{seed}) }

// NewRandomSigner is NewSigner with a new key, which nobody can make again.
func NewRandomSigner(name string, kind byte) *Signer {
	var seed [32]byte
	rand.Read(seed[:]) // it never fails
	return newSigner(name, kind, seed)
}

func newSigner(name string, kind byte, seed [32]byte) *Signer {
	s := &Signer{Name: name}
	var public []byte
	if kind == 6 {
		pk, sk := mldsa44.NewKeyFromSeed(&seed)
		public = pk.Bytes()
		s.sign = func(c tlogproof.Checkpoint, at time.Time) []byte {
			when := binary.BigEndian.AppendUint64(nil, uint64(at.Unix()))
			m := fmt.Appendf(nil, "subtree/v1\n\x00%c%s%s%c%s", len(name), name, when, len(c.Origin), c.Origin)
			m = binary.BigEndian.AppendUint64(m, 0)
			m = binary.BigEndian.AppendUint64(m, uint64(c.Size))
			m = append(m, c.Hash[:]...)
			sig := make([]byte, mldsa44.SignatureSize)
			if err := mldsa44.SignTo(sk, m, nil, false, sig); err != nil {
				panic(err) // only if the context is too long
			}
			return append(when, sig...)
		}
	} else {
		key := ed25519.NewKeyFromSeed(seed[:])
		public = key.Public().(ed25519.PublicKey)
		s.sign = func(c tlogproof.Checkpoint, at time.Time) []byte {
			if kind == 1 {
				return ed25519.Sign(key, []byte(c.String()))
			}
			m := fmt.Sprintf("cosignature/v1\ntime %d\n%v", at.Unix(), c)
			return append(binary.BigEndian.AppendUint64(nil, uint64(at.Unix())), ed25519.Sign(key, []byte(m))...)
		}
	}
	public = append([]byte{kind}, public...)
	sum := sha256.Sum256(append([]byte(name+"\n"), public...))
	s.ID = sum[:4]
	s.VKey = fmt.Sprintf("%s+%x+%s", name, s.ID, base64.StdEncoding.EncodeToString(public))
	return s
}

// Sign returns a signature of the checkpoint, made at that time.
func (s *Signer) Sign(c tlogproof.Checkpoint, at time.Time) []byte { return s.sign(c, at) }

// Line is a Signer's line of a signed note.
func (s *Signer) Line(c tlogproof.Checkpoint, at time.Time) string {
	return fmt.Sprintf("— %s %s\n", s.Name, base64.StdEncoding.EncodeToString(append(bytes.Clone(s.ID), s.sign(c, at)...)))
}

// Signed is a checkpoint with its signatures.
func Signed(c tlogproof.Checkpoint, lines ...string) string {
	return c.String() + "\n" + strings.Join(lines, "")
}

// A Tree is the entries of a log.
type Tree struct {
	Origin string
	Leaves [][]byte
	stored []tlog.Hash
}

// NewTree makes a Tree of the log log.example/keys.
func NewTree(leaves ...string) *Tree {
	l := &Tree{Origin: "log.example/keys"}
	for _, leaf := range leaves {
		l.Add([]byte(leaf))
	}
	return l
}

// must is for functions that fail only if a Tree cannot read its hashes.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Add adds a leaf, if it is not there, and returns its index.
func (l *Tree) Add(leaf []byte) (index int64) {
	for i, old := range l.Leaves {
		if bytes.Equal(old, leaf) {
			return int64(i)
		}
	}
	index = int64(len(l.Leaves))
	l.Leaves = append(l.Leaves, leaf)
	l.stored = append(l.stored, must(tlog.StoredHashes(index, leaf, l))...)
	return index
}

// ReadHashes makes it a tlog.HashReader.
func (l *Tree) ReadHashes(indexes []int64) (out []tlog.Hash, err error) {
	for _, i := range indexes {
		out = append(out, l.stored[i])
	}
	return out, nil
}

// Head is the checkpoint of the first entries.
func (l *Tree) Head(size int64) tlogproof.Checkpoint {
	hash := tlog.Hash(sha256.Sum256(nil))
	if size > 0 {
		hash = must(tlog.TreeHash(size, l))
	}
	return tlogproof.Checkpoint{Origin: l.Origin, Size: size, Hash: hash}
}

// Prove proves an entry of the first size ones, and growth from after, if that is not negative.
// The proof has no checkpoint yet.
func (l *Tree) Prove(size, index, after int64) *tlogproof.Proof {
	p := &tlogproof.Proof{Index: index, Hashes: must(tlog.ProveRecord(size, index, l))}
	if after >= 0 {
		p.After = &tlogproof.Consistency{Size: after}
		if after > 0 {
			p.After.Hashes = must(tlog.ProveTree(size, after, l))
		}
	}
	return p
}

// A Server is a log that takes envelopes over HTTP, as docs/transparency.md describes it.
type Server struct {
	URL, Token   string
	Key, Witness *Signer
	http         *httptest.Server

	mu      sync.Mutex
	tree    *Tree
	status  int  // of every answer; 0: as it should be
	pending bool // the witness is away
}

// NewServer starts a log with one witness on this host. Close it.
func NewServer() *Server {
	s := &Server{Token: "a-token", tree: NewTree(), Key: NewSigner("log.example/keys", 1, 1), Witness: NewSigner("witness.example/w1", 4, 2)}
	s.http = httptest.NewServer(s)
	s.URL = s.http.URL
	return s
}

// Close ends it.
func (s *Server) Close() { s.http.Close() }

// Trusted is what a trust file says of the log.
func (s *Server) Trusted() *provenance.TrustedLog {
	return &provenance.TrustedLog{Key: s.Key.VKey, Witnesses: []provenance.TrustedWitness{{Name: "Wanda", Key: s.Witness.VKey}}, Quorum: 1, MaxDelay: "1h"}
}

// Fail makes the log give every request this status. 0 ends that.
func (s *Server) Fail(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

// SetWitnessAway lets the log take envelopes and give no proofs of them, or ends that.
func (s *Server) SetWitnessAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = away
}

// Head is the checkpoint with its signatures.
func (s *Server) Head() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head()
}

func (s *Server) head() string {
	c := s.tree.Head(int64(len(s.tree.Leaves)))
	return Signed(c, s.Key.Line(c, time.Now()), s.Witness.Line(c, time.Now()))
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 65_535))
	s.mu.Lock()
	defer s.mu.Unlock()
	path, hash, _ := strings.Cut(r.URL.Path[1:], "/")
	var index int64 = -1
	switch request := r.Method + " " + path; {
	case s.status != 0:
		http.Error(w, "no", s.status)
		return
	case request == "GET checkpoint":
		io.WriteString(w, s.head())
		return
	case request == "POST add" && r.Header.Get("Authorization") != "Bearer "+s.Token:
		http.Error(w, "this is not a client's token", http.StatusUnauthorized)
		return
	case request == "POST add" && err != nil:
		http.Error(w, "an entry has at most 65535 bytes", http.StatusRequestEntityTooLarge)
		return
	case request == "POST add":
		index = s.tree.Add(body)
	case request == "GET proof":
		for i, leaf := range s.tree.Leaves {
			if h := tlog.RecordHash(leaf); hex.EncodeToString(h[:]) == hash {
				index, body = int64(i), leaf
			}
		}
	}
	if index < 0 {
		http.Error(w, "not in the log", http.StatusNotFound)
		return
	} else if s.pending {
		http.Error(w, "pending", http.StatusAccepted)
		return
	}
	after := int64(-1)
	if e, err := provenance.ParseEnvelope(body); err == nil {
		if statement, err := e.Statement(); err == nil && statement.After != "" {
			fmt.Sscan(strings.Split(statement.After, "\n")[1], &after)
		}
	}
	proof := s.tree.Prove(int64(len(s.tree.Leaves)), index, after)
	proof.Checkpoint = s.head()
	w.Write(proof.Encode())
}
