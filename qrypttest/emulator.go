// Package qrypttest emulates Qrypt's Entropy-as-a-Service, for the tests of
// its clients.
//
// Start with [NewServer], which is to this service what httptest.NewTLSServer
// is to a handler: real HTTPS on a loopback port, a token, a client that
// trusts it. With [Config.InMemory] it opens no socket and works inside a
// testing/synctest bubble, where an outage of an hour takes a test no time.
// [Emulator.Script] says what goes wrong and when; [ParseScript] reads such a
// script from text. docs/testing.md has a whole test.
//
// It speaks the service's own call, GET /api/v1/quantum-entropy, and those of
// the QRNG Open API, POST /api/v1/entropy, GET /api/v1/capabilities and
// /api/v1/healthtest, with the documented token check, rate limit and quota.
//
// It is not a source of entropy for anything. Its blocks come from the operating
// system's generator, or follow from [Config.Seed]. So that no answer can be mistaken
// for the service's, each one has the header [EmulatedHeader], errors too. The only
// exceptions are what net/http itself answers to requests that are not HTTP or have too
// long a header.
package qrypttest

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Every answer carries EmulatedHeader with the value EmulatedValue.
const (
	EmulatedHeader = "Qrypt-Emulated"
	EmulatedValue  = "this entropy is emulated, not quantum"
)

// The service's limit: 30 requests in 10 seconds for each token.
const (
	defaultRate   = 30
	defaultWindow = 10 * time.Second
)

// defaultRecord is some 10 MB of Requests: enough for a long test, and a bound for an
// emulator that runs for weeks.
const defaultRecord = 10_000

// maxCanary leaves most of a block random, so that a block with a canary still
// passes a client's health tests; canaryOffset is where it goes.
const (
	maxCanary    = 64
	canaryOffset = 100
)

// Config configures an emulator. Its zero value is the service as documented, in one
// region, for one random token. A change of it after New has no effect. Formatted or
// marshalled, it shows no token.
type Config struct {
	// Tokens are the bearer tokens accepted. Nil: one random token, which
	// Emulator.Token returns; empty but not nil: none.
	Tokens []string

	// Regions are the names of the regions, each served by its own handler.
	// Rates, quotas and the record of requests span them all.
	// Nil: "api-eus" alone.
	Regions []string

	// Listen has an address for each of Regions, in their order; port 0
	// takes a free one. Nil: 127.0.0.1 and a free port for each. New
	// ignores it.
	Listen []string

	// InMemory makes a Server without sockets and without TLS, for use inside a
	// testing/synctest bubble: only its Client reaches it, and Listen must be nil. Its
	// URLs begin with http://127.0.0.1: package qrypt allows that for loopback. Close it
	// in the bubble. New ignores it. False: HTTPS on loopback.
	InMemory bool

	// Rate is how many requests a token may make in a Window, in all regions
	// together; one more is refused with 429. Every request with a valid token
	// counts, also one that meets a fault and, unless FreeRefusals is set, one that
	// is refused with 429. Requests without a token, where they are allowed, count
	// together. Zero: 30; negative: no limit.
	Rate int

	// Window is the time in which Rate requests are allowed. Zero: 10 seconds.
	Window time.Duration

	// FixedWindow makes windows follow one another: each begins at a multiple of
	// Window, as time.Time.Truncate has it, and with no request counted. A client may
	// make twice Rate requests around that moment. False: the window slides, and what
	// counts is the Window before a request.
	FixedWindow bool

	// FreeRefusals does not count requests that are refused with 429. A client that
	// asks too often then gets Rate answers in each Window. False: they count, and
	// such a client gets no answer until it waits. With FixedWindow there is no
	// difference: a full window stays full until it ends, and the next begins empty.
	FreeRefusals bool

	// NoRetryAfter leaves out the header Retry-After of a 429. False: it says after
	// how many seconds a request is admitted, if the token makes none before. A Fault
	// with the status 429 has a RetryAfter of its own in either case.
	NoRetryAfter bool

	// Quota is how many blocks a token gets altogether, in units of 1,024 bytes; each
	// answer is rounded up to whole units. Zero: no limit.
	Quota int

	// Seed makes the blocks reproducible. Nil: blocks from crypto/rand.
	Seed *[32]byte

	// Canary is written into every ordinary block that is long enough, at offset 100,
	// for a test that searches logs and files for leaked entropy. At most 64 bytes.
	// Nil: none.
	Canary []byte

	// RequireToken refuses Open API requests without a token. False: they are
	// answered, as a device on a private network does.
	RequireToken bool

	// Record is how many requests are kept for Requests, the last ones.
	// Zero: 10,000.
	Record int
}

// Format hides the tokens for every verb: a Config in a log must not show them.
func (c Config) Format(s fmt.State, _ rune) {
	fmt.Fprint(s, c.redacted())
}

// MarshalText hides the tokens from encoding/json and log/slog too.
func (c Config) MarshalText() ([]byte, error) {
	return []byte(c.redacted()), nil
}

func (c Config) redacted() string {
	return fmt.Sprintf("qrypttest.Config{%d tokens, Regions: %q, Listen: %q, InMemory: %t, Rate: %d, Window: %v, FixedWindow: %t, FreeRefusals: %t, NoRetryAfter: %t, Quota: %d, seeded: %t, Canary: %d bytes, RequireToken: %t, Record: %d}",
		len(c.Tokens), c.Regions, c.Listen, c.InMemory, c.Rate, c.Window, c.FixedWindow, c.FreeRefusals, c.NoRetryAfter, c.Quota, c.Seed != nil, len(c.Canary), c.RequireToken, c.Record)
}

// withDefaults returns a copy of c with its zero values replaced. The two share no
// memory that could change later.
func (c Config) withDefaults() (Config, error) {
	c.Tokens, c.Canary = slices.Clone(c.Tokens), slices.Clone(c.Canary)
	c.Regions, c.Listen = slices.Clone(c.Regions), slices.Clone(c.Listen)
	if c.Tokens == nil {
		c.Tokens = []string{rand.Text() + rand.Text()}
	}
	if c.Regions == nil {
		c.Regions = []string{"api-eus"}
	}
	if c.Rate == 0 {
		c.Rate = defaultRate
	}
	if c.Window == 0 {
		c.Window = defaultWindow
	}
	if c.Record == 0 {
		c.Record = defaultRecord
	}
	if slices.Contains(c.Tokens, "") {
		return c, errors.New("qrypttest: Config.Tokens: an empty token")
	}
	if len(c.Regions) == 0 {
		return c, errors.New("qrypttest: Config.Regions: no region")
	}
	for i, name := range c.Regions {
		if name == "" || slices.Contains(c.Regions[:i], name) {
			return c, fmt.Errorf("qrypttest: Config.Regions: %q is empty or not unique", name)
		}
	}
	if c.InMemory && c.Listen != nil {
		return c, errors.New("qrypttest: Config.Listen has addresses, and InMemory listens on none: leave one of them out")
	}
	if c.Listen != nil && len(c.Listen) != len(c.Regions) {
		return c, fmt.Errorf("qrypttest: Config.Listen: %d addresses for %d regions", len(c.Listen), len(c.Regions))
	}
	if c.Window < 0 || c.Quota < 0 || c.Record < 0 {
		return c, errors.New("qrypttest: Config: a negative Window, Quota or Record")
	}
	if len(c.Canary) > maxCanary {
		return c, fmt.Errorf("qrypttest: Config.Canary: %d bytes, at most %d", len(c.Canary), maxCanary)
	}
	return c, nil
}

// An Emulator is the service without its sockets. Its methods may be called
// at any time, by several goroutines.
type Emulator struct {
	regions      []string
	limit        limit
	noRetryAfter bool
	canary       []byte
	requireToken bool
	maxRecord    int // requests, at most

	closing chan struct{} // closed by Close: requests that hang end
	close   func()

	mu           sync.Mutex
	tokens       [][sha256.Size]byte
	token        func() string // a function, because package fmt does not look into one
	quota        int
	accounts     map[[sha256.Size]byte]*account
	sharedFaults queue
	regionFaults map[string]*queue
	hook         func(Request) *Fault
	requests     []*Request    // the last ones
	arrived      int64         // requests in all
	answers      map[int]int64 // of them, by status
	issued       int64
	stream       *mrand.ChaCha8 // nil: crypto/rand
	last         [][]byte       // the blocks of the last ordinary answer
}

// New returns an emulator that opens no socket: serve its Handlers. It panics
// if cfg is not valid.
func New(cfg Config) *Emulator {
	e, err := newEmulator(cfg)
	if err != nil {
		panic(err)
	}
	return e
}

func newEmulator(cfg Config) (*Emulator, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Emulator{
		regions:      cfg.Regions,
		limit:        limit{cfg.Rate, cfg.Window, cfg.FixedWindow, cfg.FreeRefusals},
		noRetryAfter: cfg.NoRetryAfter,
		canary:       cfg.Canary,
		requireToken: cfg.RequireToken,
		maxRecord:    cfg.Record,
		closing:      make(chan struct{}),
		quota:        cfg.Quota,
		accounts:     make(map[[sha256.Size]byte]*account),
		answers:      make(map[int]int64),
		regionFaults: make(map[string]*queue),
	}
	e.close = sync.OnceFunc(func() { close(e.closing) })
	for _, name := range cfg.Regions {
		e.regionFaults[name] = new(queue)
	}
	if cfg.Seed != nil {
		e.stream = mrand.NewChaCha8(*cfg.Seed)
	}
	e.SetTokens(cfg.Tokens...)
	return e, nil
}

// Handler returns the handler of a region. It panics if there is no such region. To
// drop a connection, the handler panics with http.ErrAbortHandler, as net/http wants.
func (e *Emulator) Handler(region string) http.Handler {
	e.mustKnow(region)
	return &handler{e: e, region: region}
}

func (e *Emulator) mustKnow(region string) {
	if !slices.Contains(e.regions, region) {
		panic(fmt.Sprintf("qrypttest: no region %q, there is %q", region, e.regions))
	}
}

// Token returns the first token accepted, or "" if none is.
func (e *Emulator) Token() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.token()
}

// SetTokens replaces the tokens accepted. A token that stays, or comes back,
// keeps what it used of its rate and quota.
func (e *Emulator) SetTokens(tokens ...string) {
	if slices.Contains(tokens, "") {
		panic("qrypttest: SetTokens: an empty token")
	}
	hashes := make([][sha256.Size]byte, len(tokens))
	for i, t := range tokens {
		hashes[i] = sha256.Sum256([]byte(t))
	}
	var first string
	if len(tokens) > 0 {
		first = tokens[0]
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tokens, e.token = hashes, func() string { return first }
}

// Issued returns how many blocks ordinary answers carried, in units of 1,024 bytes. An
// answer that a fault spoiled, or that was not sent to its end, does not count.
func (e *Emulator) Issued() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.issued
}

// Close ends the requests that hang, and those that will. Only a program that serves
// Handlers needs it; Server.Close calls it.
func (e *Emulator) Close() { e.close() }

// String describes the emulator in a line. It shows no token.
func (e *Emulator) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return fmt.Sprintf("qrypttest.Emulator{Regions: %q, %d tokens, %d requests, %d blocks issued}",
		e.regions, len(e.tokens), e.arrived, e.issued)
}
