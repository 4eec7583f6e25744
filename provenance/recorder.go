package provenance

import (
	"errors"
	"runtime"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/clock"
	"example.com/qrand/internal/version"
)

// A Recorder is an io.Reader that reads from a Source and notes the state of that. It is
// for one key, and for one goroutine at a time.
type Recorder struct {
	src    *qrand.Source
	before qrand.Status // of the Source before the first byte
	after  qrand.Status // and after the last one
	bytes  int64
}

// NewRecorder returns a Recorder for the next key to be made from src.
func NewRecorder(src *qrand.Source) *Recorder { return &Recorder{src: src} }

// Read reads from the Source.
func (r *Recorder) Read(p []byte) (int, error) {
	if r.bytes == 0 {
		r.before = r.src.Status()
	}
	n, err := r.src.Read(p)
	r.bytes += int64(n)
	r.after = r.src.Status()
	return n, err
}

// Bytes returns how many bytes were read.
func (r *Recorder) Bytes() int64 { return r.bytes }

// Record returns what is known of the bytes read, for a key of the named algorithm. spki
// is the public key, as a DER SubjectPublicKeyInfo. A block counts if it was in the
// Source's key before the first byte. An emulated block counts also if it came later. If
// the Source is closed, no block counts.
func (r *Recorder) Record(algorithm string, spki []byte) (Record, error) {
	if r.bytes == 0 {
		return Record{}, errors.New("provenance: no byte was read from the Source: the function that made the key ignores its reader: use package keygen")
	}
	before := r.before
	if r.after.State == qrand.Closed { // then some bytes may come from crypto/rand alone
		before.Blocks, before.Fingerprints = 0, nil
		before.LastBlock, before.LastReceived, before.LastEndpoint = time.Time{}, time.Time{}, ""
	}
	record := Record{
		Version:      Version,
		Algorithm:    algorithm,
		PublicKey:    Digest(spki),
		Time:         before.Time.UTC(),
		Bytes:        r.bytes,
		Entropy:      OSOnly,
		State:        before.State,
		Reason:       before.Reason,
		Mix:          before.Mix,
		Policy:       before.Policy,
		Blocks:       before.Blocks,
		Fingerprints: before.Fingerprints,
		LastBlock:    before.LastBlock.UTC(),
		LastReceived: before.LastReceived.UTC(),
		Endpoint:     before.LastEndpoint,
		Software:     version.Path + " " + version.Get(),
		GoVersion:    runtime.Version(),
	}
	if r.after.State == qrand.Degraded || r.after.State == qrand.Closed {
		record.State, record.Reason = r.after.State, r.after.Reason
	}
	if before.Blocks > 0 {
		record.Entropy = Quantum
		record.AgeSeconds = max(0, clock.Age(before.Time, before.LastReceived)).Seconds()
	}
	if r.after.Emulated {
		record.Entropy = Emulated
	}
	return record, nil
}
