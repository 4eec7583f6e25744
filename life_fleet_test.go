package qrand

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/built"
	"example.com/qrand/qrypt"
)

// This file is a simulator of many processes and several services in fake time. The
// services have scripts of what goes wrong, and their own limits and clocks. The simulator
// knows what is promised, and nothing about how the code keeps its promises.

// simRules are how a service counts the requests of a token.
type simRules struct {
	fixed        bool // windows begin each 10 s; else the last 10 s count
	countRefused bool
	retryAfter   bool // a 429 says when there would be room
}

// A simLimit is how a service counts the requests of a token: 30 in 10 s.
type simLimit struct {
	simRules
	mu    sync.Mutex
	begin time.Time   // of the fixed window
	times []time.Time // that count
}

// admit lets a request in, or refuses it like the service.
func (l *simLimit) admit(now time.Time) (retryAfter time.Duration, ok bool) {
	const limit, window = 30, 10 * time.Second
	l.mu.Lock()
	defer l.mu.Unlock()
	if begin := now.Truncate(window); l.fixed && !begin.Equal(l.begin) {
		l.begin, l.times = begin, nil
	}
	for !l.fixed && len(l.times) > 0 && now.Sub(l.times[0]) >= window {
		l.times = l.times[1:]
	}
	ok = len(l.times) < limit
	if ok || l.countRefused {
		l.times = append(l.times, now)
	}
	if ok || !l.retryAfter {
		return 0, ok
	}
	free := l.begin.Add(window)
	if !l.fixed {
		free = l.times[len(l.times)-limit].Add(window)
	}
	return max(time.Second, (free.Sub(now) + time.Second - 1).Truncate(time.Second)), false
}

// A simFault is what a service does wrong for a while.
type simFault struct {
	class      error // of its answers
	retryAfter time.Duration
	takes      time.Duration // until the answer
	hangs      bool          // no answer at all
	age        time.Duration // of the blocks that it gives
	emulated   bool
	stuck      bool // its blocks are zeros

	// back is the promise: at most so long after the end of the fault the service is
	// asked again.
	back time.Duration
}

// A simService is an endpoint. Each process asks it through a simEndpoint.
type simService struct {
	name    string
	latency time.Duration
	limit   *simLimit // nil: none
	script  []simSpan // in order

	mu    sync.Mutex
	asked []simRequest
	given uint64
}

// A simSpan is a time in which a service has a fault; nil: it is healthy.
type simSpan struct {
	from  time.Time
	fault *simFault
}

type simRequest struct {
	at      time.Time
	process int
	ok      bool
	limited bool // refused for the token's limit
	blocks  int
}

// now returns the span in which a time is.
func (s *simService) now(at time.Time) simSpan {
	span := simSpan{}
	for _, next := range s.script {
		if next.from.After(at) {
			break
		}
		span = next
	}
	return span
}

// owes returns since when a process that keeps the promises has had blocks from this
// service; zero if that cannot be said.
func (s *simService) owes(at, start time.Time) time.Time {
	current := s.now(at)
	if current.fault != nil {
		return time.Time{}
	}
	since, back := start, time.Duration(0)
	if current.from.After(start) {
		since = current.from
	}
	for _, span := range s.script { // what an earlier fault made a process believe may still hold
		if span.from.Before(since) && span.fault != nil {
			back = max(back, span.fault.back)
		}
	}
	return since.Add(back)
}

// refusal is when a process was last refused for the token's limit; zero: never.
func (s *simService) refusal(process int) (at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.asked {
		if r.process == process && r.limited {
			at = r.at
		}
	}
	return at
}

// simNoise is what blocks are made of, because it is fast.
var simNoise = func() (noise [64][]byte) {
	rand := mathrand.NewChaCha8([32]byte{'s', 'i', 'm'})
	for i := range noise {
		noise[i] = make([]byte, qrypt.BlockSize)
		rand.Read(noise[i])
	}
	return noise
}()

// A simEndpoint is a service for one process.
type simEndpoint struct {
	*simService
	process int
}

func (e simEndpoint) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) {
	at := time.Now()
	fault := e.now(at).fault
	request := simRequest{at: at, process: e.process}
	blocks, err := e.answer(fault, n, at)
	request.ok, request.blocks, request.limited = err == nil, len(blocks), errors.Is(err, qrypt.ErrRateLimited) && (fault == nil || fault.class != qrypt.ErrRateLimited)
	if fault != nil && fault.hangs {
		request.ok, request.blocks = false, 0
	}
	e.mu.Lock()
	e.asked = append(e.asked, request)
	e.mu.Unlock()
	wait := e.latency
	if fault != nil {
		wait += fault.takes
		if fault.hangs { // and gives nothing
			<-ctx.Done()
			return nil, ctx.Err()
		}
	}
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return blocks, err
}

func (e simEndpoint) answer(fault *simFault, n int, at time.Time) ([]qrypt.Block, error) {
	if e.limit != nil {
		if retryAfter, ok := e.limit.admit(at); !ok {
			return nil, &qrypt.Error{Endpoint: e.name, Class: qrypt.ErrRateLimited, RetryAfter: retryAfter}
		}
	}
	if fault != nil && fault.class != nil {
		return nil, &qrypt.Error{Endpoint: e.name, Class: fault.class, RetryAfter: fault.retryAfter}
	}
	origin := qrypt.Origin{Endpoint: e.name, Received: at}
	if fault != nil {
		origin.Received, origin.Emulated = at.Add(-fault.age), fault.emulated
	}
	var blocks []qrypt.Block
	for range n {
		e.mu.Lock()
		e.given++
		number := e.given
		e.mu.Unlock()
		p := slices.Clone(simNoise[number%64])
		copy(p[64:], fmt.Sprintf("%s block %d for %d", e.name, number, e.process))
		if fault != nil && fault.stuck {
			clear(p)
		}
		b, err := qrypt.NewBlock(p, origin)
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// TokenChanged returns false: in the simulation there is only one token.
func (e simEndpoint) TokenChanged(context.Context) bool { return false }

// A simProcess is a Source, its log, and what was seen of it.
type simProcess struct {
	*Source
	number int
	start  time.Time
	seeded time.Time // zero: not yet
	warns  int
	infos  int
}

func (p *simProcess) Enabled(context.Context, slog.Level) bool { return true }
func (p *simProcess) WithAttrs([]slog.Attr) slog.Handler       { return p }
func (p *simProcess) WithGroup(string) slog.Handler            { return p }
func (p *simProcess) Handle(_ context.Context, r slog.Record) error {
	switch {
	case strings.Contains(r.Message, "ignore"): // of the Go release
	case r.Level == slog.LevelWarn:
		p.warns++
	default:
		p.infos++
	}
	return nil
}

// startProcess starts a process. Its random waits depend only on seed and number.
func startProcess(t testing.TB, seed uint64, number int, cfg Config, endpoints ...*simService) *simProcess {
	t.Helper()
	p := &simProcess{number: number, start: time.Now()}
	var all []BlockSource
	for _, e := range endpoints {
		all = append(all, simEndpoint{e, number})
	}
	cfg.Blocks, cfg.Logger = Prefer(all[0], all[1:]...), slog.New(p)
	random := mathrand.New(mathrand.NewPCG(seed, uint64(number)))
	onEvent := cfg.OnEvent
	cfg.OnEvent = func(e Event) {
		if e.Kind == BlockMixed && p.seeded.IsZero() {
			p.seeded = e.Time
		}
		if onEvent != nil {
			onEvent(e)
		}
	}
	s, err := newSource(cfg, 1, testParts(parts{random: func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }}))
	if err != nil {
		t.Fatal(err)
	}
	p.Source = s
	return p
}

// simFaults are the faults of the random scenarios, each with what is promised for
// the time after it.
var simFaults = []simFault{
	{class: qrypt.ErrNoSupply, back: 5 * time.Minute},
	{class: qrypt.ErrNoSupply, retryAfter: 90 * time.Second, back: 90*time.Second + 5*time.Minute},
	{class: qrypt.ErrServer, back: 5 * time.Minute},
	{class: qrypt.ErrNetwork, back: 5 * time.Minute},
	{class: qrypt.ErrNetwork, takes: 10 * time.Second, back: 5 * time.Minute},
	{class: qrypt.ErrTLS, back: 5 * time.Minute},
	{class: qrypt.ErrTimeout, takes: 20 * time.Second, back: 5 * time.Minute},
	{class: qrypt.ErrMalformed, back: 5 * time.Minute},
	{class: qrypt.ErrRedirected, back: 5 * time.Minute},
	{class: qrypt.ErrRateLimited, back: 25 * time.Minute},
	{class: qrypt.ErrRateLimited, retryAfter: time.Second, back: 25 * time.Minute},
	{class: qrypt.ErrRateLimited, retryAfter: 5 * time.Minute, back: 30 * time.Minute},
	{class: qrypt.ErrQuota, retryAfter: 37 * time.Second, back: time.Minute},
	{class: qrypt.ErrQuota, retryAfter: 40 * time.Minute, back: 45 * time.Minute},
	{class: qrypt.ErrQuota, back: 7 * time.Hour},
	{class: qrypt.ErrUnauthorized, back: 66 * time.Minute},
	{class: qrypt.ErrBadRequest, back: 66 * time.Minute},
	{stuck: true, back: 5 * time.Minute},
	{age: 11 * time.Minute, back: 5 * time.Minute},
	{emulated: true, back: 5 * time.Minute},
}

// A hanging call ends when the Source is closed, so it is a fault that never ends.
var simHang = simFault{hangs: true}

// scenario runs a few processes and one to three services for some hours. All the time it
// checks what holds for every Source, and returns the promises that were broken.
func scenario(t *testing.T, seed uint64) (broken []string) {
	random := mathrand.New(mathrand.NewPCG(seed, 0))
	fails := func(format string, args ...any) {
		if len(broken) < 5 {
			broken = append(broken, fmt.Sprintf(format, args...))
		}
	}
	begin := time.Now()
	length := time.Hour + time.Duration(random.Int64N(int64(3*time.Hour)))
	shared := &simLimit{simRules: simRules{fixed: random.IntN(2) == 0, countRefused: random.IntN(2) == 0, retryAfter: random.IntN(2) == 0}}
	var services []*simService
	for i := range 1 + random.IntN(3) {
		s := &simService{name: fmt.Sprintf("https://%c", 'a'+i), latency: time.Duration(random.Int64N(int64(2 * time.Second)))}
		if random.IntN(2) == 0 {
			s.limit = shared
		}
		s.script = []simSpan{{from: begin}}
		for at := begin; ; {
			at = at.Add(time.Duration(float64(10*time.Second) * math.Pow(1000, random.Float64()))) // 10 s to 3 h
			if at.After(begin.Add(length)) {
				break
			}
			span := simSpan{from: at}
			if s.script[len(s.script)-1].fault == nil {
				span.fault = &simFaults[random.IntN(len(simFaults))]
			}
			s.script = append(s.script, span)
		}
		switch random.IntN(6) {
		case 0: // it begins with a fault
			s.script[0].fault = &simFaults[random.IntN(len(simFaults))]
		case 1: // it alternates
			fault := &simFaults[random.IntN(3)]
			for at := range 1000 {
				s.script = append(s.script, simSpan{from: s.script[len(s.script)-1].from.Add(time.Duration(1+at%3) * time.Second)})
				if at%2 == 0 {
					s.script[len(s.script)-1].fault = fault
				}
			}
		case 2:
			if i == 0 && random.IntN(3) == 0 {
				s.script = append(s.script, simSpan{from: s.script[len(s.script)-1].from.Add(time.Minute), fault: &simHang})
			}
		}
		services = append(services, s)
	}
	cfg := Config{Policy: Policy(random.IntN(3)), BatchBlocks: []int{0, 0, 1, 2, 64}[random.IntN(5)]}
	maxAge := 10 * time.Minute
	if cfg.Policy == RequireFresh {
		maxAge = time.Duration(61+random.IntN(1000)) * time.Second
		cfg.MaxAge = maxAge
	}
	var group sync.WaitGroup
	var mu sync.Mutex // of broken
	for number := range 1 + random.IntN(6) {
		start := time.Duration(random.Int64N(int64(time.Minute)))
		group.Go(func() {
			time.Sleep(start)
			var newest time.Time // by the services' clocks
			p := startProcess(t, seed, number, cfg, services...)
			buf := make([]byte, 32)
			for time.Since(begin) < length {
				_, err := p.Read(buf)
				st := p.Status()
				now := time.Now()
				if st.LastReceived.After(newest) {
					newest = st.LastReceived
				}
				func() {
					mu.Lock()
					defer mu.Unlock()
					who := fmt.Sprintf("after %v process %d (%v, batch %d)", now.Sub(begin).Round(time.Second), number, cfg.Policy, cfg.BatchBlocks)
					switch {
					case cfg.Policy == Augment && err != nil:
						fails("%s: a Read failed: %v", who, err)
					case cfg.Policy != Augment && st.Blocks == 0 && err == nil:
						fails("%s: a Read without a block", who)
					case cfg.Policy == RequireFresh && err == nil && now.Sub(newest) > maxAge:
						fails("%s: a Read with a newest block of %v, allowed is %v", who, now.Sub(newest), maxAge)
					case cfg.Policy != Augment && st.Emulated:
						fails("%s: emulated blocks are in it", who)
					}
					p.owed(services, now, st, func(format string, args ...any) { fails(who+": "+format, args...) })
				}()
				time.Sleep(20 * time.Second)
			}
			p.Close() // ends what writes to p
			mu.Lock()
			defer mu.Unlock()
			who := fmt.Sprintf("process %d (%v, batch %d)", number, cfg.Policy, cfg.BatchBlocks)
			hours := length.Hours() + 1
			if limit := int(hours * 25); p.warns > limit || p.infos > limit {
				fails("%s: %d Warns and %d Infos in %v", who, p.warns, p.infos, length)
			}
			p.spent(services, length, max(8, cfg.BatchBlocks), func(format string, args ...any) { fails(who+": "+format, args...) })
		})
	}
	group.Wait()
	return broken
}

// owed checks that a process now has what was promised to it.
func (p *simProcess) owed(services []*simService, now time.Time, st Status, fails func(string, ...any)) {
	slow := time.Minute // for other endpoints' answers, of which none may keep it longer
	refused, dead := st.Failures[RateLimited] > 0, true
	for _, s := range services {
		for _, span := range s.script {
			if span.fault != nil && span.fault.hangs {
				slow += time.Minute
			}
		}
		span := s.now(now)
		dead = dead && span.fault != nil && span.fault.class != nil && now.Sub(span.from) > 4*time.Minute
	}
	if st.State == Degraded || st.State == Starting {
		for _, s := range services {
			since := s.owes(now, p.start)
			if at := s.refusal(p.number).Add(6 * time.Minute); !since.IsZero() && at.After(since) {
				since = at
			}
			if !since.IsZero() && now.Sub(since) > time.Minute+slow && now.Sub(st.Since) > time.Minute+slow {
				fails("no block for %v, though %s could be had: %v", now.Sub(since).Round(time.Second), s.name, st)
			}
		}
	}
	if dead && !refused && st.State == Seeded && now.Sub(p.start) > 4*time.Minute {
		fails("all services have been dead for 4 min, and it has not noticed: %v", st)
	}
}

// spent checks that a process took no more blocks than it may, and from which service.
func (p *simProcess) spent(services []*simService, length time.Duration, batch int, fails func(string, ...any)) {
	blocks, refused := 0, p.Status().Failures[RateLimited] > 0 // then it asks less often
	var times []time.Time
	var last simRequest
	lastFrom := 0
	for i, s := range services {
		s.mu.Lock()
		for _, r := range s.asked {
			if r.process != p.number {
				continue
			}
			blocks += r.blocks
			times = append(times, r.at)
			if r.ok && r.at.After(last.at) {
				last, lastFrom = r, i
			}
		}
		s.mu.Unlock()
	}
	slices.SortFunc(times, time.Time.Compare)
	for i := range times {
		if i >= 30 && times[i].Sub(times[i-30]) < 10*time.Second {
			fails("31 requests in %v", times[i].Sub(times[i-30]))
		}
	}
	if most := int(length.Hours()*150) + 100; len(times) > most {
		fails("%d requests in %v", len(times), length)
	}
	wasted := int(p.Status().RefusedBlocks)
	if most := int(length.Minutes()*2) + 2*batch + 20; blocks-wasted > most || wasted > most {
		fails("%d blocks in %v, of which %d were refused", blocks, length, wasted)
	}
	now := time.Now()
	if first := services[0].owes(now, p.start); !refused && lastFrom != 0 && !first.IsZero() && now.Sub(first) > 15*time.Minute {
		fails("%s could be asked for %v, and it still asks %s", services[0].name, now.Sub(first), services[lastFrom].name)
	}
}

// TestPromises runs random scenarios. To look for longer, or at one again:
//
//	QRAND_SCENARIOS=10000 go test -run TestPromises -timeout 60m .
//	QRAND_SCENARIO_SEED=1234 go test -run TestPromises -v .
func TestPromises(t *testing.T) {
	count, first := 150, uint64(time.Now().UnixNano())%1e9
	if testing.Short() {
		count = 20
	}
	if n, err := strconv.Atoi(os.Getenv("QRAND_SCENARIOS")); err == nil {
		count = n
	}
	if seed, err := strconv.ParseUint(os.Getenv("QRAND_SCENARIO_SEED"), 10, 64); err == nil {
		count, first = 1, seed
	}
	t.Logf("%d scenarios from seed %d on", count, first)
	for i := range count {
		seed := first + uint64(i)
		bubble(t, func(t *testing.T) {
			for _, what := range scenario(t, seed) {
				t.Errorf("scenario %d: %s", seed, what)
			}
		})
		if t.Failed() {
			t.Fatalf("to see it again: QRAND_SCENARIO_SEED=%d", seed)
		}
	}
}

// TestFleetStarts: processes that start on one token, at once or within a minute, are all
// seeded soon, however the service counts and whatever it says. The least possible time is
// 10 s for each 30 of them. For all figures, and a longer run: -v and
//
//	QRAND_FLEETS=20 go test -run TestFleetStarts -v -timeout 60m .
func TestFleetStarts(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("QRAND_FLEETS"))
	if err != nil {
		rounds = 1
	}
	for _, n := range []int{300, 1440} {
		for kind := range 16 {
			rules := simRules{fixed: kind&1 != 0, countRefused: kind&2 != 0, retryAfter: kind&4 != 0}
			spread := time.Duration(kind>>3) * time.Minute
			if n > 300 && rounds == 1 && kind != 0 && kind != 2 && kind != 13 {
				continue // these take a while
			}
			most := 1.5
			switch {
			case rules.countRefused:
				most = 4
			case n > 300:
				most = 2
			}
			worst, requests := 0.0, 0
			for range rounds {
				ratio, asked := fleetStart(t, n, rules, spread)
				worst, requests = max(worst, ratio), max(requests, asked)
			}
			what := fmt.Sprintf("%d processes within %v, fixed window %v, refused requests count %v, Retry-After %v", n, spread, rules.fixed, rules.countRefused, rules.retryAfter)
			t.Logf("%s: all seeded after %.2f of the least time, %.1f requests each", what, worst, float64(requests)/float64(n))
			if worst > most && rounds == 1 { // one process in 100,000 has very bad luck: not twice in a row
				worst, _ = fleetStart(t, n, rules, spread)
			}
			if worst > most {
				t.Errorf("%s: all seeded after %.2f of the least time, want %.1f at most", what, worst, most)
			}
		}
	}
}

// fleetStart returns how long it took from the last start until all were seeded, as a
// share of the least time.
func fleetStart(t *testing.T, n int, rules simRules, spread time.Duration) (ratio float64, requests int) {
	bubble(t, func(t *testing.T) {
		seed := mathrand.Uint64()
		service := &simService{name: "https://service", latency: 50 * time.Millisecond, limit: &simLimit{simRules: rules}}
		time.Sleep(time.Duration(seed % 1e10)) // windows do not begin with the fleet
		begin := time.Now()
		processes := make([]*simProcess, n)
		var group sync.WaitGroup
		for i := range processes {
			group.Go(func() {
				time.Sleep(time.Duration(mathrand.Int64N(int64(spread) + int64(300*time.Millisecond))))
				processes[i] = startProcess(t, seed, i, Config{}, service)
			})
		}
		group.Wait()
		last := begin
		for i, p := range processes {
			ctx, cancel := context.WithTimeout(t.Context(), 12*time.Hour)
			if err := p.WaitSeeded(ctx); err != nil {
				t.Errorf("process %d of %d: %v", i, n, err)
			}
			cancel()
			p.Close()
			if p.seeded.After(last) {
				last = p.seeded
			}
		}
		least := time.Duration((n+29)/30) * 10 * time.Second
		ratio, requests = float64(last.Sub(begin)-spread)/float64(least), len(service.asked)
	})
	return ratio, requests
}

// TestHerd: processes that wait for the same thing do not ask in the same second. Once 30 s
// have passed since all of them asked at once, never more than a tenth of them do. Where each asks
// every 20 s, 50 of 1,000 do on average, and chance does not make 101 of that in hours. (Of 500, it
// made 51 of 25 in one run of forty.)
func TestHerd(t *testing.T) {
	for i, fault := range []simFault{
		{class: qrypt.ErrNoSupply, retryAfter: 10 * time.Second},
		{class: qrypt.ErrNoSupply, retryAfter: 2 * time.Minute},
		{class: qrypt.ErrNoSupply},
		{class: qrypt.ErrNetwork},
		{class: qrypt.ErrRateLimited, retryAfter: time.Second},
		{class: qrypt.ErrRateLimited, retryAfter: 2 * time.Minute},
		{class: qrypt.ErrRateLimited},
		{class: qrypt.ErrQuota, retryAfter: 37 * time.Second},
		{class: qrypt.ErrQuota, retryAfter: 3 * time.Hour}, // until midnight
		{class: qrypt.ErrQuota},
		{class: qrypt.ErrUnauthorized},
		{class: qrypt.ErrBadRequest},
		{stuck: true},
	} {
		if built.Race && i%4 != 0 {
			continue // all of them would take more than a minute
		}
		bubble(t, func(t *testing.T) {
			const n = 1000
			begin, outage := time.Now(), max(2*time.Hour, fault.retryAfter)
			service := &simService{name: "https://relay", script: []simSpan{{begin, &fault}, {begin.Add(outage), nil}}}
			var processes []*simProcess
			for i := range n {
				processes = append(processes, startProcess(t, mathrand.Uint64(), i, Config{}, service))
			}
			time.Sleep(outage + 4*time.Hour)
			synctest.Wait()
			inSecond := map[time.Duration]map[int]bool{}
			for _, r := range service.asked {
				if at := r.at.Sub(begin).Truncate(time.Second); at >= 30*time.Second {
					if inSecond[at] == nil {
						inSecond[at] = map[int]bool{}
					}
					if inSecond[at][r.process] = true; len(inSecond[at]) == n/10+1 {
						t.Errorf("%v, Retry-After %v: more than a tenth of all in the second after %v", fault.class, fault.retryAfter, at)
					}
				}
			}
			for _, p := range processes {
				st := p.Status()
				p.Close()
				if st.State != Seeded && !t.Failed() {
					t.Errorf("%v: four hours after its end %v", fault.class, st)
				}
			}
		})
	}
}

// TestBusyFleet: nearly as many processes as a token can feed are read all the time. All of
// them get blocks. For larger fleets, some of which are too large:
//
//	QRAND_FLEETS=1 go test -run TestBusyFleet -v .
func TestBusyFleet(t *testing.T) {
	for _, tc := range []struct {
		n            int
		countRefused bool
	}{{300, false}, {300, true}, {360, false}, {360, true}, {720, false}, {720, true}, {1000, false}, {1000, true}, {1400, false}, {1400, true}} {
		if os.Getenv("QRAND_FLEETS") == "" && tc.n > 300 {
			continue // these take minutes
		}
		bubble(t, func(t *testing.T) {
			service := &simService{name: "https://service", latency: 50 * time.Millisecond, limit: &simLimit{simRules: simRules{countRefused: tc.countRefused}}}
			processes := make([]*simProcess, tc.n)
			for i := range processes {
				processes[i] = startProcess(t, mathrand.Uint64(), i, Config{}, service)
			}
			const hours = 4
			start := time.Now().Add(time.Hour) // by when the herd of the start is over
			var given int64
			before := make([]int64, tc.n)
			for minute := range hours * 60 {
				if minute == 60 {
					service.asked = nil
					for i, p := range processes {
						before[i] = p.Status().Blocks
					}
				}
				for _, p := range processes {
					p.Read(make([]byte, 1))
				}
				time.Sleep(time.Minute)
				synctest.Wait()
			}
			fewest := int64(1000)
			for i, p := range processes {
				got := p.Status().Blocks - before[i]
				given += got
				fewest = min(fewest, got)
				p.Close()
			}
			ok := 0
			for _, r := range service.asked {
				if r.ok && r.at.After(start) {
					ok++
				}
			}
			t.Logf("%d busy processes, refused requests count %v: %.0f blocks each in an hour, %.0f the fewest; %d requests a minute, of which %d are answered, of 180",
				tc.n, tc.countRefused, float64(given)/float64(3*tc.n), float64(fewest)/3, len(service.asked)/180, ok/180)
			if fewest < 1 && (tc.n <= 720 || !tc.countRefused) {
				t.Errorf("%d processes, refused requests count %v: one got no block in three hours", tc.n, tc.countRefused)
			}
			if tc.n == 300 && float64(given)/float64(tc.n) < 150 {
				t.Errorf("%d processes got %.1f blocks each in three hours", tc.n, float64(given)/float64(tc.n))
			}
		})
	}
}

// TestShareOfALimit: processes that know nothing of each other, and want all that they can
// get, come to share what a token allows, and use most of it. For all figures:
//
//	QRAND_FLEETS=1 go test -run TestShareOfALimit -v .
func TestShareOfALimit(t *testing.T) {
	for _, tc := range []struct {
		n     int
		least float64 // of what the token allows
	}{{2, 0.9}, {3, 0.8}, {8, 0.65}} {
		for kind := range 8 {
			if os.Getenv("QRAND_FLEETS") == "" && (tc.n > 2 && kind != 0 && kind != 2 && kind != 5 || built.Race && (tc.n > 2 || kind > 0)) {
				continue // these take a quarter of a minute, under the race detector minutes
			}
			rules := simRules{fixed: kind&1 != 0, countRefused: kind&2 != 0, retryAfter: kind&4 != 0}
			bubble(t, func(t *testing.T) {
				service := &simService{name: "https://service", latency: 50 * time.Millisecond, limit: &simLimit{simRules: rules}}
				processes := make([]*simProcess, tc.n)
				for i := range processes {
					processes[i] = startProcess(t, mathrand.Uint64(), i, Config{BatchBlocks: 1, ReseedBytes: 1}, service)
				}
				begin, before := time.Now(), make([]int64, tc.n)
				for time.Since(begin) < 3*time.Hour {
					if time.Since(begin) == time.Hour { // they have had time to learn
						for i, p := range processes {
							before[i] = p.Status().Blocks
						}
					}
					for _, p := range processes {
						mustRead(t, p.Source, 1)
					}
					time.Sleep(250 * time.Millisecond)
				}
				var got []float64 // shares of what a process may have
				sum := 0.0
				for i, p := range processes {
					got = append(got, float64(p.Status().Blocks-before[i])/(7200*3)*float64(tc.n))
					sum += got[i] / float64(tc.n)
					p.Close()
				}
				t.Logf("%d processes, %+v: %.2f of the limit, shares %.2f", tc.n, rules, sum, got)
				if sum < tc.least || slices.Min(got) < sum*2/3 || slices.Max(got) > sum*4/3 {
					t.Errorf("want at least %.2f of the limit, and equal shares", tc.least)
				}
			})
		}
	}
}
