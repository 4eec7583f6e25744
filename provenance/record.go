// Package provenance records where the entropy of a key came from.
//
// Read the random bytes for the key through a [Recorder], then ask it for the [Record].
// That says what was true of the Source when the bytes were read: whether quantum entropy
// was in its key, where it came from, and since when.
//
//	rec := provenance.NewRecorder(src)
//	key, err := keygen.ECDSA(elliptic.P256(), rec)
//	...
//	record, err := rec.Record("ecdsa-p256", spki) // DER, as x509.MarshalPKIXPublicKey gives it
//
// A Record is a claim of the program that made it, not a proof. It is not signed, and what
// it says of the service is what the service said. Sign it, or keep it where the users of
// the key cannot change it. It holds no secret.
package provenance

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"example.com/qrand"
)

// Version is the version of the Records that this package writes. It reads no other.
const Version = 1

// An Entropy says in a word what was in the Source's key besides crypto/rand.
type Entropy string

const (
	Quantum  Entropy = "quantum"     // a block that the service calls quantum entropy
	Emulated Entropy = "emulated"    // a block of an emulator: for rehearsals only
	OSOnly   Entropy = "crypto/rand" // no block: as good as crypto/rand, and no better
)

// A Record says what is known of the random bytes of one key.
type Record struct {
	Version   int       `json:"version"`
	Algorithm string    `json:"algorithm"`         // as the command qrand keygen names it: "ml-dsa-65"
	PublicKey string    `json:"public_key_sha256"` // in hex, of the DER SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7)
	Time      time.Time `json:"time"`              // when the first byte was asked for
	Bytes     int64     `json:"bytes"`             // read from the Source for the key
	Entropy   Entropy   `json:"entropy"`

	State  qrand.State  `json:"state"`            // of the Source before the first byte, or Degraded if it was so after the last one
	Reason qrand.Reason `json:"reason,omitempty"` // of Degraded
	Mix    qrand.Mix    `json:"mix"`
	Policy qrand.Policy `json:"policy"`

	// What had gone into the Source's key before the first byte.
	Blocks       int64     `json:"blocks"`                 // how many
	Fingerprints []string  `json:"fingerprints,omitempty"` // keyed, of the last 16 of them, the newest last: see qrand.FingerprintKey
	LastBlock    time.Time `json:"last_block,omitzero"`    // when the newest went in
	LastReceived time.Time `json:"last_received,omitzero"` // when it had come from the service
	AgeSeconds   float64   `json:"age_seconds,omitempty"`  // from LastReceived to Time, by the wall clock or the monotonic one, whichever says more
	Endpoint     string    `json:"endpoint,omitempty"`     // where it had come from

	Certificate *Certificate `json:"certificate,omitempty"` // made with the key, if one was

	Software  string `json:"software"`   // module and version
	GoVersion string `json:"go_version"` // runtime.Version
}

// A Certificate is a certificate, or a certificate request, that was signed with the key
// when it was made.
type Certificate struct {
	Kind   string `json:"kind"`   // "certificate" or "request"
	SHA256 string `json:"sha256"` // in hex, of its DER
	Bytes  int64  `json:"bytes"`  // read from the Source for serial number and signature
}

// Digest returns the SHA-256 of DER in hex, as in Record.PublicKey and Certificate.SHA256.
func Digest(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// ErrMismatch is in the error of Check for the Record of another key.
var ErrMismatch = errors.New("the record is that of another key")

// Check reports whether the Record is that of the public key whose DER
// SubjectPublicKeyInfo is spki.
func (r Record) Check(spki []byte) error {
	if got := Digest(spki); got != r.PublicKey {
		return fmt.Errorf("provenance: %w: the public key's SHA-256 is %s, the record's %s", ErrMismatch, got, r.PublicKey)
	}
	return nil
}

// maxRecord is far more than a Record needs.
const maxRecord = 1 << 20

// Parse reads a Record, and refuses one that contradicts itself.
func Parse(data []byte) (Record, error) {
	var r Record
	if len(data) > maxRecord {
		return r, fmt.Errorf("provenance: %d bytes are too many for a record", len(data))
	}
	var kind struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return r, fmt.Errorf("provenance: not a record: %w", err)
	}
	if kind.Version != Version {
		return r, fmt.Errorf("provenance: the record's version is %d, not %d: read it with the qrand that wrote it", kind.Version, Version)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Record{}, fmt.Errorf("provenance: not a record: %w", err)
	}
	if err := r.validate(); err != nil {
		return Record{}, fmt.Errorf("provenance: the record contradicts itself: %w", err)
	}
	return r, nil
}

const (
	maxText = 1 << 10
	maxAge  = 1e10 // seconds: centuries
)

// The patterns are compiled when the first record is checked: a program that imports this
// package and makes none should not pay for them.
var (
	digestPattern      = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("^[0-9a-f]{64}$") })
	fingerprintPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("^[0-9a-f]{8}:[0-9a-f]{32}$") })
)

func (r Record) validate() error {
	// So that a program can print them in a line.
	for _, text := range []string{r.Algorithm, r.Endpoint, r.Software, r.GoVersion, string(r.Reason)} {
		if len(text) > maxText || !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) {
			return fmt.Errorf("%.100q is not text of one line", text)
		}
	}
	for _, f := range r.Fingerprints {
		if !fingerprintPattern().MatchString(f) {
			return fmt.Errorf("%.100q is not a fingerprint", f)
		}
	}
	switch {
	case !digestPattern().MatchString(r.PublicKey):
		return errors.New("public_key_sha256 is not a SHA-256 in hex")
	case r.Algorithm == "":
		return errors.New("it names no algorithm")
	case r.Bytes < 1:
		return fmt.Errorf("no key is made of %d bytes", r.Bytes)
	case r.Entropy != Quantum && r.Entropy != Emulated && r.Entropy != OSOnly:
		return fmt.Errorf("unknown entropy %q", r.Entropy)
	case r.Entropy == OSOnly && r.Blocks != 0:
		return fmt.Errorf("%d blocks were in the key, and entropy is %q", r.Blocks, r.Entropy)
	case r.Entropy == Quantum && r.Blocks < 1:
		return fmt.Errorf("no block was in the key, and entropy is %q", r.Entropy)
	case r.Blocks > 0 && (r.State == qrand.Starting || r.State == qrand.Closed):
		return fmt.Errorf("blocks were in the key of a Source that was %v", r.State)
	case r.Time.IsZero():
		return errors.New("it has no time")
	case !(r.AgeSeconds >= 0 && r.AgeSeconds < maxAge):
		return fmt.Errorf("no block is %g seconds old", r.AgeSeconds)
	case r.Certificate != nil && r.Certificate.Kind != "certificate" && r.Certificate.Kind != "request":
		return fmt.Errorf("unknown kind of certificate %q", r.Certificate.Kind)
	case r.Certificate != nil && (!digestPattern().MatchString(r.Certificate.SHA256) || r.Certificate.Bytes < 0):
		return errors.New("its certificate has a malformed SHA-256 or a negative number of bytes")
	case (r.Blocks > 0) == r.LastReceived.IsZero(), (r.Blocks > 0) == r.LastBlock.IsZero(), (r.Blocks > 0) != (len(r.Fingerprints) > 0), int64(len(r.Fingerprints)) > r.Blocks:
		return fmt.Errorf("what it says of the last block does not fit the number of blocks, %d", r.Blocks)
	}
	return nil
}
