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
//	text, err := record.Encode()
//
// A Record is a claim of the program that made it, not a proof. It is not signed, and what
// it says of the service is what the service said. It holds no secret. Keep it where the
// users of the key cannot change it, or let people and the key itself sign it, as a
// [Statement]. Whoever verifies that says in a [Trust] whose signatures count.
package provenance

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/qrand"
)

// Version is the version of the Records that this package writes. It also reads version 1,
// which has no max_age_seconds, no endpoint_certificate_sha256 and no
// endpoint_public_key_sha256.
const Version = 2

// An Entropy says in a word what was in the Source's key besides crypto/rand.
type Entropy string

const (
	Quantum  Entropy = "quantum"     // a block that the service calls quantum entropy
	Emulated Entropy = "emulated"    // a block of an emulator: for rehearsals only
	OSOnly   Entropy = "crypto/rand" // no block: as good as crypto/rand, and no better
)

// A Record says what is known of the random bytes of one key. docs/records.md describes
// each member.
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

	MaxAgeSeconds float64 `json:"max_age_seconds,omitempty"` // under RequireFresh: how old the Policy lets the newest block be

	// What had gone into the Source's key before the first byte.
	Blocks       int64     `json:"blocks"`                 // how many
	Fingerprints []string  `json:"fingerprints,omitempty"` // keyed, of the last 16 of them, the newest last: see qrand.FingerprintKey
	LastBlock    time.Time `json:"last_block,omitzero"`    // when the last one went in, as the clock of Time sees it
	LastReceived time.Time `json:"last_received,omitzero"` // when it had come from the service: Time less its age
	AgeSeconds   float64   `json:"age_seconds,omitempty"`  // its age at Time, by the wall clock or the monotonic one, whichever says more
	Endpoint     string    `json:"endpoint,omitempty"`     // where it had come from

	// SHA-256, in hex, of the DER of the TLS certificate that Endpoint had for it, and of the
	// SubjectPublicKeyInfo in that (RFC 5280 section 4.1). Empty without HTTPS.
	EndpointCertificate string `json:"endpoint_certificate_sha256,omitempty"`
	EndpointPublicKey   string `json:"endpoint_public_key_sha256,omitempty"`

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

// CheckTime reports whether the Record can have been written before now: not in the
// future, with a few minutes for clocks that differ, and not before qrand can have existed.
func (r Record) CheckTime(now time.Time) error {
	switch {
	case r.Time.After(now.Add(clockSkew)):
		return fmt.Errorf("provenance: the record's time is %s, and now it is %s: a clock is wrong, or the record was not written by qrand", r.Time.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case r.Time.Before(firstVersion):
		return fmt.Errorf("provenance: the record's time is %s, before the first version of qrand: a clock was wrong, or the record was not written by qrand", r.Time.UTC().Format(time.RFC3339))
	}
	return nil
}

const clockSkew = 5 * time.Minute

// firstVersion is a time before every version of qrand: all need Go 1.26, which came out in
// that month.
var firstVersion = time.Date(2026, time.February, 1, 0, 0, 0, 0, time.UTC)

// CheckEndpoint reports whether the last block in the key came over HTTPS from one of the
// trusted endpoints. These are base URLs as qrypt.Config has them, without a slash at the end.
func (r Record) CheckEndpoint(trusted []string) error {
	if r.Blocks == 0 {
		return errors.New("provenance: no block was in the key, so it came from no endpoint")
	}
	if err := checkEndpoint(r.Endpoint, trusted); err != nil {
		return fmt.Errorf("provenance: %w", err)
	}
	return nil
}

func checkEndpoint(endpoint string, trusted []string) error {
	switch {
	case !strings.HasPrefix(endpoint, "https://"):
		return fmt.Errorf("the block came from %.100q, and not over HTTPS: nobody knows who sent it", endpoint)
	case len(trusted) == 0:
		return fmt.Errorf("the block came from %.100q, and no endpoint is trusted", endpoint)
	case !slices.Contains(trusted, endpoint):
		return fmt.Errorf("the block came from %.100q, which is not trusted: only %s", endpoint, strings.Join(trusted, ", "))
	}
	return nil
}

// Encode returns the JSON of the Record: as json.MarshalIndent writes it, with an indent of
// two spaces, a newline at the end, and times in UTC. It refuses a Record that Parse refuses.
func (r Record) Encode() ([]byte, error) {
	if err := r.validate(); err != nil {
		return nil, fmt.Errorf("provenance: the record contradicts itself: %w", err)
	}
	r.Time, r.LastBlock, r.LastReceived = r.Time.UTC(), r.LastBlock.UTC(), r.LastReceived.UTC()
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("provenance: encoding the record: %w", err)
	}
	if err := json.Unmarshal(text, new(Record)); err != nil { // an unknown State, Mix or Policy
		return nil, fmt.Errorf("provenance: encoding the record: %w", err)
	}
	return append(text, '\n'), nil
}

// maxRecord is far more than a Record needs.
const maxRecord = 64 << 10

// Parse reads a Record, byte for byte as Encode writes it. It refuses every other encoding,
// because two programs may read two things in it, and a Record that contradicts itself.
func Parse(data []byte) (Record, error) {
	r, err := parse(data)
	if err != nil {
		return Record{}, err
	}
	text, err := r.Encode()
	if err != nil {
		return Record{}, err
	}
	if !bytes.Equal(data, text) {
		return Record{}, fmt.Errorf("provenance: the record is not as qrand writes it: %s", difference(data, text))
	}
	return r, nil
}

// parse reads a Record in any encoding in which no member is there twice, in another case,
// or unknown.
func parse(data []byte) (r Record, err error) {
	if len(data) > maxRecord {
		return r, fmt.Errorf("provenance: %d bytes are too many for a record", len(data))
	}
	var kind struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return r, notRecord(notJSON(err))
	}
	if kind.Version < 1 || kind.Version > Version {
		return r, fmt.Errorf("provenance: the record's version is %d, and this qrand reads 1 to %d: read it with the qrand that wrote it", kind.Version, Version)
	}
	if err := decodeStrictly(data, &r); err != nil {
		return r, notRecord(err)
	}
	return r, nil
}

func notRecord(err error) error { return fmt.Errorf("provenance: not a record: %w", err) }

// difference names the first line of a text that is not as in another one.
func difference(text, want []byte) string {
	a, b := strings.SplitAfter(string(text), "\n"), strings.SplitAfter(string(want), "\n")
	n := 0
	for a[n] == b[n] { // all but the last end with a newline, and the last do not
		n++
	}
	got, right := strings.Join(strings.Fields(a[n]), " "), strings.Join(strings.Fields(b[n]), " ")
	if strings.ReplaceAll(got, " ", "") == strings.ReplaceAll(right, " ", "") {
		return fmt.Sprintf("other white space in line %d, %.100q", n+1, got)
	}
	return fmt.Sprintf("line %d is %.100q, not %.100q", n+1, got, right)
}

const (
	maxText         = 1 << 10
	maxAge          = 1e10 // seconds: centuries
	maxFingerprints = 16   // that Status keeps
	rounding        = 1e-3 // seconds
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
		if !oneLineOfText(text) {
			return fmt.Errorf("%.100q is not text of one line", text)
		}
	}
	if len(r.Fingerprints) > maxFingerprints {
		return fmt.Errorf("it has %d fingerprints, more than %d", len(r.Fingerprints), maxFingerprints)
	}
	for i, f := range r.Fingerprints {
		if !fingerprintPattern().MatchString(f) {
			return fmt.Errorf("%.100q is not a fingerprint", f)
		}
		if slices.Contains(r.Fingerprints[:i], f) {
			return fmt.Errorf("the block %s is there twice: a Source takes no block again", f)
		}
	}
	for _, digest := range []string{r.EndpointCertificate, r.EndpointPublicKey} {
		if digest != "" && !digestPattern().MatchString(digest) {
			return fmt.Errorf("%.100q is not a SHA-256 in hex", digest)
		}
	}
	switch {
	case r.Version < 1 || r.Version > Version:
		return fmt.Errorf("unknown version %d", r.Version)
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
	case (r.Blocks > 0) == r.LastReceived.IsZero(), (r.Blocks > 0) == r.LastBlock.IsZero(), (r.Blocks > 0) != (len(r.Fingerprints) > 0), int64(len(r.Fingerprints)) > r.Blocks,
		r.Blocks <= 0 && (r.Endpoint != "" || r.AgeSeconds != 0):
		return fmt.Errorf("what it says of the last block does not fit the number of blocks, %d", r.Blocks)
	case r.Blocks == 0 && r.Policy != qrand.Augment && r.State != qrand.Closed:
		return fmt.Errorf("no block was in the key, and %v makes none without", r.Policy)
	case r.LastReceived.After(r.LastBlock):
		return fmt.Errorf("the last block came at %v, but it went in at %v, before that", r.LastReceived, r.LastBlock)
	case r.LastBlock.After(r.Time):
		return fmt.Errorf("the last block went in at %v, after the key was made, at %v", r.LastBlock, r.Time)
	case r.Blocks > 0 && r.AgeSeconds < r.Time.Sub(r.LastReceived).Seconds()-rounding:
		return fmt.Errorf("a block that came at %v was older than %g seconds at %v", r.LastReceived, r.AgeSeconds, r.Time)
	case r.Version == 1 && (r.MaxAgeSeconds != 0 || r.EndpointCertificate != "" || r.EndpointPublicKey != ""):
		return errors.New("it has members that version 1 does not have")
	case r.Version != 1 && (r.Policy == qrand.RequireFresh) == (r.MaxAgeSeconds == 0), !(r.MaxAgeSeconds >= 0 && r.MaxAgeSeconds < maxAge):
		return fmt.Errorf("max_age_seconds, %g, does not fit the policy, %v", r.MaxAgeSeconds, r.Policy)
	case r.MaxAgeSeconds != 0 && r.AgeSeconds > r.MaxAgeSeconds:
		return fmt.Errorf("the last block was %g seconds old, and %v allowed %g", r.AgeSeconds, r.Policy, r.MaxAgeSeconds)
	case (r.EndpointCertificate == "") != (r.EndpointPublicKey == ""), r.EndpointCertificate != "" && !strings.HasPrefix(r.Endpoint, "https://"):
		return fmt.Errorf("a TLS certificate and its public key do not fit the endpoint %.100q", r.Endpoint)
	}
	return nil
}
