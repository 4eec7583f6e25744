package qrand

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
)

// This file is a second implementation of a whole Source, as SECURITY.md and the
// docs of Config, Policy, Reseed and Status describe it: what each Read returns, when
// a reseed comes and with what, how many blocks are wanted, and what Status, OnEvent
// and the log say. It does not predict when the service is asked: it is told what the
// service saw, and checks that against what is promised. It has no goroutine, and its
// time is a number. It shares the names of things with the package, and the slow
// generator with other tests.

// longest is what a Read takes at a time, says SECURITY.md.
const longest = 64 << 10

// age is by the clock that says more.
func (m *model) age(then time.Time) time.Duration {
	return max(m.now().Sub(then), m.now().Round(0).Sub(then.Round(0)))
}

// A numberedBlock is a block by its number, and when it was received.
type numberedBlock struct {
	number   uint64
	received time.Time
	emulated bool
}

// A modelShard is a generator and what it counts.
type modelShard struct {
	gen                        modelGenerator
	reads, bytes               int64
	readsBefore, bytesBefore   int64 // before the first block
	seeded                     bool
	bytesAtReseed, bytesAtWake int64
}

// A retrying is what is promised for the time from a failure to the next request.
type retrying struct {
	least, most time.Duration // where the service does not say; most more than least, or than what it says; rateLimited has frames
	mostAsked   time.Duration // of what it says no more counts
	skippable   bool          // by Reseed, as far as the service does not say
	token       bool          // ends when there is a new token
}

var (
	later       = &retrying{most: 5 * time.Minute, mostAsked: 10 * time.Minute, skippable: true}
	rateLimited = &retrying{mostAsked: 10 * time.Minute}
	quota       = &retrying{least: 15 * time.Minute, most: 6 * time.Hour, mostAsked: 24 * time.Hour, token: true}
	mistaken    = &retrying{least: time.Hour, most: 5 * time.Minute}
	newToken    = &retrying{least: time.Hour, most: 5 * time.Minute, token: true}
)

const (
	never   = time.Duration(math.MaxInt64)
	fastest = 10100 * time.Millisecond / 30 // from one request to the next
	slowest = 10100 * time.Millisecond      // after the service has refused one as one too many
	quiet   = 10 * time.Minute              // a service that flaps must answer for so long before the log says that it recovered
	toOne   = 512                           // the most blocks in a request
	window  = 10 * time.Second              // of the service's limit
	spread  = 20 * time.Second              // the end of a wait is drawn from so much, or a tenth of the wait, or 5 min
)

// frames are how long the frames of a refused process are, in seconds, from the first
// refusal on. It makes one request in each. The last three repeat.
var frames = []time.Duration{20, 20, 20, 20, 20, 20, 40, 160, 40, 20, 320, 80, 20, 640, 160, 40, 1280, 320, 80}

// A fault is what the service does to a request. Its err is what Blocks returns, or, if
// there are blocks with a fault, what LastError wraps.
type fault struct {
	name   string
	err    error
	reason Reason
	retry  *retrying
	fewer  int // the next request asks for so many times less blocks
	blocks bool
}

var faults = []fault{
	{},
	{"429", qrypt.ErrRateLimited, RateLimited, rateLimited, 1, false},
	{"503", qrypt.ErrNoSupply, NoSupply, later, 2, false},
	{"500", qrypt.ErrServer, ServerError, later, 1, false},
	{"TLS", qrypt.ErrTLS, TLSFailed, later, 1, false},
	{"timeout", qrypt.ErrTimeout, TimedOut, later, 1, false},
	{"network", qrypt.ErrNetwork, Unreachable, later, 1, false},
	{"403", qrypt.ErrQuota, QuotaReached, quota, 2, false},
	{"401", qrypt.ErrUnauthorized, Unauthorized, newToken, 1, false},
	{"no token", qrypt.ErrNoToken, NoToken, newToken, 1, false},
	{"400", qrypt.ErrBadRequest, BadRequest, mistaken, 1, false},
	{"redirect", qrypt.ErrRedirected, Redirected, later, 1, false},
	{"malformed", qrypt.ErrMalformed, Malformed, later, 1, false},
	{"foreign", errors.New("an error of the BlockSource's own"), Failed, later, 1, false},
	{"unhealthy", ErrUnhealthy, Unhealthy, later, toOne, true},
	{"repeated", ErrRepeated, Repeated, later, toOne, true},
	{"no block", supply.ErrBlockCount, Failed, later, 1, true},
	{"too many", supply.ErrBlockCount, Failed, later, 1, true},
	{"empty block", supply.ErrBlockCount, Failed, later, 1, true},
	{"old block", ErrTooOld, TooOld, later, toOne, true}, // under RequireFresh
}

// The faults that are not part of a behaviour: blocks of an emulator, where they are
// refused, and no answer for a minute.
var (
	faultEmulated = fault{"emulated", ErrEmulated, Emulated, later, toOne, true}
	faultHangs    = fault{"hangs", supply.ErrHangs, TimedOut, later, 1, false}
)

// A behaviour says how the service answers until the test changes it.
type behaviour struct {
	fault
	retryAfter time.Duration
	latency    time.Duration
	least      bool // one block, whatever was asked for
	emulated   bool
	kept       time.Duration // by a relay, before it gave the blocks: those of each other answer
	bad        int           // which block of the answer the fault strikes, modulo their number
	slowToken  bool          // a comparison of tokens ends with its context
	deaf       bool          // a request does not
}

// A modelLog counts lines.
type modelLog struct{ warns, infos, emulations int }

// A modelAsk is a call of Reseed.
type modelAsk struct {
	deadline time.Duration
	begun    int  // requests, when it came
	waiting  bool // for a later one
	done     bool
	want     []error // what its error is; none: it is nil
}

// A model says what a Source must do.
type model struct {
	Config // with its defaults
	fail   func(format string, args ...any)
	os     *lifeTape

	begin time.Time     // when both clocks showed 0
	time  time.Duration // of the monotonic clock since
	skew  time.Duration // by which the wall clock is ahead of that
	seen  []observation // by the service, and not yet taken in
	tie   bool          // two things happen at one instant, and their order is chance

	fingerprintKey []byte
	shards         []modelShard
	stock          []numberedBlock // the oldest first
	newest         time.Time       // when the newest block in the keys had come
	refused        bool            // a Read as stale
	aging          bool            // a Read has found that the newest block will soon be too old
	closed         bool

	lastReseed time.Duration
	unanswered int           // reseeds since the last answer
	refresh    time.Duration // when the reseeder will look at the newest block's age
	idle       bool
	wanting    bool // the next block goes into the keys at once
	want       int  // blocks

	requests  []time.Duration
	asked     time.Duration // the last time; 0: never
	underWay  bool
	hangs     bool
	deaf      bool          // the request under way
	looking   bool          // at the token
	looked    time.Duration // or failed for want of one
	asking    int           // most blocks in a request
	due       time.Duration // NextRequest, as Status said, unless something has changed that
	failing   *fault
	from, to  time.Duration // then: when it may be asked again
	renewed   bool          // there is a new token since
	limitedAt time.Duration // when the service last refused a request as one too many; 0: never
	since     time.Duration // when it began to, as far as frames go; 0: the last request was not refused
	memory    time.Duration // how long that took when it last ended, halved by each answer
	placeAt   time.Duration // when the last request was answered; 0: it was refused
	asks      []*modelAsk

	status Status
	events []Event

	warned          map[Reason]bool // in this outage
	flaps           bool            // the last one was less than quiet before
	recovered, calm time.Duration   // when the last one ended, when this one will; 0: never
	modelLog
}

func (m *model) now() time.Time { return setWall(m.begin.Add(m.time), m.skew) }

// start does what New does.
func (m *model) start() {
	m.status = Status{Since: m.now(), Mix: m.Mix, Policy: m.Policy, Failures: map[Reason]int64{}}
	if m.Policy == RequireFresh {
		m.status.MaxAgeSeconds = m.MaxAge.Seconds()
	}
	m.lastReseed, m.asking, m.wanting, m.warned = m.time, m.BatchBlocks, true, map[Reason]bool{}
	for i := range m.shards {
		copy(m.shards[i].gen.key[:], m.os.pop(m, &m.os.reader))
		m.shards[i].bytesAtWake = m.quantum()
	}
	m.fingerprintKey = m.os.pop(m, &m.os.reader)
	m.loop()
	m.settle()
}

func (m *model) fingerprintOf(number uint64) string {
	mac := func(message string) []byte {
		h := hmac.New(sha256.New, m.fingerprintKey)
		h.Write([]byte(message))
		return h.Sum(nil)
	}
	return hex.EncodeToString(mac("qrand fingerprint key v1")[:4]) + ":" +
		hex.EncodeToString(mac("qrand block fingerprint v1" + string(newTestBlock(number).Bytes()))[:16])
}

// permitted returns why the Policy refuses a Read, or nil.
func (m *model) permitted() (err error) {
	defer func() {
		if err != nil {
			m.status.RefusedReads++
		}
	}()
	switch {
	case m.Policy == Augment:
		return nil
	case m.closed:
		return ErrClosed
	case m.newest.IsZero():
		return ErrNotSeeded
	case m.Policy == RequireFresh && m.age(m.newest) > m.MaxAge:
		m.refused = true
		return ErrStale
	}
	m.aging = m.aging || m.ages()
	return nil
}

// ages reports whether a Read would be the first to find that the newest block will soon be
// too old.
func (m *model) ages() bool {
	age := m.age(m.newest)
	return m.Policy == RequireFresh && !m.closed && !m.aging && age > m.MaxAge-m.lead() && age <= m.MaxAge
}

// piece returns what a generator gives to a Read of at most longest bytes, and what is left
// on the tape of crypto/rand.
func (m *model) piece(g modelGenerator, os [][]byte, n int) (modelGenerator, [][]byte, []byte) {
	next := func(size int) []byte {
		if len(os) == 0 || len(os[0]) != size {
			return make([]byte, size) // so the piece will not be the Source's
		}
		p := os[0]
		os = os[1:]
		return p
	}
	var out []byte
	switch {
	case m.closed:
		out = next(n)
	case m.Mix == MixXOR:
		out = g.stream(n)
		subtle.XORBytes(out, out, next(n))
	case m.Mix == MixRekey:
		g.rekey(next(32))
		out = g.expand(n)
	default:
		for len(out) < n {
			if len(g.left) == 0 {
				g.rekey(next(32))
				g.chunk()
			}
			out = append(out, g.stream(min(len(g.left), n-len(out)))...)
		}
	}
	return g, os, out
}

// read compares a Read of the Source with that of the model. shard serves it, or, if the
// reseeder was held up during a long Read, is the first that it tries.
func (m *model) read(got []byte, shard int, held bool) {
	woken, must := false, false
	for at := 0; at < len(got); at += longest {
		if at > 0 && !held {
			if woken {
				m.loop() // the tape let the reseeder look before this piece
			}
			m.settle()
			woken = false
		}
		want := got[at:min(len(got), at+longest)]
		found := false
		for try := range m.shards {
			i := (shard + try) % len(m.shards)
			g, os, out := m.piece(m.shards[i].gen, m.os.reader, len(want))
			if found = bytes.Equal(out, want); found {
				m.shards[i].gen, m.os.reader, shard = g, os, i
				break
			}
			if !held {
				break
			}
		}
		if !found {
			m.fail("of a Read of %d bytes, those from %d on are not the model's", len(got), at)
		}
		sh := &m.shards[shard]
		if at == 0 {
			sh.reads++
		}
		sh.bytes += int64(len(want))
		if sh.bytes >= sh.bytesAtWake {
			sh.bytesAtWake = sh.bytes + m.quantum()
			woken = true
			must = must || m.reseedIsDue()
		}
	}
	if held && woken && !m.closed && m.served() >= m.ReseedBytes && (!must || m.refreshIsDue()) {
		m.tie = true // the reseeder may have looked when less had gone out
		return
	}
	if woken {
		m.loop()
	}
	m.settle()
}

// quantum is how many bytes a shard serves before the reseeder looks.
func (m *model) quantum() int64 { return max(1, m.ReseedBytes/int64(8*len(m.shards))) }

func (m *model) served() (sum int64) {
	for _, sh := range m.shards {
		sum += sh.bytes - sh.bytesAtReseed
	}
	return sum
}

func (m *model) intervalOver() bool {
	return m.time-m.lastReseed >= m.ReseedInterval || m.refused && !m.wanting
}

func (m *model) reseedIsDue() bool {
	return m.served() >= m.ReseedBytes || m.intervalOver() && (m.served() > 0 || m.refused)
}

// lead is how long before the newest block is too old another one is asked for.
func (m *model) lead() time.Duration { return min(m.MaxAge/4, 30*time.Second) }

// refreshAt is when that is, by the clocks as they are now, but not soon after a reseed.
func (m *model) refreshAt() time.Duration {
	if m.Policy != RequireFresh || m.newest.IsZero() {
		return never
	}
	return max(m.time+m.MaxAge-m.lead()-m.age(m.newest), m.lastReseed+min(m.lead(), m.ReseedInterval))
}

func (m *model) refreshIsDue() bool { return m.time >= m.refreshAt() && !m.wanting }

// loop is what the reseeder does whenever something woke it.
func (m *model) loop() {
	if m.closed {
		return
	}
	over, aging, served := m.intervalOver(), m.refreshIsDue(), m.served()
	m.idle = (over || aging) && served == 0 && !m.refused
	if over || aging {
		for i := range m.shards {
			m.shards[i].bytesAtWake = m.shards[i].bytes + 1
		}
	}
	if m.reseedIsDue() {
		m.reseed()
	}
	if aging && served > 0 {
		m.wanting = true
	}
	for _, a := range m.asks {
		a.waiting = a.waiting && !a.done // who has given up is forgotten only now
	}
	m.refresh = m.refreshAt()
	keeps := m.BatchBlocks > 1 && m.Policy != RequireFresh
	often := m.limitedAt == 0 || m.time-m.limitedAt >= time.Hour
	switch {
	case keeps && (len(m.stock) <= m.BatchBlocks/4 || m.unanswered >= 2 && m.now().Sub(m.status.LastAnswer) >= m.ReseedInterval && often):
		m.want = max(1, m.BatchBlocks-len(m.stock))
	case m.wanting && (often || m.refresh == never || m.age(m.newest) >= m.MaxAge-m.lead()), m.waits():
		m.want = 1
	default:
		m.want = 0
	}
	if m.underWay && !m.hangs && m.time >= m.asked+time.Minute {
		m.hangs = true
		m.status.Requests++
		m.failed(faultHangs, 0)
		m.hangs, m.underWay = m.deaf, m.deaf
		m.loop()
	}
	if m.calm != 0 && m.time >= m.calm {
		m.recover()
	}
}

// wanted reports whether a request has to come by itself.
func (m *model) wanted() bool {
	return !m.closed && !m.underWay && (m.want > 0 || m.failing != nil)
}

// settle handles what came at this instant, or until the next piece of a Read.
func (m *model) settle() {
	for len(m.seen) > 0 && m.saw() != paused {
	}
}

// alarm is when something happens by itself.
func (m *model) alarm() time.Duration {
	at := never
	if m.closed {
		return at
	}
	sooner := func(given bool, then time.Duration) {
		if given {
			at = min(at, then)
		}
	}
	sooner(m.underWay && !m.hangs, m.asked+time.Minute)
	sooner(m.calm != 0, m.calm)
	sooner(!m.idle, m.lastReseed+m.ReseedInterval)
	sooner(!m.idle && m.time < m.refresh, m.refresh)
	return at
}

// advance lets time pass.
func (m *model) advance(to time.Duration) {
	for {
		alarm, deadline := m.alarm(), never
		for _, a := range m.asks {
			if !a.done {
				deadline = min(deadline, a.deadline)
			}
		}
		at := min(alarm, deadline)
		if len(m.seen) > 0 && m.seen[0].at < at {
			m.time = m.seen[0].at
			m.saw()
			continue
		}
		if at > to {
			m.time = to
			return
		}
		if m.tie = alarm == deadline || len(m.seen) > 0 && m.seen[0].at == at && (at == deadline || m.seen[0].kind != requested && m.seen[0].kind != looking); m.tie {
			return
		}
		if at < m.time {
			m.fail("the model is late: %v at %v", at, m.time)
		}
		m.time = at
		for _, a := range m.asks {
			if !a.done && a.deadline == at {
				a.done, a.want = true, []error{context.DeadlineExceeded}
			}
		}
		if at == alarm {
			m.loop()
		}
	}
}

// saw handles the next thing that the service saw.
func (m *model) saw() observationKind {
	s := m.seen[0]
	m.seen = m.seen[1:]
	if m.closed {
		if s.kind == requested || s.kind == looking {
			m.fail("a closed Source asks the service")
		}
		return s.kind
	}
	switch s.kind {
	case requested:
		m.loop()
		m.request(s.blocks)
		m.deaf = s.deaf
	case answered:
		m.answered(s)
		m.loop()
	case looking:
		m.loop()
		if !m.wanted() || m.looking || m.failing == nil || !m.failing.retry.token || m.renewed || m.time-m.looked < 15*time.Second && !m.waits() {
			m.fail("the token is looked at without need")
		}
		m.looking = true
	case looked:
		m.looking, m.looked = false, m.time
		if s.newToken {
			m.renewed, m.due = true, 0
		} else if len(m.seen) == 0 || m.seen[0].kind != requested || m.seen[0].at != m.time {
			m.reply(true, ErrHeld, m.failing.err)
		}
		m.loop()
	}
	return s.kind
}

// request checks a request against what is promised.
func (m *model) request(blocks int) {
	if !m.wanted() || m.looking {
		m.fail("a request at %v that is not wanted", m.time)
	}
	if want := max(1, min(m.want, m.asking)); blocks != want {
		m.fail("a request for %d blocks, want %d", blocks, want)
	}
	if m.time < m.soonest() || m.time < m.due {
		m.fail("a request at %v, not due before %v, or as Status said %v", m.time, m.soonest(), m.due)
	}
	if n := len(m.requests); n >= 30 && m.time-m.requests[n-30] < 10*time.Second {
		m.fail("31 requests in %v", m.time-m.requests[n-30])
	}
	m.requests, m.asked, m.underWay, m.due = append(m.requests, m.time), m.time, true, 0
}

// soonest and latest are the bounds of when a request that is wanted may come.
func (m *model) soonest() time.Duration {
	if m.failing == nil || m.renewed {
		return 0
	}
	return m.from
}

func (m *model) latest() time.Duration {
	pace, spacing := m.time, fastest
	if m.limitedAt != 0 {
		spacing = slowest
	}
	if m.asked != 0 {
		pace = max(pace, m.asked+spacing)
	}
	if m.failing == nil || m.renewed || m.failing.retry.skippable && m.waits() {
		return pace
	}
	return max(pace, m.to)
}

// rekey feeds a block to every shard, or where there is none crypto/rand alone.
func (m *model) rekey(block *numberedBlock) {
	for i := range m.shards {
		sh := &m.shards[i]
		x := m.os.pop(m, &m.os.reseeder)
		if block != nil {
			x = modelSeed(x, byte(i), newTestBlock(block.number).Bytes())
			if !sh.seeded {
				sh.seeded, sh.readsBefore, sh.bytesBefore = true, sh.reads, sh.bytes
			}
		}
		sh.gen.rekey(x)
		sh.bytesAtReseed, sh.bytesAtWake = sh.bytes, sh.bytes+m.quantum()
	}
	m.refused, m.lastReseed, m.wanting = false, m.time, block == nil
}

func (m *model) reseed() {
	m.unanswered++
	if len(m.stock) > 0 {
		m.mixIn(0)
		return
	}
	m.rekey(nil)
	m.status.OSReseeds++
}

// mixIn feeds a block in stock to every shard.
func (m *model) mixIn(i int) {
	block := m.stock[i]
	m.stock = slices.Delete(m.stock, i, i+1)
	m.rekey(&block)
	if m.newest.IsZero() {
		m.infos++
	}
	if block.received.After(m.newest) {
		m.newest, m.aging = block.received, false
	}
	if block.emulated && !m.status.Emulated {
		m.emulations, m.status.Emulated = m.emulations+1, true
	}
	m.status.Blocks++
	m.status.LastBlock, m.status.LastReceived, m.status.LastEndpoint = m.now(), block.received, "fake"
	m.status.LastEndpointCertificate, m.status.LastEndpointPublicKey = "c0"+strings.Repeat("0", 62), "d0"+strings.Repeat("0", 62)
	m.status.Fingerprints = append(m.status.Fingerprints, m.fingerprintOf(block.number))
	m.status.Fingerprints = m.status.Fingerprints[max(0, len(m.status.Fingerprints)-16):]
	changed := m.failing == nil && m.enter(Seeded, "")
	m.emit(Event{Kind: BlockMixed, Endpoint: "fake", Emulated: block.emulated, Fingerprint: m.fingerprintOf(block.number)})
	if changed {
		m.emit(Event{Kind: StateChanged})
	}
}

func (m *model) enter(state State, reason Reason) bool {
	if m.status.State == state && m.status.Reason == reason {
		return false
	}
	if m.status.State != state {
		m.status.Since = m.now()
	}
	m.status.State, m.status.Reason = state, reason
	return true
}

func (m *model) emit(e Event) {
	e.State, e.Time = m.status.State, m.now()
	m.events = append(m.events, e)
}

// answered handles the answer to a request: all blocks go in, or none.
func (m *model) answered(s observation) {
	told := m.hangs
	m.underWay, m.hangs = false, false
	if m.Policy != Augment && !m.AllowEmulated && len(s.given) > 0 && s.given[0].emulated {
		s.fault = faultEmulated
	}
	if told && s.fault.err != nil {
		m.status.RefusedBlocks += int64(len(s.given))
		return
	}
	if !told && s.fault.reason != NoToken {
		m.status.Requests++
	}
	if s.fault.err != nil {
		m.status.RefusedBlocks += int64(len(s.given))
		m.failed(s.fault, s.retryAfter)
		return
	}
	use := m.wanting || m.status.State == Degraded || slices.ContainsFunc(m.asks, func(a *modelAsk) bool {
		return a.waiting && !a.done && a.begun < len(m.requests)
	})
	if room := m.BatchBlocks; room == 1 || m.Policy == RequireFresh || len(m.stock)+len(s.given) > room {
		use = true // there is no room for it
	}
	m.failing, m.renewed, m.due = nil, false, 0
	m.asking = min(2*m.asking, m.BatchBlocks)
	m.unanswered, m.status.LastAnswer = 0, m.now()
	m.status.Accepted += int64(len(s.given))
	m.placeAt = m.time
	if m.memory /= 2; m.since != 0 {
		m.memory, m.since = min(m.time-m.since, 20*time.Minute), 0
	}
	m.stock = append(m.stock, s.given...)
	if use { // the newest
		m.mixIn(len(m.stock) - 1)
	}
	if len(m.warned) > 0 && !m.flaps {
		m.recover()
	} else if len(m.warned) > 0 && m.calm == 0 {
		m.calm = m.time + quiet
	}
	m.reply(false)
}

// failed handles a failure.
func (m *model) failed(f fault, asked time.Duration) {
	m.failing, m.renewed, m.looked, m.due = &f, false, m.time, 0
	held := f.retry.least
	if asked > 0 && f.retry.mostAsked > 0 {
		held = min(max(asked, time.Second), f.retry.mostAsked)
	}
	m.from, m.to = m.time+held, m.time+held+f.retry.most
	m.asking = max(1, m.asking/f.fewer)
	if f.retry == rateLimited {
		m.limited(held)
	}
	m.status.Failures[f.reason]++
	if m.enter(Degraded, f.reason) {
		m.emit(Event{Kind: StateChanged, Reason: f.reason})
	}
	m.calm = 0
	if !m.warned[f.reason] {
		if len(m.warned) == 0 {
			m.flaps = m.recovered != 0 && m.time-m.recovered < quiet
		}
		m.warned[f.reason] = true
		m.warns++
	}
	m.emit(Event{Kind: RequestFailed, Err: f.err, Reason: f.reason})
	m.reply(false, f.err)
	for _, a := range m.asks {
		if a.waiting {
			m.await(a, false)
		}
	}
}

// limited handles a request that the service refused for its limit. held is how long it
// asked us to wait.
func (m *model) limited(held time.Duration) {
	m.limitedAt = m.time
	hasPlace := m.placeAt != 0 && m.time-m.placeAt < window // whoever was answered just now need not wait for a frame
	if m.placeAt = 0; !hasPlace && m.since == 0 {
		m.since = m.time - m.memory
	}
	if held == 0 { // then until our oldest request no longer counts
		oldest := slices.IndexFunc(m.requests, func(at time.Duration) bool { return at > m.time-window })
		if held = time.Second; oldest >= 0 {
			held = max(held, m.requests[oldest]+window-m.time)
		}
	}
	begin, end := m.since, m.since // of the next frame
	for i := 0; !hasPlace && m.since < m.time && begin <= m.time; i++ {
		if i == len(frames) {
			i -= 3
		}
		begin, end = end, end+frames[i]*time.Second
	}
	m.from = max(m.time+min(held, window), begin)
	m.to = max(m.from+slowest+spread, end)
	if hasPlace {
		m.from = m.time + min(held, window)
		m.to = m.from + 2*slowest
	}
	if held > window {
		m.from = max(m.from, m.time+held)
		m.to = max(m.to, m.time+held+min(max(held/10, spread), 5*time.Minute))
	}
}

func (m *model) recover() {
	clear(m.warned)
	m.recovered, m.calm = m.time, 0
	m.infos++
}

// ask handles a call of Reseed. held is whether it has returned already.
func (m *model) ask(deadline time.Duration, held bool) {
	a := &modelAsk{deadline: deadline, begun: len(m.requests)}
	m.asks = append(m.asks, a)
	m.await(a, held)
	m.due = 0
}

// await lets a Reseed wait for a request, or holds it.
func (m *model) await(a *modelAsk, held bool) {
	a.waiting = false
	switch {
	case a.done:
		return
	case m.closed:
		a.done, a.want = true, []error{ErrClosed}
		return
	case m.hangs:
	case m.underWay, m.looking, m.failing == nil, m.renewed, m.failing.retry.token:
		a.waiting = true
	case m.failing.retry.skippable:
		a.waiting = m.time >= m.soonest()
	case m.due != 0 && m.due <= m.asked+slowest: // it may be our own pace that makes it wait
		a.waiting = !held
	}
	if !a.waiting {
		a.done, a.want = true, []error{ErrHeld, m.failing.err}
	}
}

// waits reports whether a call of Reseed waits.
func (m *model) waits() bool {
	return slices.ContainsFunc(m.asks, func(a *modelAsk) bool { return a.waiting })
}

// reply ends the calls of Reseed that wait: all, or those that came before the last
// request.
func (m *model) reply(all bool, want ...error) {
	for _, a := range m.asks {
		if a.waiting && (all || len(m.requests) > a.begun) {
			a.waiting = false
			if !a.done {
				a.done, a.want = true, want
			}
		}
	}
}

func (m *model) close() {
	if m.closed {
		return
	}
	m.closed, m.stock = true, nil
	m.reply(true, ErrClosed)
	for i := range m.shards {
		m.shards[i].gen = modelGenerator{}
	}
	m.enter(Closed, "")
	m.emit(Event{Kind: StateChanged})
}
