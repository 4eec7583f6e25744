package provenance

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"example.com/qrand"
	"example.com/qrand/internal/clock"
	"example.com/qrand/internal/version"
)

// A Recorder is an io.Reader that reads from a Source and notes the state of that. It is
// for one key, and for one goroutine at a time.
type Recorder struct {
	src interface { // a *qrand.Source
		Read(p []byte) (int, error)
		Status() qrand.Status
	}
	before qrand.Status // of the Source before the first byte
	after  qrand.Status // and after the last one
	bytes  int64
}

// NewRecorder returns a Recorder for the next key to be made from src.
func NewRecorder(src *qrand.Source) *Recorder { return &Recorder{src: src} }

// Read reads from the Source. Under RequireFresh it also returns qrand.ErrStale if the block
// that went in last is older than MaxAge, though one before it is not: the Record could not
// say that the Policy was kept.
func (r *Recorder) Read(p []byte) (int, error) {
	first := r.bytes == 0
	if first {
		r.before = r.src.Status()
	}
	n, err := r.src.Read(p)
	if first && n > 0 && !meetsPolicy(r.before) {
		// The block that the Policy wants came after Status was called.
		r.before = r.src.Status()
		if n, err = r.src.Read(p); n > 0 && !meetsPolicy(r.before) {
			clear(p)
			n, err = 0, qrand.ErrStale
		}
	}
	r.bytes += int64(n)
	r.after = r.src.Status()
	return n, err
}

// meetsPolicy reports whether the blocks in a Source's key are what its Policy wants, as a
// Record of that Status would say it.
func meetsPolicy(st qrand.Status) bool {
	if st.Policy == qrand.Augment {
		return true
	}
	age, _ := ages(st)
	return st.Blocks > 0 && (st.Policy != qrand.RequireFresh || age.Seconds() <= st.MaxAgeSeconds)
}

// ages returns how long before st.Time the last block came from the service, and how long
// before it went into the key, which is not longer. The clock may have been set meanwhile.
func ages(st qrand.Status) (received, mixed time.Duration) {
	mixed = max(0, clock.Age(st.Time, st.LastBlock))
	return max(mixed, clock.Age(st.Time, st.LastReceived)), mixed
}

// Bytes returns how many bytes were read.
func (r *Recorder) Bytes() int64 { return r.bytes }

// Record returns what is known of the bytes read, for a key of the named algorithm. spki
// is the public key, as a DER SubjectPublicKeyInfo. A block counts if it was in the
// Source's key before the first byte. An emulated block counts also if it came later. If
// the Source is closed, no block counts. The times of blocks are what the clock of
// Record.Time says, even if it was set since they came. Parse accepts what Encode makes of
// the Record.
func (r *Recorder) Record(algorithm string, spki []byte) (Record, error) {
	if r.bytes == 0 {
		return Record{}, errors.New("provenance: no byte was read from the Source: the function that made the key ignores its reader: use package keygen")
	}
	before := r.before
	record := Record{
		Version:       Version,
		Algorithm:     algorithm,
		PublicKey:     Digest(spki),
		Time:          before.Time.UTC().Round(0),
		Bytes:         r.bytes,
		Entropy:       OSOnly,
		State:         before.State,
		Reason:        before.Reason,
		Mix:           before.Mix,
		Policy:        before.Policy,
		MaxAgeSeconds: before.MaxAgeSeconds,
		Software:      version.Path + " " + version.Get(),
		GoVersion:     runtime.Version(),
	}
	if r.after.State == qrand.Degraded || r.after.State == qrand.Closed {
		record.State, record.Reason = r.after.State, r.after.Reason
	}
	if before.Blocks > 0 && r.after.State != qrand.Closed { // or some bytes may come from crypto/rand alone
		received, mixed := ages(before)
		record.Entropy = Quantum
		record.Blocks, record.Fingerprints = before.Blocks, before.Fingerprints
		record.LastBlock, record.LastReceived = record.Time.Add(-mixed), record.Time.Add(-received)
		record.AgeSeconds = received.Seconds()
		record.Endpoint = oneLine(before.LastEndpoint)
		if strings.HasPrefix(record.Endpoint, "https://") && before.LastEndpointCertificate != "" && before.LastEndpointPublicKey != "" {
			record.EndpointCertificate, record.EndpointPublicKey = before.LastEndpointCertificate, before.LastEndpointPublicKey
		}
	}
	if r.after.Emulated {
		record.Entropy = Emulated
	}
	if err := record.validate(); err != nil {
		return Record{}, fmt.Errorf("provenance: %w", err)
	}
	return record, nil
}

// Receipts returns the receipts of relays for the blocks that the Record names, each once, for
// Statement.Receipts. record is that of this Recorder, whose Source must have asked for them
// (qrand.Config.Receipts). It returns an error if a block has no receipt, or one that does
// not fit the Record. It does not verify signatures: Trust.Verify does.
func (r *Recorder) Receipts(record Record) (receipts []Envelope, err error) {
	if len(record.Fingerprints) == 0 {
		return nil, errors.New("provenance: no block was in the key, so no relay signed a receipt for one")
	}
	seen := map[string]bool{}
	for i, f := range record.Fingerprints {
		if i >= len(r.before.Receipts) || r.before.Receipts[i] == "" {
			return nil, fmt.Errorf("provenance: no receipt came with the block %s: a relay signs receipts if it has a key for that (qrand relay --receipt-key)", f)
		}
		text := r.before.Receipts[i]
		e, err := ParseEnvelope([]byte(text + "\n"))
		var receipt Receipt
		if err == nil {
			receipt, err = e.Receipt()
		}
		var named []string
		if err == nil {
			named, err = receipt.named(record)
		}
		if err == nil && !slices.Contains(named, f) {
			err = errors.New("it is for other blocks")
		}
		if err != nil {
			return nil, fmt.Errorf("provenance: the receipt that came with the block %s: %s", f, strings.TrimPrefix(err.Error(), "provenance: "))
		}
		if !seen[text] {
			seen[text] = true
			receipts = append(receipts, e)
		}
	}
	return receipts, nil
}

// oneLine makes a text of one line of the name that a BlockSource gave its endpoint.
func oneLine(s string) string {
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return unicode.ReplacementChar
		}
		return c
	}, s)
	for len(s) > maxText {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}
