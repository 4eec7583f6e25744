package qrand

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/built"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// Random generators have failed before. Each test here does to a Source what ruined another
// generator, and says where to read about that. SECURITY.md has the table, also with those
// that tests in other files cover.

// TestDisastersTable: all tests that the table of SECURITY.md names exist, and it names all
// of those here.
func TestDisastersTable(t *testing.T) {
	text, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "\n## Disasters")
	if !ok {
		t.Fatal("SECURITY.md has no such section")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	there := map[string]bool{}
	for _, dir := range []string{".", "qrypt", "internal/health"} {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(source, -1) {
				there[string(found[1])] = true
			}
		}
	}
	named := map[string]bool{}
	for _, name := range regexp.MustCompile(`\bTest\w+`).FindAllString(table, -1) {
		named[name] = true
		if !there[name] {
			t.Errorf("the table names %s, which there is not", name)
		}
	}
	for name := range there {
		if strings.HasPrefix(name, "TestDisaster") && name != "TestDisastersTable" && !named[name] {
			t.Errorf("the table does not name %s", name)
		}
	}
}

// TestDisasterPageAsSeed: Blockchain.info's wallet for Android (2015) took what
// random.org's server answered for its seed, without a look at the status. When
// the server began to redirect to HTTPS, that was the page of a 301, and many
// wallets had one key (Ars Technica, 29 May 2015).
func TestDisasterPageAsSeed(t *testing.T) {
	for _, dialect := range []qrypt.Dialect{qrypt.DialectQuantumEntropy, qrypt.DialectOpenAPI} {
		for script, reason := range map[string]Reason{"redirect x*": Redirected, "302 x*": Redirected, "html x*": Malformed} {
			for _, mix := range mixes {
				bubble(t, func(t *testing.T) {
					os := newTape()
					mixed := 0
					extract := func(os *[32]byte, shard byte, block []byte) [32]byte {
						mixed++
						return hmacExtract(os, shard, block)
					}
					w := newWorld(t, qrypttest.Config{}, dialect)
					faults, err := qrypttest.ParseScript(script)
					if err != nil {
						t.Fatal(err)
					}
					w.Script(faults...)
					s := w.source(t, Config{Mix: mix}, longWaits, parts{os: os, extract: extract})
					synctest.Wait()
					model := newModelSource(t, mix, os)
					time.Sleep(30 * time.Second) // and a dozen pages
					if got, want := mustRead(t, s, 5000), model.read(5000); !bytes.Equal(got, want) {
						t.Errorf("%v, %q: there is more in the output than crypto/rand", mix, script)
					}
					if st := s.Status(); mixed != 0 || st.Blocks != 0 || st.Requests < 10 {
						t.Errorf("%v, %q: %d of %d pages were mixed in", mix, script, mixed, st.Requests)
					}
					wantState(t, s, Degraded, reason)
					wantLogs(t, w, 1, 0)
				})
			}
		}
	}
}

var answersMade atomic.Int32

// answers returns the real client on a service in memory that gives these blocks, as many
// as it asks for. Each client has its own token, because package qrypt counts the requests
// of a token across bubbles, whose clocks all begin at the same instant.
func answers(t *testing.T, block func() []byte) *qrypt.Client {
	t.Helper()
	client, err := qrypt.New(qrypt.Config{
		Endpoints: []string{"https://service.invalid"},
		Token:     qrypt.StaticToken(fmt.Sprint(testToken, answersMade.Add(1))),
		HTTPClient: &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			n, err := strconv.Atoi(req.URL.Query().Get("size"))
			if err != nil {
				return nil, err
			}
			var random []string
			for range n {
				random = append(random, base64.StdEncoding.EncodeToString(block()))
			}
			body, err := json.Marshal(map[string]any{"random": random, "size": n})
			return &http.Response{
				StatusCode: http.StatusOK, Request: req,
				Header: http.Header{"Content-Type": {"application/json"}},
				Body:   io.NopCloser(bytes.NewReader(body)),
			}, err
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestDisasterStuckSource: after a suspend, AMD's RDRAND gave only ones, and reported
// success (systemd issue 11810, 2019). Blocks that repeat a word, whatever it is, are
// refused, through the real client.
func TestDisasterStuckSource(t *testing.T) {
	noise := func(seed byte, n int) []byte {
		p := make([]byte, n)
		mathrand.NewChaCha8([32]byte{seed}).Read(p)
		return p
	}
	word := func(w []byte) func() []byte {
		return func() []byte { return bytes.Repeat(w, qrypt.BlockSize/len(w)+1)[:qrypt.BlockSize] }
	}
	for name, tc := range map[string]struct {
		block  func() []byte
		reason Reason
	}{
		"all ones":                           {word([]byte{0xff}), Unhealthy},
		"all zeros":                          {word([]byte{0}), Unhealthy},
		"a word of 2 bytes":                  {word(noise(1, 2)), Unhealthy},
		"a word of 4 bytes":                  {word(noise(2, 4)), Unhealthy},
		"a word of 8 bytes":                  {word(noise(3, 8)), Unhealthy},
		"a word of 28 bytes":                 {word(noise(4, 28)), Unhealthy}, // of 29 it would pass: see SECURITY.md
		"8 bytes of ones in good ones":       {func() []byte { return append(bytes.Repeat([]byte{0xff}, 8), noise(5, 1016)...) }, Unhealthy},
		"stuck from the middle on":           {func() []byte { return append(noise(6, 512), make([]byte, 512)...) }, Unhealthy},
		"a good block, over and over":        {func() []byte { return noise(7, 1024) }, Repeated},
		"a block of 1,023 bytes":             {func() []byte { return noise(8, 1023) }, Malformed},
		"blocks of no bytes":                 {func() []byte { return nil }, Malformed},
		"good ones except for the last byte": {func() []byte { return append(noise(9, 1018), 1, 1, 1, 1, 1, 1) }, Unhealthy},
	} {
		for policy := Augment; policy <= RequireFresh; policy++ {
			bubble(t, func(t *testing.T) {
				s := newTestSource(t, Config{Blocks: answers(t, tc.block), Policy: policy}, 2, longWaits)
				time.Sleep(10 * time.Second)
				if tc.reason == Repeated && policy == RequireFresh { // it asks for one block, and the first is no repetition
					if err := s.Reseed(t.Context()); !errors.Is(err, ErrRepeated) {
						t.Errorf("%s: Reseed returned %v", name, err)
					}
					wantState(t, s, Degraded, tc.reason)
					if st := s.Status(); st.Blocks != 1 {
						t.Errorf("%s: %v", name, st)
					}
					return
				}
				wantState(t, s, Degraded, tc.reason)
				if st := s.Status(); st.Blocks != 0 || st.Stock != 0 || st.Requests == 0 {
					t.Errorf("%s: %v", name, st)
				}
				if policy != Augment {
					wantRefused(t, s, ErrNotSeeded)
				} else if allZero(mustRead(t, s, 32)) {
					t.Errorf("%s: zeros are read", name)
				}
			})
		}
	}
}

// shortOS stands for crypto/rand. It gives less than it is asked for, and then nothing.
type shortOS struct {
	rand *mathrand.ChaCha8
	most int // bytes at a time
	left int // bytes until it fails
}

func (o *shortOS) Read(p []byte) (int, error) {
	p = p[:min(len(p), o.most, o.left)]
	o.rand.Read(p)
	o.left -= len(p)
	if o.left == 0 {
		return len(p), errors.New("no entropy device")
	}
	return len(p), nil
}

// TestDisasterShortFill: Node.js 15.0.0 returned zeros in buffers that it should have filled
// (nodejs/node issue 35722, 2020). Other programs take a short read for a full one. If
// crypto/rand gives little at a time, the output is the same as if it gave all at once. If
// it fails in the middle of a Read, the Read panics, and is not counted.
func TestDisasterShortFill(t *testing.T) {
	none := &fakeBlocks{err: errors.New("none")}
	for _, mix := range mixes {
		var want []byte
		for _, most := range []int{1 << 30, 33, 31, 8, 1} {
			s := newTestSource(t, Config{Blocks: none, Mix: mix}, 1, parts{os: &shortOS{mathrand.NewChaCha8([32]byte{'n'}), most, 1 << 30}})
			waitFailed(t, s)
			var got []byte
			for _, n := range readSizes {
				got = append(got, mustRead(t, s, n)...)
			}
			s.Close()
			if want == nil {
				want = got
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%v: with %d bytes at a time the output is another", mix, most)
			}
		}
		for _, left := range []int{1, 20, 31} {
			broken := &shortOS{mathrand.NewChaCha8([32]byte{'n'}), 7, 1 << 30}
			s := newTestSource(t, Config{Blocks: none, Mix: mix}, 1, parts{os: broken})
			waitFailed(t, s)
			broken.left = left
			func() {
				defer func() {
					if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "no entropy device") {
						t.Errorf("%v: %d bytes before crypto/rand fails, Read panicked with %v", mix, left, r)
					}
				}()
				s.Read(make([]byte, 32))
			}()
			broken.left = 1 << 30
			if st := s.Status(); st.Bytes != 0 || st.Reads != 0 {
				t.Errorf("%v: %d bytes in %d reads are counted", mix, st.Bytes, st.Reads)
			}
			s.Close()
		}
	}
}

// TestDisasterOutputBeforeSeed: FreeBSD's arc4random gave output for up to five minutes
// before it was seeded (FreeBSD-SA-08:11). Android's SecureRandom was not seeded when
// Bitcoin payments were signed with it (2013). The first ticket key of GnuTLS was zeros
// until it was rotated (CVE-2020-13777). Before the first block a Source gives nothing
// under two of its policies. Under Augment its output depends on each bit of crypto/rand
// and on nothing else, and the Status counts it.
func TestDisasterOutputBeforeSeed(t *testing.T) {
	for _, mix := range mixes {
		first := func(t *testing.T, flip, n int) []byte { // of a Source made from such bytes of crypto/rand
			s := newTestSource(t, Config{Blocks: &fakeBlocks{err: errors.New("none")}, Mix: mix}, 1, parts{os: &flippedOS{tape: newTape(), flip: flip}})
			synctest.Wait()
			p := mustRead(t, s, n)
			if st := s.Status(); st.BytesBeforeBlock != int64(n) || st.ReadsBeforeBlock != 1 {
				t.Errorf("%v: counted before the first block: %v", mix, st)
			}
			s.Close()
			return p
		}
		bubble(t, func(t *testing.T) {
			seen := map[string]int{}
			for flip := range 256 { // the key of New
				p := string(first(t, flip, 8))
				if other, ok := seen[p]; ok {
					t.Errorf("%v: bits %d and %d make no difference", mix, flip, other)
				}
				seen[p] = flip
			}
			before := first(t, -1, 5000)
			time.Sleep(time.Hour)
			if !bytes.Equal(before, first(t, -1, 5000)) {
				t.Errorf("%v: the output depends on more than crypto/rand", mix)
			}
		})
	}
	for policy := RequireInitial; policy <= RequireFresh; policy++ {
		bubble(t, func(t *testing.T) {
			blocks := &fakeBlocks{err: errors.New("none")}
			s := newTestSource(t, Config{Blocks: blocks, Policy: policy}, 2)
			for range 10 {
				wantRefused(t, s, ErrNotSeeded)
				time.Sleep(30 * time.Second)
			}
			blocks.setErr(nil)
			if err := s.Reseed(t.Context()); err != nil {
				t.Fatal(err)
			}
			mustRead(t, s, 32)
			if st := s.Status(); st.BytesBeforeBlock != 0 || st.Bytes != 32 {
				t.Errorf("%v: %v", policy, st)
			}
		})
	}
}

// flippedOS is a tape with one bit of its first read, the key of New, flipped. If flip is
// negative, none is.
type flippedOS struct {
	*tape
	flip int
}

func (o *flippedOS) Read(p []byte) (int, error) {
	n, err := o.tape.Read(p)
	if o.flip >= 0 {
		p[o.flip/8] ^= 1 << (o.flip % 8)
		o.flip = -1
	}
	return n, err
}

// TestDisasterTimeSeed: Netscape's browser seeded itself from the time and two process
// numbers (Goldberg and Wagner, 1996), Libbitcoin's bx from 32 bits of a clock
// (CVE-2023-39910, "Milk Sad"). Sources made in one process at one instant (in a bubble, to
// the nanosecond) share no key and no output.
func TestDisasterTimeSeed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		begin := time.Now()
		none := &fakeBlocks{err: errors.New("none")}
		seen := map[[32]byte]int{}
		for i := range 1000 {
			s := newTestSource(t, Config{Blocks: none, Mix: mixes[i%len(mixes)]}, 2)
			for _, p := range [][32]byte{firstKey(s, 0), firstKey(s, 1), [32]byte(mustRead(t, s, 32))} {
				if other, ok := seen[p]; ok {
					t.Errorf("Sources %d and %d begin alike", i, other)
				}
				seen[p] = i
			}
			s.Close()
		}
		if time.Since(begin) != 0 {
			t.Error("time has passed")
		}
	})
}

// firstKey returns the key of generator i.
func firstKey(s *Source, i int) [32]byte {
	s.shards[i].mu.Lock()
	defer s.shards[i].mu.Unlock()
	return s.shards[i].gen.Load().key
}

// startedEnv is set in the processes that TestDisasterStartedAtOnce starts.
const startedEnv = "QRAND_STARTED_AT_ONCE"

// TestDisasterStartedAtOnce: after Debian's change to OpenSSL, seeds differed only by the
// process number (CVE-2008-0166). Routers that booted alike made the same keys ("Mining Your
// Ps and Qs", USENIX Security 2012). In OpenSSL 1.1.1 processes shared their state
// (CVE-2019-1549). Of a thousand processes that get the same blocks, no two have a key in
// common, or the first bytes of a mode. With the same bytes of crypto/rand, too, all begin
// alike: so they differ because of crypto/rand, and not because of a process number.
func TestDisasterStartedAtOnce(t *testing.T) {
	if os.Getenv(startedEnv) != "" {
		for _, mix := range mixes {
			for _, blocks := range []*fakeBlocks{{}, {err: errors.New("none")}} {
				s := newTestSource(t, Config{Blocks: blocks, Mix: mix}, 1)
				if blocks.err == nil {
					waitSeeded(t, s)
				}
				key := firstKey(s, 0)
				fmt.Printf("own: %x\nown: %x\n", sha256.Sum256(key[:]), mustRead(t, s, 32))
			}
		}
		os := repeatOS(testKey(14))
		for _, mix := range mixes {
			s := newTestSource(t, Config{Blocks: &fakeBlocks{}, Mix: mix, BatchBlocks: 1}, 1, parts{os: &os})
			waitSeeded(t, s)
			fmt.Printf("same: %x\n", mustRead(t, s, 32))
		}
		return
	}
	const together = 25
	processes := 1000
	if built.Race {
		processes = 100 // each takes long to start, and the detector looks at one process only
		t.Logf("%d processes, with the race detector", processes)
	}
	outputs := make([]string, processes)
	var wg sync.WaitGroup
	tickets := make(chan struct{}, together)
	for i := range outputs {
		tickets <- struct{}{}
		wg.Go(func() {
			defer func() { <-tickets }()
			cmd := exec.Command(os.Args[0], "-test.run=^TestDisasterStartedAtOnce$", "-test.timeout=60s")
			cmd.Env = append(os.Environ(), startedEnv+"=1")
			out, err := cmd.Output() // not shown: it is what keys are made of
			if err != nil {
				t.Errorf("process %d: %v", i, err)
			}
			outputs[i] = string(out)
		})
	}
	wg.Wait()
	own := map[string]int{}
	same := map[string]int{}
	for i, output := range outputs {
		for line := range strings.Lines(output) {
			if p, ok := strings.CutPrefix(line, "own: "); ok {
				if other, ok := own[p]; ok {
					t.Errorf("processes %d and %d have 32 bytes in common", i, other)
				}
				own[p] = i
			}
			if p, ok := strings.CutPrefix(line, "same: "); ok {
				same[p]++
			}
		}
	}
	if len(own) != 4*len(mixes)*processes {
		t.Errorf("%d keys and outputs, want 12 of each of %d processes", len(own), processes)
	}
	for _, n := range same { // of MixRekey and MixRefill the first bytes are the same
		if n%processes != 0 || len(same) > len(mixes) {
			t.Errorf("with the same bytes of crypto/rand, %d processes begin in %d ways", processes, len(same))
		}
	}
	if len(same) == 0 {
		t.Error("no process told")
	}
}

// TestDisasterLoggerCallsBack: Rust's thread-local generator logged during a reseed. A
// logger that then drew from it had a second mutable reference to it (RUSTSEC-2026-0097).
// A Source holds no lock while it calls OnEvent, its Logger or its BlockSource. In these,
// Read and Status work, and Reseed ends with its context. Close, from another goroutine,
// ends when they return.
func TestDisasterLoggerCallsBack(t *testing.T) {
	for _, mix := range mixes {
		bubble(t, func(t *testing.T) {
			var s *Source
			var closing, closed atomic.Bool
			ready := make(chan struct{})
			var mu sync.Mutex
			told := map[string]int{}
			use := func(what string) {
				<-ready
				for _, lock := range []*sync.Mutex{&s.mu, &s.shards[0].mu, &s.shards[1].mu} {
					if !lock.TryLock() {
						t.Errorf("%v: a lock is held at %s", mix, what)
						return // before it hangs
					}
					lock.Unlock()
				}
				for _, n := range []int{1, 5000, pieceSize + 1} {
					mustRead(t, s, n)
				}
				_ = s.Status()
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				if err := s.Reseed(ctx); !errors.Is(err, context.DeadlineExceeded) && err != ErrClosed {
					t.Errorf("%v: Reseed at %s returned %v", mix, what, err)
				}
				if what == "RequestFailed Degraded" && closing.Load() && !closed.Swap(true) {
					go s.Close()
				}
				mu.Lock()
				defer mu.Unlock()
				told[what]++
			}
			fault := true
			source := blockFunc(func(_ context.Context, n int) ([]qrypt.Block, error) {
				<-ready
				mustRead(t, s, 5000) // as TLS does with rand.Reader set to a Source
				_ = s.Status()
				if fault = !fault; fault || closing.Load() {
					return nil, &qrypt.Error{Class: qrypt.ErrNoSupply}
				}
				block := newTestBlock(uint64(time.Now().UnixMilli()))
				emulated, err := qrypt.NewBlock(block.Bytes(), qrypt.Origin{Emulated: true})
				return []qrypt.Block{emulated}, err
			})
			s = newTestSource(t, Config{
				Blocks: source, Mix: mix, BatchBlocks: 1,
				OnEvent: func(e Event) { use(e.Kind.String() + " " + e.State.String()) },
				Logger:  slog.New(calledBack(func(r slog.Record) { use(strings.Join(strings.Fields(r.Message)[:2], " ")) })),
			}, 2)
			close(ready)
			waitSeeded(t, s)
			time.Sleep(time.Hour) // an outage after each block, a block after each outage
			closing.Store(true)
			time.Sleep(time.Hour)
			s.Close() // once more, or the test has failed
			if !closed.Load() {
				t.Errorf("%v: it was not closed in a callback", mix)
			}
			for _, what := range []string{
				"BlockMixed Seeded", "StateChanged Seeded", "StateChanged Degraded", "RequestFailed Degraded", "StateChanged Closed",
				"qrand: the", "qrand: degraded:", "qrand: recovered:",
			} {
				if told[what] == 0 {
					t.Errorf("%v: nothing was told of %q, but of %v", mix, what, told)
				}
			}
			if st := s.Status(); st.State != Closed {
				t.Errorf("%v: %v", mix, st)
			}
		})
	}
}

// calledBack is a slog.Handler.
type calledBack func(slog.Record)

func (f calledBack) Enabled(context.Context, slog.Level) bool { return true }
func (f calledBack) WithAttrs([]slog.Attr) slog.Handler       { return f }
func (f calledBack) WithGroup(string) slog.Handler            { return f }
func (f calledBack) Handle(_ context.Context, r slog.Record) error {
	f(r)
	return nil
}
