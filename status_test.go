package qrand

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// TestStatus: the numbers add up, String has them, JSON has them all.
func TestStatus(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{Regions: []string{"api-eus"}}, qrypt.DialectOpenAPI)
		w.Script(qrypttest.Fault{Kind: qrypttest.Status, Status: 429, RetryAfter: 10 * time.Second})
		s := w.source(t, Config{}, parts{random: func(time.Duration) time.Duration { return 0 }})
		mustRead(t, s, 300)
		mustRead(t, s, 700)
		synctest.Wait()
		st := s.Status()
		if want := time.Now().Add(10 * time.Second); !st.NextRequest.Equal(want) {
			t.Errorf("the next request is due at %v, want %v", st.NextRequest, want)
		}
		for _, want := range []string{"Degraded (rate limited (429)) for 0s", "no block in the key", "; served 1000 bytes in 2 reads (1000 in 2 before the first block)", "requests: 1, 1 rate limited (429)", "next in 10s"} {
			if !strings.Contains(st.String(), want) {
				t.Errorf("String is %q, without %q", st, want)
			}
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		mustRead(t, s, 24)
		time.Sleep(30 * time.Second)
		st = s.Status()
		hear(st)
		text, err := json.Marshal(st)
		if err != nil {
			t.Fatal(err)
		}
		var back Status
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		for _, st := range []Status{st, back} {
			if st.State != Seeded || st.Reason != "" || st.Blocks != 1 || st.OSReseeds != 0 || st.Stock != 7 || st.RefusedBlocks != 0 ||
				st.Reads != 3 || st.Bytes != 1024 || st.ReadsBeforeBlock != 2 || st.BytesBeforeBlock != 1000 ||
				st.Requests != 2 || st.Failures[RateLimited] != 1 || st.LastError != "" || !st.Emulated ||
				st.LastEndpoint != "http://127.0.0.1" || st.Time.Sub(st.LastBlock) != 30*time.Second || !st.NextRequest.IsZero() {
				t.Errorf("status is %s", text)
			}
		}
		for name := range strings.FieldsSeq("last_endpoint_certificate_sha256 last_endpoint_public_key_sha256 max_age_seconds") {
			if strings.Contains(string(text), name) {
				t.Errorf("%s without TLS, under Augment: %s", name, text)
			}
		}
		for _, want := range []string{"Seeded for 30s: last block 30s ago from http://127.0.0.1 (EMULATED, not quantum)", "1 with a block, 0 without; stock 7"} {
			if !strings.Contains(st.String(), want) {
				t.Errorf("String is %q, without %q", st, want)
			}
		}
		st.Failures[RateLimited] = 99
		if s.Status().Failures[RateLimited] == 99 {
			t.Error("a Status shares its map with the Source")
		}
	})
}

// TestStatusString: the parts of a Status that are not always shown, and rounded times.
func TestStatusString(t *testing.T) {
	now := time.Now()
	for want, st := range map[string]Status{
		"in 5 reads;":                        {Reads: 5},
		"in 5 reads (7 in 1 before":          {Reads: 5, ReadsBeforeBlock: 1, BytesBeforeBlock: 7},
		"; next in 2s":                       {NextRequest: now.Add(2 * time.Second)},
		"; next in 0s":                       {NextRequest: now.Add(-2 * time.Second)},
		"Seeded for 9.423s: ":                {State: Seeded, Since: now.Add(-9423 * time.Millisecond)},
		"Seeded for 10s: ":                   {State: Seeded, Since: now.Add(-10423 * time.Millisecond)},
		"Degraded (quota reached (403)) for": {State: Degraded, Reason: QuotaReached},
	} {
		st.Time = now
		if got := st.String(); !strings.Contains(got, want) {
			t.Errorf("String is %q, without %q", got, want)
		}
	}
}

// TestEnter: another State is a change, and so is another Reason. Only another State
// begins anew.
func TestEnter(t *testing.T) {
	begin, later := time.Unix(1, 0), time.Unix(2, 0)
	st := Status{State: Degraded, Reason: NoSupply, Since: begin}
	if st.enter(Degraded, NoSupply, later) || st.Since != begin {
		t.Errorf("the same State: %v since %v", st.State, st.Since)
	}
	if !st.enter(Degraded, TimedOut, later) || st.Reason != TimedOut || st.Since != begin {
		t.Errorf("another Reason: %q since %v", string(st.Reason), st.Since)
	}
	if !st.enter(Seeded, "", later) || st.State != Seeded || st.Reason != "" || st.Since != later {
		t.Errorf("another State: %v since %v", st.State, st.Since)
	}
}

// TestText: each name is read back as the value that wrote it, and others are refused.
func TestText(t *testing.T) {
	for state := Starting; state <= Closed; state++ {
		text, _ := state.MarshalText()
		var back State
		if err := back.UnmarshalText(text); err != nil || back != state {
			t.Errorf("%v reads back as %v, %v", state, back, err)
		}
	}
	var mix Mix
	var policy Policy
	for _, err := range []error{new(State).UnmarshalText([]byte("Gone")), mix.UnmarshalText([]byte("Stir")), policy.UnmarshalText([]byte("Hope"))} {
		if err == nil {
			t.Error("an unknown name was read")
		}
	}
	if got := State(9).String() + Mix(9).String() + Policy(-1).String() + EventKind(9).String(); got != "State(9)Mix(9)Policy(-1)EventKind(9)" {
		t.Error(got)
	}
}

// TestReasonWords: the words for JSON and metrics do not change, because other programs
// look for them. Each has a text for people.
func TestReasonWords(t *testing.T) {
	words := []string{
		"rate_limited", "no_supply", "server_error", "tls_failed", "timed_out", "unreachable", "quota_reached",
		"unauthorized", "no_token", "bad_request", "redirected", "malformed", "unhealthy", "repeated", "too_old", "emulated", "timed_out",
	}
	for i, row := range supply.Table {
		if i >= len(words) || row.Reason != words[i] {
			t.Errorf("row %d of the outage table has the reason %q", i, row.Reason)
		}
		if Reason(row.Reason).String() == "" {
			t.Errorf("%q has no text", row.Reason)
		}
	}
	if Failed != "failed" || Failed.String() == "" || Reason("").String() != "" {
		t.Errorf("what is in no row has the reason %q", string(Failed))
	}
}

// TestStatusOfClosing: while Close is at work, Status says Closed. So a Read that found its
// shard closed is not reported as one of a seeded Source.
func TestStatusOfClosing(t *testing.T) {
	s := newTestSource(t, Config{Blocks: &fakeBlocks{}}, 2)
	waitSeeded(t, s)
	s.closed.Store(true) // as Close begins
	s.shards[0].mu.Lock()
	s.shards[0].closed = true
	s.shards[0].mu.Unlock()
	if st := s.Status(); st.State != Closed || st.Reason != "" {
		t.Errorf("status: %v", st)
	}
}

// TestEvents: OnEvent gets each event once and in order, and may call Read.
func TestEvents(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var s *Source
		var got []string
		ready := make(chan struct{})
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		w.Script(qrypttest.Fault{Kind: qrypttest.OK}, qrypttest.Fault{Kind: qrypttest.HTML})
		s = w.source(t, Config{OnEvent: func(e Event) {
			<-ready
			mustRead(t, s, 10) // RUSTSEC-2026-0097: a hook that uses the generator
			st := s.Status()
			if st.State != e.State {
				t.Errorf("%v: the event says %v, Status %v", e.Kind, e.State, st.State)
			}
			if e.Kind == BlockMixed && !e.Emulated {
				t.Error("an emulated block is not labelled")
			}
			if e.Kind == RequestFailed && (e.Err == nil || e.Reason != Malformed) {
				t.Errorf("RequestFailed says %v: %v", e.Reason, e.Err)
			}
			got = append(got, e.Kind.String()+" "+e.State.String())
		}})
		close(ready)
		waitSeeded(t, s)
		s.Reseed(t.Context())
		s.Reseed(t.Context())
		s.Close()
		want := []string{
			"BlockMixed Seeded", "StateChanged Seeded",
			"RequestFailed Seeded", "BlockMixed Seeded", // Reseed tries the other endpoint
			"BlockMixed Seeded",
			"StateChanged Closed",
		}
		if !slices.Equal(got, want) {
			t.Errorf("events\n%q, want\n%q", got, want)
		}
	})
}

// TestSeededIsTold: a line about the first block says what was read before it.
func TestSeededIsTold(t *testing.T) {
	for _, reads := range []int{0, 3} {
		bubble(t, func(t *testing.T) {
			log := &textLog{}
			s := newTestSource(t, Config{Logger: slog.New(log), Blocks: blockFunc(func(context.Context, int) ([]qrypt.Block, error) {
				time.Sleep(1200 * time.Millisecond)
				return []qrypt.Block{newTestBlock(1)}, nil
			})}, 2)
			for range reads {
				mustRead(t, s, 27)
			}
			time.Sleep(time.Hour)
			want := "before any byte was read"
			if reads > 0 {
				want = fmt.Sprintf("%d bytes in %d reads went out before it", 27*reads, reads)
			}
			if !log.has("INFO", "qrand: seeded", "after 1.2s", want) {
				t.Errorf("the log is %q", log.lines)
			}
		})
	}
}

// TestWarnSaysWhatFollows: the line about an outage says what Reads do now, which depends
// on the Policy.
func TestWarnSaysWhatFollows(t *testing.T) {
	const before = "reads go on with crypto/rand and the blocks that came before"
	for _, tc := range []struct {
		policy Policy
		seeded bool
		idle   time.Duration // before the outage
		want   string
	}{
		{Augment, false, time.Minute, "reads go on with crypto/rand alone"},
		{Augment, true, time.Minute, before},
		{RequireInitial, false, time.Minute, "reads fail until a block comes"},
		{RequireInitial, true, time.Minute, before},
		{RequireFresh, false, time.Minute, "reads fail until a block comes"},
		{RequireFresh, true, time.Minute, "reads go on for 9m0s, then they fail"},
		{RequireFresh, true, defaultMaxAge, "reads fail until a block comes"},
		{RequireFresh, true, time.Hour, "reads fail until a block comes"},
	} {
		bubble(t, func(t *testing.T) {
			log, blocks := &textLog{}, &fakeBlocks{}
			if !tc.seeded {
				blocks.err = errors.New("out")
			}
			s := newTestSource(t, Config{Policy: tc.policy, Logger: slog.New(log), Blocks: blocks}, 1)
			time.Sleep(tc.idle)
			blocks.setErr(errors.New("out"))
			s.Reseed(t.Context())
			if !log.has("WARN qrand: degraded: no quantum entropy comes from the service; "+tc.want+" reason=", "error=out", "next=") {
				t.Errorf("%v, seeded %v, after %v: the log is %q", tc.policy, tc.seeded, tc.idle, log.lines)
			}
		})
	}
	bubble(t, func(t *testing.T) {
		const act = before + "; no endpoint accepts the token, or there is none: unless another one comes, somebody must act"
		log, blocks := &textLog{}, &fakeBlocks{}
		s := newTestSource(t, Config{Logger: slog.New(log), Blocks: blocks}, 1)
		waitSeeded(t, s)
		blocks.setErr(&qrypt.Error{Class: qrypt.ErrUnauthorized})
		s.Reseed(t.Context())
		if !log.has("WARN", act+" reason=") {
			t.Errorf("without a token: the log is %q", log.lines)
		}
	})
	bubble(t, func(t *testing.T) {
		const again = before + "; it follows another within 10 min, so its end is logged after 10 min without a failure reason="
		log, blocks := &textLog{}, &fakeBlocks{}
		s := newTestSource(t, Config{Logger: slog.New(log), Blocks: blocks}, 1)
		waitSeeded(t, s)
		for range 2 {
			if log.has("WARN", again) {
				t.Errorf("after one outage the log is %q", log.lines)
			}
			blocks.setErr(errors.New("out"))
			s.Reseed(t.Context())
			blocks.setErr(nil)
			time.Sleep(time.Minute)
			s.Reseed(t.Context())
		}
		if !log.has("WARN", again) {
			t.Errorf("after two outages the log is %q", log.lines)
		}
	})
}

// TestWarnOncePerReason: an outage is logged once for each Reason, however often the
// Reasons alternate.
func TestWarnOncePerReason(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		w.ScriptRegion("api-eus", qrypttest.Fault{Kind: qrypttest.Status, Status: 503, Times: 20})
		w.ScriptRegion("api-weu", qrypttest.Fault{Kind: qrypttest.HTML, Times: 20})
		s := w.source(t, Config{})
		time.Sleep(2 * time.Hour)
		wantState(t, s, Seeded, "")
		wantLogs(t, w, 2, 1)
		st := s.Status()
		if a, b := st.Failures[NoSupply], st.Failures[Malformed]; max(a, b) != 20 || min(a, b) < 10 {
			t.Errorf("counted %v of %d requests", st.Failures, st.Requests)
		}
	})
}

// TestWaitSeededSaysWhy: its error wraps the failure.
func TestWaitSeededSaysWhy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newTestSource(t, Config{Blocks: &fakeBlocks{err: &qrypt.Error{Class: qrypt.ErrNoSupply}}}, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.WaitSeeded(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, qrypt.ErrNoSupply) {
			t.Errorf("WaitSeeded returned %v", err)
		}
	})
}

// TestDeadServiceIsNoticed within two reseeds, whatever is in stock.
func TestDeadServiceIsNoticed(t *testing.T) {
	for _, batch := range []int{1, 8, 512} {
		for died := range 8 { // minutes after the last answer
			bubble(t, func(t *testing.T) {
				blocks := &fakeBlocks{}
				s := newTestSource(t, Config{Blocks: blocks, BatchBlocks: batch}, 1)
				waitSeeded(t, s)
				for i := range died + 3 {
					if i == died {
						blocks.setErr(errors.New("dead"))
					}
					time.Sleep(time.Minute)
					mustRead(t, s, 1)
					synctest.Wait()
				}
				if st := s.Status(); st.State != Degraded {
					t.Errorf("batch %d: two reseeds after the service died: %v", batch, st)
				}
			})
		}
	}
}

// TestEmulatedBeforeItIsIn: no byte with an emulated block in it is read before
// Status says so.
func TestEmulatedBeforeItIsIn(t *testing.T) {
	var s *Source
	told := false
	extract := func(os *[keySize]byte, shard byte, block []byte) [keySize]byte {
		told = s.Status().Emulated
		return hmacExtract(os, shard, block)
	}
	made := make(chan struct{})
	s = newTestSource(t, Config{Blocks: blockFunc(func(context.Context, int) ([]qrypt.Block, error) {
		<-made
		block, err := qrypt.NewBlock(newTestBlock(1).Bytes(), qrypt.Origin{Endpoint: "fake", Emulated: true})
		return []qrypt.Block{block}, err
	}), BatchBlocks: 1}, 1, parts{extract: extract})
	close(made)
	waitSeeded(t, s)
	if !told {
		t.Error("the block was mixed in before it was said that it is emulated")
	}
}

// TestEmulatedIsLoggedOnce: emulated blocks are logged once, and each Status says so.
func TestEmulatedIsLoggedOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, qrypttest.Config{}, qrypt.DialectQuantumEntropy)
		s := w.source(t, Config{})
		for range 5 {
			if err := s.Reseed(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if got := w.logged.emulated.Load(); got != 1 || !s.Status().Emulated {
			t.Errorf("logged %d times, status: %v", got, s.Status())
		}
	})
}
