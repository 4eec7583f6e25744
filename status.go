package qrand

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/qrand/internal/supply"
)

// A State says how a Source is supplied with quantum entropy.
type State int

const (
	Starting State = iota // no block yet, and no failure: crypto/rand alone, and ChaCha20 seeded by it
	Seeded                // a block is in the key, and the service answers
	Degraded              // no endpoint gives blocks: the Reason says why, LastBlock when the last one went in
	Closed                // after Close
)

var stateNames = [...]string{"Starting", "Seeded", "Degraded", "Closed"}

func (s State) String() string { return name(stateNames[:], int(s), "State") }

// MarshalText returns the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name.
func (s *State) UnmarshalText(text []byte) error { return parse(s, stateNames[:], text, "state") }

// A Reason says why a Source is degraded. Its value is a word for JSON and metrics. Its
// String is a text for people.
type Reason string

// The reasons: one for each row of the table in internal/supply, which says when an
// endpoint is asked again. Whatever the Reason is, Reads go on as the Policy allows, and
// reseeds come as before, without a block if there is none. When no endpoint gives blocks,
// the State is Degraded, for the Reason of the last failure.
const (
	RateLimited  Reason = "rate_limited"
	NoSupply     Reason = "no_supply"
	ServerError  Reason = "server_error"
	Unreachable  Reason = "unreachable"
	TLSFailed    Reason = "tls_failed"
	TimedOut     Reason = "timed_out"
	QuotaReached Reason = "quota_reached"
	Unauthorized Reason = "unauthorized"
	NoToken      Reason = "no_token"
	BadRequest   Reason = "bad_request"
	Malformed    Reason = "malformed"
	Redirected   Reason = "redirected"
	Unhealthy    Reason = "unhealthy"
	Repeated     Reason = "repeated"
	TooOld       Reason = "too_old"
	Emulated     Reason = "emulated"
	Failed       Reason = "failed"
)

// String returns a few words for people; empty for the empty Reason.
func (r Reason) String() string { return supply.Text(string(r)) }

// Status is what an operator may want to know of a Source. It holds no secret: it can be
// printed, logged or served as JSON.
type Status struct {
	Time   time.Time `json:"time"` // of this Status
	State  State     `json:"state"`
	Reason Reason    `json:"reason,omitempty"` // why it is Degraded
	Since  time.Time `json:"since"`            // when State began; the Reason may have changed after that
	Mix    Mix       `json:"mix"`
	Policy Policy    `json:"policy"`

	MaxAgeSeconds float64 `json:"max_age_seconds,omitempty"` // Config.MaxAge, under RequireFresh
	Stale         bool    `json:"stale"`                     // the newest block is older than that: a Read fails. An idle Source is stale, too.

	LastBlock     time.Time `json:"last_block,omitzero"`     // when a block last went into the key; zero if none has
	LastReceived  time.Time `json:"last_received,omitzero"`  // when that block came from the service
	LastEndpoint  string    `json:"last_endpoint,omitempty"` // where that block came from
	LastAnswer    time.Time `json:"last_answer,omitzero"`    // when the service last gave good blocks; that it died since then is noticed at the second reseed
	Emulated      bool      `json:"emulated"`                // a block from an emulator went in: do not claim quantum entropy
	Blocks        int64     `json:"blocks"`                  // reseeds with a block
	Fingerprints  []string  `json:"fingerprints,omitempty"`  // of the last 16 of those blocks, the newest last: see FingerprintKey
	Receipts      []string  `json:"receipts,omitempty"`      // of relays, if Config.Receipts asks for them: one for each of Fingerprints, empty if none came
	OSReseeds     int64     `json:"os_reseeds"`              // reseeds with crypto/rand alone, because there was no block
	Stock         int       `json:"stock"`                   // blocks received and not yet used
	Accepted      int64     `json:"accepted"`                // blocks received that passed every check
	RefusedBlocks int64     `json:"refused_blocks"`          // blocks received and thrown away: unhealthy, repeated, too old or emulated, or the wrong number of them

	// The SHA-256, in hex, of the TLS certificate that LastEndpoint had, and of the
	// SubjectPublicKeyInfo in it. Empty as in qrypt.Origin.
	LastEndpointCertificate string `json:"last_endpoint_certificate_sha256,omitempty"`
	LastEndpointPublicKey   string `json:"last_endpoint_public_key_sha256,omitempty"`

	Reads            int64 `json:"reads"`              // that returned bytes
	Bytes            int64 `json:"bytes"`              // that they returned
	ReadsBeforeBlock int64 `json:"reads_before_block"` // of these, with no block in the key yet
	BytesBeforeBlock int64 `json:"bytes_before_block"`
	RefusedReads     int64 `json:"refused_reads"` // that failed with ErrNotSeeded, ErrStale or ErrClosed

	Requests    int64            `json:"requests"` // that succeeded, failed or hang
	Failures    map[Reason]int64 `json:"failures,omitempty"`
	LastError   string           `json:"last_error,omitempty"`
	NextRequest time.Time        `json:"next_request,omitzero"` // when the next request is due; zero: when blocks were used, or a request is under way
}

// enter sets the state, and reports whether that changed anything.
func (s *Status) enter(state State, reason Reason, now time.Time) bool {
	if s.State == state && s.Reason == reason {
		return false
	}
	if s.State != state {
		s.Since = now
	}
	s.State, s.Reason = state, reason
	return true
}

// String returns the Status in one line.
func (s Status) String() string {
	var b strings.Builder
	b.WriteString(s.State.String())
	if s.Reason != "" {
		fmt.Fprintf(&b, " (%s)", s.Reason)
	}
	fmt.Fprintf(&b, " for %v: ", ago(s.Time, s.Since))
	if s.Blocks == 0 {
		b.WriteString("no block in the key")
	} else {
		fmt.Fprintf(&b, "last block %v ago from %s", ago(s.Time, s.LastBlock), s.LastEndpoint)
	}
	if s.Emulated {
		b.WriteString(" (EMULATED, not quantum)")
	}
	fmt.Fprintf(&b, "; reseeds: %d with a block, %d without; stock %d, refused %d", s.Blocks, s.OSReseeds, s.Stock, s.RefusedBlocks)
	fmt.Fprintf(&b, "; served %d bytes in %d reads", s.Bytes, s.Reads)
	if s.ReadsBeforeBlock > 0 {
		fmt.Fprintf(&b, " (%d in %d before the first block)", s.BytesBeforeBlock, s.ReadsBeforeBlock)
	}
	fmt.Fprintf(&b, "; requests: %d", s.Requests)
	for _, reason := range slices.Sorted(maps.Keys(s.Failures)) {
		fmt.Fprintf(&b, ", %d %s", s.Failures[reason], reason)
	}
	if !s.NextRequest.IsZero() {
		fmt.Fprintf(&b, "; next in %v", max(0, s.NextRequest.Sub(s.Time)).Round(time.Second))
	}
	return b.String()
}

// ago is the time from then to now, rounded for people.
func ago(now, then time.Time) time.Duration {
	d := now.Sub(then)
	if d < 10*time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second)
}

// An EventKind says what an Event is about.
type EventKind int

const (
	StateChanged  EventKind = iota // the State or the Reason changed
	BlockMixed                     // a block went into the keys of all generators
	RequestFailed                  // Err says how; blocks that came in the answer were refused
)

var eventNames = [...]string{"StateChanged", "BlockMixed", "RequestFailed"}

func (k EventKind) String() string { return name(eventNames[:], int(k), "EventKind") }

// An Event is what Config.OnEvent gets. Like Status, it holds no secret.
type Event struct {
	Kind        EventKind
	Time        time.Time
	State       State
	Reason      Reason // why the State is Degraded, or why the request failed
	Endpoint    string // BlockMixed: where the block came from
	Emulated    bool   // BlockMixed: the block came from an emulator
	Fingerprint string // BlockMixed: the fingerprint of the block
	Err         error  // RequestFailed: the error
}
