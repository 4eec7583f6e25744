package qrand

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"example.com/qrand/internal/outage"
	"example.com/qrand/qrypt"
)

// This file is a second implementation of a whole Source, as the README, SECURITY.md
// and the docs of Config and Status describe it: what each Read returns, when a
// reseed comes and with what, when the service is asked and for how much, and what
// Status and OnEvent say. It has no goroutine, and its time is a number. It shares
// with the package the names of things, and with other tests the slow generator.

// longest is what a Read takes at a time, by SECURITY.md.
const longest = 64 << 10

// A moment is what both clocks show.
type moment struct{ mono, wall time.Duration }

// age is by whichever clock says more.
func (now moment) age(then moment) time.Duration {
	return max(now.mono-then.mono, now.wall-then.wall)
}

// A numberedBlock is a block by its number, and when it was received.
type numberedBlock struct {
	number   uint64
	received moment
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

// A row of the outage table, as the README has it.
type retrying struct {
	name        string
	first, most time.Duration // between requests, doubling
	endpoints   bool          // the other endpoints are asked before any wait
	skippable   bool          // by Reseed; and the wait is jittered
	slower      bool          // requests come half as often
	token       bool          // ends when there is a new token
}

var (
	later5m  = &retrying{name: "later", first: time.Second, most: 5 * time.Minute, endpoints: true, skippable: true}
	slower   = &retrying{name: "slower", slower: true}
	quota    = &retrying{name: "quota", first: 15 * time.Minute, most: 6 * time.Hour, token: true}
	mistaken = &retrying{name: "mistaken", first: time.Hour, most: time.Hour, endpoints: true}
	newToken = &retrying{name: "token", first: time.Hour, most: time.Hour, token: true}
)

// A fault is what the service does to a request. Its err is what Blocks returns;
// nil where there are blocks, of which something is wrong.
type fault struct {
	name   string
	err    error
	reason Reason // empty: nothing is wrong
	retry  *retrying
	text   error // what LastError wraps, where err is nil
}

var faults = []fault{
	{name: "none"},
	{name: "429", err: qrypt.ErrRateLimited, reason: RateLimited, retry: slower},
	{name: "503", err: qrypt.ErrNoSupply, reason: NoSupply, retry: later5m},
	{name: "500", err: qrypt.ErrServer, reason: ServerError, retry: later5m},
	{name: "TLS", err: qrypt.ErrTLS, reason: TLSFailed, retry: later5m},
	{name: "timeout", err: qrypt.ErrTimeout, reason: TimedOut, retry: later5m},
	{name: "network", err: qrypt.ErrNetwork, reason: Unreachable, retry: later5m},
	{name: "403", err: qrypt.ErrQuota, reason: QuotaReached, retry: quota},
	{name: "401", err: qrypt.ErrUnauthorized, reason: Unauthorized, retry: newToken},
	{name: "no token", err: qrypt.ErrNoToken, reason: NoToken, retry: newToken},
	{name: "400", err: qrypt.ErrBadRequest, reason: BadRequest, retry: mistaken},
	{name: "redirect", err: qrypt.ErrRedirected, reason: Redirected, retry: later5m},
	{name: "malformed", err: qrypt.ErrMalformed, reason: Malformed, retry: later5m},
	{name: "foreign", err: errors.New("an error of the BlockSource's own"), reason: Failed, retry: later5m},
	{name: "unhealthy", text: ErrUnhealthy, reason: Unhealthy, retry: later5m},
	{name: "repeated", text: ErrRepeated, reason: Repeated, retry: later5m},
	{name: "no block", text: outage.ErrBlockCount, reason: Failed, retry: later5m},
	{name: "too many", text: outage.ErrBlockCount, reason: Failed, retry: later5m},
	{name: "empty block", text: outage.ErrBlockCount, reason: Failed, retry: later5m},
	{name: "old block", text: errBlockAge, reason: Failed, retry: later5m}, // under RequireFresh
}

// A mood is how the service answers until the test changes it.
type mood struct {
	fault
	retryAfter time.Duration
	latency    time.Duration
	least      bool // one block, whatever was asked for
	emulated   bool
	bad        int   // which block of the answer the fault strikes, modulo their number
	slowToken  bool  // a comparison of tokens ends with its context
	failure    error // what a request gets, the same for Source and model
}

// A modelEvent is what OnEvent must be told.
type modelEvent struct {
	kind        EventKind
	state       State
	reason      Reason
	at          moment
	endpoint    string
	emulated    bool
	fingerprint string
}

// A modelAsk is a call of Reseed.
type modelAsk struct {
	deadline time.Duration // 0: none
	waiting  bool          // the reseeder knows of it
	done     bool
	want     []error // what its error is; none: it is nil
	not      error   // what its error is not
}

// A modelRequest is one under way.
type modelRequest struct {
	asked int
	at    time.Duration // when its answer comes
	mood
}

// A machine is the model: a Source, and of its service what decides an answer.
type machine struct {
	fail func(format string, args ...any)
	os   *machineTape

	mix       Mix
	policy    Policy
	maxAge    time.Duration
	interval  time.Duration
	quantity  int64
	batch     int
	endpoints int
	jitter    func(time.Duration) time.Duration

	time time.Duration // of the monotonic clock
	skew time.Duration // by which the wall clock is ahead of that

	fingerprintKey []byte
	shards         []modelShard
	stock          []numberedBlock
	lastBlock      *moment
	lastReceived   moment
	refused        bool // a Read as stale
	closed         bool

	mood     mood
	given    uint64 // blocks, by the service
	good     uint64 // the first block of the last good answer
	tokenNew bool

	lastReseed time.Duration
	idle       bool
	wanting    bool
	request    *modelRequest
	hangs      bool
	check      *modelRequest // of the token
	asking     int           // blocks a request asks for
	requests   []time.Duration
	asked      []int
	notBefore  time.Duration
	heldUntil  time.Duration
	tokenAt    time.Duration // 0: no
	rate       float64
	failing    *retrying
	lastErr    error
	failures   map[string]int // by outage, since the last answer
	warned     map[Reason]bool
	asks       []*modelAsk
	failovers  int
	checks     int
	warns      int
	infos      int
	emulations int
	events     []modelEvent
	tie        bool // two things happen at one instant, and their order is chance
	status     Status
	since      moment
	reasons    map[Reason]int64
}

func (m *machine) now() moment { return moment{m.time, m.time + m.skew} }

// start is New.
func (m *machine) start() {
	m.since, m.lastReseed, m.notBefore = m.now(), m.time, m.time
	for i := range m.shards {
		sh := &m.shards[i]
		copy(sh.gen.key[:], m.os.pop(m, &m.os.reader, 32))
		sh.bytesAtWake = m.quantum()
	}
	m.fingerprintKey = m.os.pop(m, &m.os.reader, 32)
	m.asking, m.wanting, m.rate = m.batch, true, 30
	m.failures, m.warned, m.reasons = map[string]int{}, map[Reason]bool{}, map[Reason]int64{}
	m.loop()
	m.settle()
}

// bytesOf are a block's, as the service gives them.
func bytesOf(number uint64) []byte { return newTestBlock(number).Bytes() }

func (m *machine) fingerprintOf(number uint64) string {
	mac := func(message string) []byte {
		h := hmac.New(sha256.New, m.fingerprintKey)
		h.Write([]byte(message))
		return h.Sum(nil)
	}
	return hex.EncodeToString(mac("qrand fingerprint key v1")[:4]) + ":" +
		hex.EncodeToString(mac("qrand block fingerprint v1" + string(bytesOf(number)))[:16])
}

// permitted is what a Policy has to say of a Read.
func (m *machine) permitted() error {
	switch {
	case m.policy == Augment:
		return nil
	case m.closed:
		return ErrClosed
	case m.lastBlock == nil:
		return ErrNotSeeded
	case m.policy == RequireFresh && m.now().age(*m.lastBlock) > m.maxAge:
		m.refused = true
		return ErrStale
	}
	return nil
}

// piece is what a generator gives to a Read of at most longest bytes, and what
// is left on the tape of crypto/rand.
func (m *machine) piece(g modelGenerator, os [][]byte, n int) (modelGenerator, [][]byte, []byte) {
	next := func(size int) []byte {
		if len(os) == 0 || len(os[0]) != size {
			return nil
		}
		p := os[0]
		os = os[1:]
		return p
	}
	switch {
	case m.closed:
		return g, os, next(n)
	case m.mix == MixXOR:
		out, over := g.stream(n), next(n)
		if over == nil {
			return g, os, nil
		}
		for i := range out {
			out[i] ^= over[i]
		}
		return g, os, out
	case m.mix == MixRekey:
		x := next(32)
		if x == nil {
			return g, os, nil
		}
		g.rekey(x)
		return g, os, g.expand(n)
	}
	var out []byte
	for len(out) < n {
		if len(g.left) == 0 {
			x := next(32)
			if x == nil {
				return g, os, nil
			}
			g.rekey(x)
			g.chunk()
		}
		out = append(out, g.stream(min(len(g.left), n-len(out)))...)
	}
	return g, os, out
}

// read compares a Read of a Source with the model's. The shard is the one that
// serves it, or if the reseeder was held up beside a long Read, the first it tries.
func (m *machine) read(got []byte, shard int, held bool) {
	if len(got) == 0 {
		return
	}
	woken, must := false, false
	for at := 0; at < len(got); at += longest {
		if at > 0 && !held && woken {
			m.loop() // the tape let the reseeder look before this piece
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
	if woken && held && !must && len(m.os.reseeder) == 0 {
		return // the reseeder may have looked when less had gone out
	}
	if woken && !m.closed {
		m.loop()
		m.settle()
	}
}

// quantum is how many bytes a shard serves before the reseeder looks.
func (m *machine) quantum() int64 { return max(1, m.quantity/int64(8*len(m.shards))) }

func (m *machine) served() (sum int64) {
	for _, sh := range m.shards {
		sum += sh.bytes - sh.bytesAtReseed
	}
	return sum
}

func (m *machine) intervalOver() bool {
	return m.time-m.lastReseed >= m.interval || m.refused && !m.wanting
}

func (m *machine) reseedIsDue() bool {
	if m.served() >= m.quantity {
		return true
	}
	return m.intervalOver() && (m.served() > 0 || m.refused)
}

// loop is what the reseeder does whenever something woke it.
func (m *machine) loop() {
	if m.closed {
		return
	}
	over := m.intervalOver()
	m.idle = over && m.served() == 0 && !m.refused
	if over {
		for i := range m.shards {
			m.shards[i].bytesAtWake = m.shards[i].bytes + 1
		}
	}
	if m.reseedIsDue() {
		m.reseed()
	}
	switch {
	case m.request != nil && !m.hangs && m.time-m.requests[len(m.requests)-1] >= 2*time.Minute:
		m.hangs = true
		m.failed(TimedOut, later5m, errHangs, 0, false)
	case !m.wanted():
	case m.time >= m.notBefore:
		n := 1
		if m.short() {
			n = m.asking
		}
		m.requests, m.asked = append(m.requests, m.time), append(m.asked, n)
		m.hangs, m.tokenNew = false, false
		m.request = &modelRequest{asked: n, at: m.time + delay(m.mood.latency, len(m.requests)), mood: m.mood}
	case m.tokenAt != 0 && m.time >= m.tokenAt:
		m.checks++
		m.check = &modelRequest{at: m.time, mood: m.mood}
		if m.mood.slowToken {
			m.check.at += 30 * time.Second
		}
	}
}

// short reports whether there is a quarter of a batch left, or less.
func (m *machine) short() bool { return m.batch > 1 && len(m.stock) <= m.batch/4 }

func (m *machine) wanted() bool {
	return !m.closed && m.request == nil && m.check == nil &&
		(m.failing != nil || m.wanting || m.short() || slices.ContainsFunc(m.asks, func(a *modelAsk) bool { return a.waiting }))
}

// settle takes in what comes at this instant.
func (m *machine) settle() {
	for {
		switch {
		case m.request != nil && m.request.at <= m.time:
			request := *m.request
			m.request = nil
			m.answered(request)
		case m.check != nil && m.check.at <= m.time:
			slow := m.check.slowToken
			m.check = nil
			m.checked(m.tokenNew && !slow)
		default:
			return
		}
		m.loop()
	}
}

// next is when something happens by itself, or 0; and whether it is two things,
// whose order is chance.
func (m *machine) next() (at time.Duration, tie bool) {
	var times []time.Duration
	if !m.closed {
		alarm := time.Duration(0)
		consider := func(t time.Duration) {
			if alarm == 0 || t < alarm {
				alarm = t
			}
		}
		if m.wanted() {
			consider(m.notBefore)
			if m.tokenAt != 0 {
				consider(m.tokenAt)
			}
		}
		if m.request != nil && !m.hangs {
			consider(m.requests[len(m.requests)-1] + 2*time.Minute)
		}
		if !m.idle {
			consider(m.lastReseed + m.interval)
		}
		if alarm != 0 {
			times = append(times, alarm)
		}
		for _, r := range []*modelRequest{m.request, m.check} {
			if r != nil {
				times = append(times, r.at)
			}
		}
	}
	for _, a := range m.asks {
		if !a.done && a.deadline != 0 {
			times = append(times, a.deadline)
		}
	}
	if len(times) == 0 {
		return 0, false
	}
	slices.Sort(times)
	return times[0], len(times) > 1 && times[0] == times[1]
}

// advance lets time pass.
func (m *machine) advance(to time.Duration) {
	for !m.tie {
		at, tie := m.next()
		if at == 0 || at > to {
			break
		}
		m.tie = tie
		if at < m.time {
			m.fail("the model is late: %v at %v", at, m.time)
		}
		m.time = at
		for _, a := range m.asks {
			if !a.done && a.deadline == at {
				a.done, a.want = true, []error{errDeadline}
				at = -1
			}
		}
		if at < 0 {
			continue
		}
		if m.request == nil || m.request.at > at {
			if m.check == nil || m.check.at > at {
				m.loop()
			}
		}
		m.settle()
	}
	m.time = to
}

// rekey feeds a block to every shard, or where there is none crypto/rand alone.
func (m *machine) rekey(block *numberedBlock) {
	for i := range m.shards {
		sh := &m.shards[i]
		x := m.os.pop(m, &m.os.reseeder, 32)
		if block != nil {
			x = modelSeed(x, byte(i), bytesOf(block.number))
			if !sh.seeded {
				sh.seeded, sh.readsBefore, sh.bytesBefore = true, sh.reads, sh.bytes
			}
		}
		sh.gen.rekey(x)
		sh.bytesAtReseed, sh.bytesAtWake = sh.bytes, sh.bytes+m.quantum()
	}
	m.refused = false
	m.lastReseed, m.wanting = m.time, block == nil
}

func (m *machine) reseed() {
	for len(m.stock) > 0 {
		block := m.stock[0]
		m.stock = m.stock[1:]
		if m.policy != RequireFresh || m.now().age(block.received) <= m.maxAge {
			m.mixIn(block)
			return
		}
		m.status.RefusedBlocks++
	}
	m.rekey(nil)
	m.status.OSReseeds++
}

func (m *machine) mixIn(block numberedBlock) {
	m.rekey(&block)
	if block.emulated && !m.status.Emulated {
		m.emulations++
	}
	m.status.Emulated = m.status.Emulated || block.emulated
	m.status.Blocks++
	now := m.now()
	m.lastBlock, m.lastReceived = &now, block.received
	m.status.Fingerprints = append(m.status.Fingerprints, m.fingerprintOf(block.number))
	m.status.Fingerprints = m.status.Fingerprints[max(0, len(m.status.Fingerprints)-16):]
	changed := m.failing == nil && m.enter(Seeded, "")
	m.emit(modelEvent{kind: BlockMixed, endpoint: "fake", emulated: block.emulated, fingerprint: m.fingerprintOf(block.number)})
	if changed {
		m.emit(modelEvent{kind: StateChanged})
	}
}

func (m *machine) enter(state State, reason Reason) bool {
	if m.status.State == state && m.status.Reason == reason {
		return false
	}
	if m.status.State != state {
		m.since = m.now()
	}
	m.status.State, m.status.Reason = state, reason
	return true
}

func (m *machine) emit(e modelEvent) {
	e.state, e.at = m.status.State, m.now()
	m.events = append(m.events, e)
}

// spacing is the least time between requests.
func (m *machine) spacing() time.Duration { return time.Duration(1.01e10 / m.rate) }

func (m *machine) soonest() time.Duration { return m.requests[len(m.requests)-1] + m.spacing() }

// answer is the blocks of an answer, and what is wrong with them.
func (m *machine) answer(r modelRequest) (blocks []numberedBlock, wrong error) {
	n := r.asked
	if r.least {
		n = 1
	}
	switch r.name {
	case "no block":
		n = 0
	case "too many":
		n = r.asked + 1
	}
	for range n {
		m.given++
		blocks = append(blocks, numberedBlock{m.given, m.now(), r.emulated})
	}
	switch {
	case r.name == "repeated" && m.good == 0, r.name == "old block" && m.policy != RequireFresh:
		return blocks, nil
	default:
		return blocks, r.text
	}
}

// answered takes in the answer to a request.
func (m *machine) answered(r modelRequest) {
	if r.failure != nil {
		m.failed(r.reason, r.retry, r.failure, r.retryAfter, true)
		return
	}
	blocks, wrong := m.answer(r)
	if wrong != nil {
		m.status.RefusedBlocks += int64(len(blocks))
		if wrong == ErrUnhealthy || wrong == ErrRepeated {
			m.failovers++
		}
		m.failed(r.reason, r.retry, wrong, 0, true)
		return
	}
	m.good = blocks[0].number
	m.status.Requests++
	m.lastErr = nil
	m.rate = min(m.rate+1, 30)
	m.asking = min(2*m.asking, m.batch)
	asked := slices.ContainsFunc(m.asks, func(a *modelAsk) bool { return a.waiting })
	use := m.failing != nil || m.wanting || asked
	m.failing, m.notBefore, m.heldUntil, m.tokenAt = nil, m.soonest(), 0, 0
	clear(m.failures)
	if use { // the newest
		m.stock = append(m.stock, blocks[:len(blocks)-1]...)
		m.mixIn(blocks[len(blocks)-1])
	} else {
		m.stock = append(m.stock, blocks...)
	}
	if m.enter(Seeded, "") {
		m.emit(modelEvent{kind: StateChanged})
	}
	if len(m.warned) > 0 {
		m.infos++
		clear(m.warned)
	}
	m.reply(nil, nil)
}

// failed is the outage table.
func (m *machine) failed(reason Reason, o *retrying, err error, retryAfter time.Duration, ended bool) {
	m.failing, m.lastErr = o, err
	m.failures[o.name]++
	n, elsewhere := m.failures[o.name], false
	wait := o.first
	if o.endpoints {
		elsewhere = n%m.endpoints != 0
		n /= m.endpoints
	}
	for range n - 1 {
		wait = min(2*wait, o.most)
	}
	if elsewhere {
		wait = 0
	} else if o.skippable {
		wait = m.jitter(wait)
	}
	if o.slower {
		m.rate = max(m.rate/2, 1.0/60)
		if retryAfter == 0 { // as long as our oldest request in the last 10 s counts
			i := slices.IndexFunc(m.requests, func(at time.Duration) bool { return m.time-at < 10*time.Second })
			wait = time.Second
			if i >= 0 {
				wait = max(wait, m.requests[i]+10*time.Second-m.time)
			}
		}
	}
	if reason == NoSupply || reason == QuotaReached {
		m.asking = max(1, m.asking/2)
	}
	if retryAfter > 0 {
		m.heldUntil = max(m.heldUntil, m.time+min(max(retryAfter, time.Second), 10*time.Minute))
	}
	m.notBefore = max(m.soonest(), m.time+wait)
	if !elsewhere {
		m.notBefore = max(m.notBefore, m.heldUntil)
	}
	m.tokenAt = 0
	if o.token {
		m.tokenAt = m.time + 30*time.Second
	}
	if ended && reason != NoToken {
		m.status.Requests++
	}
	m.reasons[reason]++
	if m.enter(Degraded, reason) {
		m.emit(modelEvent{kind: StateChanged, reason: reason})
	}
	if !m.warned[reason] {
		m.warned[reason] = true
		m.warns++
	}
	m.emit(modelEvent{kind: RequestFailed, reason: reason})
	if !elsewhere {
		m.reply([]error{err}, ErrHeld)
	}
}

// checked takes in whether there is a new token.
func (m *machine) checked(isNew bool) {
	if isNew {
		m.notBefore, m.tokenAt = m.soonest(), 0
		return
	}
	m.tokenAt = m.time + 30*time.Second
	if m.time < m.notBefore {
		m.reply([]error{ErrHeld, m.lastErr}, nil)
	}
}

// ask is a call of Reseed.
func (m *machine) ask(deadline time.Duration) {
	a := &modelAsk{deadline: deadline}
	defer func() { m.asks = append(m.asks, a) }()
	if m.closed {
		a.done, a.want = true, []error{ErrClosed}
		return
	}
	for _, other := range m.asks {
		other.waiting = other.waiting && !other.done // who has given up is forgotten only now
	}
	if m.failing != nil && m.time < m.notBefore {
		switch {
		case m.failing.skippable && m.time >= m.heldUntil:
			m.notBefore = m.soonest()
		case m.failing.token:
			m.tokenAt = m.time
		default:
			a.done, a.want = true, []error{ErrHeld, m.lastErr}
			return
		}
	}
	a.waiting = true
}

func (m *machine) reply(want []error, not error) {
	for _, a := range m.asks {
		if a.waiting && !a.done {
			a.done, a.want, a.not = true, want, not
		}
		a.waiting = false
	}
}

func (m *machine) close() {
	if m.closed {
		return
	}
	m.closed, m.stock, m.request, m.check = true, nil, nil, nil
	m.reply([]error{ErrClosed}, nil)
	for i := range m.shards {
		m.shards[i].gen = modelGenerator{}
	}
	m.enter(Closed, "")
	m.emit(modelEvent{kind: StateChanged})
}
