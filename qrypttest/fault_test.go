package qrypttest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/qrypttest"
)

// lists returns the lists of blocks of an answer, as text, and its size.
func lists(t *testing.T, r reply) (blocks []string, size int) {
	t.Helper()
	var answer struct {
		Random, Entropy []string
		Size            int
	}
	if err := json.Unmarshal(r.body, &answer); err != nil {
		t.Fatalf("%v in %.100q", err, r.body)
	}
	return append(answer.Random, answer.Entropy...), answer.Size
}

// Every kind that sends an answer, as a client of either call sees it. The
// request is for two blocks; an ordinary answer went before.
func TestKinds(t *testing.T) {
	s := newServer(t, qrypttest.Config{Rate: -1})
	type seen struct {
		reply
		open     bool
		ordinary [][]byte // of the answer before
	}
	ok := func(x seen) error {
		if x.status != 200 || x.err != nil || x.header.Get("Content-Type") != "application/json" {
			return fmt.Errorf("status %d, error %v, type %q", x.status, x.err, x.header.Get("Content-Type"))
		}
		return nil
	}
	page := func(x seen, status int) error {
		if x.status != status || !strings.HasPrefix(x.header.Get("Content-Type"), "text/html") || !bytes.Contains(x.body, []byte("<html>")) {
			return fmt.Errorf("status %d, type %q", x.status, x.header.Get("Content-Type"))
		}
		return nil
	}
	for _, test := range []struct {
		script string
		status int // recorded
		check  func(t *testing.T, x seen) error
	}{
		{"ok", 200, func(t *testing.T, x seen) error { x.blocks(t, 1024, 2); return nil }},
		{"418", 418, func(t *testing.T, x seen) error {
			if x.status != 418 || !json.Valid(x.body) {
				return errors.New("no error in JSON")
			}
			return nil
		}},
		{"204", 204, func(t *testing.T, x seen) error {
			if x.status != 204 || x.err != nil {
				return x.err
			}
			return nil
		}},
		{"503 retry-after=90s", 503, func(t *testing.T, x seen) error {
			if got := x.header.Get("Retry-After"); got != "90" || x.status != 503 {
				return fmt.Errorf("Retry-After %q", got)
			}
			return nil
		}},
		{"reset", 0, func(t *testing.T, x seen) error {
			if x.err == nil {
				return errors.New("no error")
			}
			return nil
		}},
		{"truncate", 200, func(t *testing.T, x seen) error {
			if json.Valid(x.body) || len(x.body) < 1000 {
				return errors.New("not truncated JSON")
			}
			return ok(x)
		}},
		{"short-body", 0, func(t *testing.T, x seen) error {
			if !errors.Is(x.err, io.ErrUnexpectedEOF) || x.status != 200 || len(x.body) < 1000 {
				return fmt.Errorf("%d bytes, %v", len(x.body), x.err)
			}
			return nil
		}},
		{"oversize", 200, func(t *testing.T, x seen) error {
			if len(x.body) < 32<<20 || !json.Valid(x.body) || x.header.Get("Content-Length") != "" {
				return fmt.Errorf("%d bytes", len(x.body))
			}
			return ok(x)
		}},
		{"bad-base64", 200, func(t *testing.T, x seen) error {
			blocks, _ := lists(t, x.reply)
			_, first := base64.StdEncoding.DecodeString(blocks[0])
			_, last := base64.StdEncoding.DecodeString(blocks[1])
			if len(blocks) != 2 || len(blocks[1]) != 1368 || first != nil || last == nil {
				return fmt.Errorf("%d blocks, %v, %v", len(blocks), first, last)
			}
			return ok(x)
		}},
		{"base64url", 200, func(t *testing.T, x seen) error {
			blocks, _ := lists(t, x.reply)
			for _, b := range blocks {
				if p, err := base64.URLEncoding.Strict().DecodeString(b); err != nil || len(p) != 1024 || !strings.ContainsAny(b, "-_") {
					return fmt.Errorf("%d bytes, %v", len(p), err)
				}
			}
			return ok(x)
		}},
		{"block-length", 200, func(t *testing.T, x seen) error {
			blocks, _ := lists(t, x.reply)
			p, err := base64.StdEncoding.DecodeString(blocks[1])
			if len(p) != 1023 || err != nil {
				return fmt.Errorf("%d bytes, %v", len(p), err)
			}
			return ok(x)
		}},
		{"wrong-count", 200, func(t *testing.T, x seen) error { x.blocks(t, 1024, 1); return nil }},
		{"wrong-size", 200, func(t *testing.T, x seen) error {
			blocks, size := lists(t, x.reply)
			if x.open && len(blocks) == 2 || !x.open && (len(blocks) != 2 || size == 2) {
				return fmt.Errorf("%d blocks, size %d", len(blocks), size)
			}
			return ok(x)
		}},
		{"repeat", 200, func(t *testing.T, x seen) error {
			if !slices.EqualFunc(x.blocks(t, 1024, 2), x.ordinary, bytes.Equal) {
				return errors.New("no repeats")
			}
			return nil
		}},
		{"stuck", 200, func(t *testing.T, x seen) error {
			for _, b := range x.blocks(t, 1024, 2) {
				if !bytes.Equal(b, bytes.Repeat(b[:1], 1024)) {
					return errors.New("two values")
				}
			}
			return nil
		}},
		{"biased", 200, func(t *testing.T, x seen) error {
			for _, b := range x.blocks(t, 1024, 2) {
				for i := 1; i < len(b); i++ {
					if b[i] == b[0] && b[i-1] == b[0] {
						return errors.New("a run")
					}
				}
				for window := range slices.Chunk(b, 512) {
					if got := bytes.Count(window, b[:1]); got != 64 {
						return fmt.Errorf("%d times in a window", got)
					}
				}
			}
			return nil
		}},
		{"redirect", 301, func(t *testing.T, x seen) error {
			if got := x.header.Get("Location"); got != qrypttest.RedirectPath {
				return fmt.Errorf("location %q", got)
			}
			return page(x, 301)
		}},
		{"html", 200, func(t *testing.T, x seen) error { return page(x, 200) }},
		{"wrong-type", 200, func(t *testing.T, x seen) error {
			if !strings.HasPrefix(x.header.Get("Content-Type"), "text/plain") {
				return errors.New("right type")
			}
			x.header.Set("Content-Type", "application/json")
			x.blocks(t, 1024, 2)
			return nil
		}},
		{"trailing", 200, func(t *testing.T, x seen) error {
			d := json.NewDecoder(bytes.NewReader(x.body))
			var v any
			if first, second := d.Decode(&v), d.Decode(&v); first != nil || second != nil {
				return fmt.Errorf("%v, %v", first, second)
			}
			return ok(x)
		}},
		{"duplicate-keys", 200, func(t *testing.T, x seen) error {
			name := `"random":[`
			if x.open {
				name = `"entropy":[`
			}
			if bytes.Count(x.body, []byte(name)) != 2 {
				return errors.New("no duplicate")
			}
			x.blocks(t, 1024, 2) // encoding/json takes the last
			return nil
		}},
		{"deep-nesting", 200, func(t *testing.T, x seen) error {
			n := strings.Repeat("[", 100_000)
			if !bytes.Contains(x.body, []byte(n)) {
				return errors.New("not deep")
			}
			return ok(x)
		}},
		{"empty", 200, func(t *testing.T, x seen) error {
			if len(x.body) > 0 {
				return errors.New("a body")
			}
			return ok(x)
		}},
		{"no-json", 200, func(t *testing.T, x seen) error {
			if json.Valid(x.body) || len(x.body) == 0 {
				return errors.New("JSON")
			}
			return ok(x)
		}},
	} {
		for _, dialect := range []string{"quantum", "open"} {
			t.Run(test.script+"/"+dialect, func(t *testing.T) {
				if testing.Short() && test.script == "oversize" {
					t.Skip("reads many MiB")
				}
				ask := func() reply {
					if dialect == "open" {
						return post(t, s.Client(), s.URL, s.Token(), 1024, 2)
					}
					return get(t, s.Client(), s.URL, s.Token(), 2)
				}
				x := seen{open: dialect == "open", ordinary: ask().blocks(t, 1024, 2)}
				issued := s.Issued()
				script := mustScript(t, test.script)
				s.Script(script...)
				x.reply = ask()
				if err := test.check(t, x); err != nil {
					t.Errorf("%v; body %.60q", err, x.body)
				}
				all := s.Requests()
				if r := all[len(all)-1]; r.Status != test.status || r.Fault != script[0] {
					t.Errorf("recorded status %d, fault %v; want %d, %v", r.Status, r.Fault, test.status, script[0])
				}
				if got := s.Issued() - issued; (got != 0) != (test.script == "ok") {
					t.Errorf("%d blocks issued", got)
				}
				if s.Pending() != 0 {
					t.Errorf("pending %d", s.Pending())
				}
			})
		}
	}
}

func TestSmallBlocks(t *testing.T) {
	s := newServer(t, qrypttest.Config{Rate: -1})
	decode := func(e *base64.Encoding, r reply) (lengths []int) {
		blocks, _ := lists(t, r)
		for _, b := range blocks {
			p, err := e.Strict().DecodeString(b)
			if err != nil {
				return nil
			}
			lengths = append(lengths, len(p))
		}
		return lengths
	}
	for _, test := range []struct {
		script string
		enc    *base64.Encoding
		want   []int
	}{
		{"base64url", base64.URLEncoding, []int{1}},
		{"bad-base64", base64.StdEncoding, nil},
		{"block-length", base64.StdEncoding, []int{0}},
		{"wrong-count", base64.StdEncoding, []int{1, 1}},
		{"stuck", base64.StdEncoding, []int{1}},
		{"biased", base64.StdEncoding, []int{1}},
		{"repeat", base64.StdEncoding, []int{1}},
	} {
		s.Script(mustScript(t, test.script)...)
		r := post(t, s.Client(), s.URL, s.Token(), 1, 1)
		if got := decode(test.enc, r); !slices.Equal(got, test.want) {
			t.Errorf("%s: lengths %v, want %v", test.script, got, test.want)
		}
		if test.script == "base64url" && !bytes.Contains(r.body, []byte("-")) {
			t.Errorf("%s: right in both alphabets: %s", test.script, r.body)
		}
	}
}

func TestWrongCountBounds(t *testing.T) {
	s := newServer(t, qrypttest.Config{Rate: -1})
	s.Script(mustScript(t, "wrong-count x*")...)
	for asked, want := range map[int]int{1: 2, 2: 1, 511: 512, 512: 511} {
		get(t, s.Client(), s.URL, s.Token(), asked).blocks(t, 1024, want)
	}
}

func TestRepeat(t *testing.T) {
	s := newServer(t, qrypttest.Config{Rate: -1})
	s.Script(mustScript(t, "repeat x2; ok; truncate; repeat x3")...)
	ask := func(n int) [][]byte { return get(t, s.Client(), s.URL, s.Token(), n).blocks(t, 1024, n) }
	first, second := ask(2), ask(1)
	if !bytes.Equal(first[0], first[1]) || !bytes.Equal(first[0], second[0]) {
		t.Error("without an ordinary answer: no repeats")
	}
	ordinary := ask(2)
	get(t, s.Client(), s.URL, s.Token(), 2)
	again := ask(5)
	for i := range again {
		if !bytes.Equal(again[i], ordinary[i%2]) {
			t.Errorf("block %d is not a repeat", i)
		}
	}
	if bytes.Equal(ordinary[0], first[0]) {
		t.Error("an ordinary answer repeats")
	}
	small := func() []byte { return post(t, s.Client(), s.URL, s.Token(), 16, 1).blocks(t, 16, 1)[0] }
	if !bytes.Equal(small(), small()) {
		t.Error("at another size: no repeats")
	}
}

// The bomb is one well-formed gzip stream: reading to its end checks its sum.
func TestGzipBomb(t *testing.T) {
	if testing.Short() {
		t.Skip("expands a gibibyte")
	}
	s := newServer(t, qrypttest.Config{})
	s.Script(mustScript(t, "gzip-bomb x2")...)
	resp, err := s.Client().Do(request(t, "GET", s.URL+quantum, s.Token(), ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if !resp.Uncompressed {
		t.Error("not compressed")
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if n <= 1<<30 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}

	req := request(t, "GET", s.URL+quantum, s.Token(), "")
	req.Header.Set("Accept-Encoding", "gzip") // the transport leaves it to us then
	if r := do(t, s.Client(), req); len(r.body) > 2<<20 || r.header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%d bytes of %q on the wire", len(r.body), r.header.Get("Content-Encoding"))
	}
}

func TestRedirectIsRecorded(t *testing.T) {
	s := newServer(t, qrypttest.Config{})
	s.Script(mustScript(t, "redirect; hang")...)
	resp, err := s.Client().Do(request(t, "GET", s.URL+quantum, s.Token(), ""))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	all := s.Requests()
	if len(all) != 2 || all[1].Path != qrypttest.RedirectPath || all[1].Status != 404 || all[1].Token != 0 {
		t.Errorf("recorded %+v", all)
	}
	if s.Pending() != 1 {
		t.Error("another path took a fault")
	}
}

// A fault that spoils an answer needs one.
func TestFaultsAndRefusals(t *testing.T) {
	s := newServer(t, qrypttest.Config{Rate: -1})
	s.Script(mustScript(t, "503; truncate; drip")...)
	for i, want := range []int{503, 401, 400} {
		token, n := "wrong", 1
		if want == 400 {
			token, n = s.Token(), 0
		}
		if got := get(t, s.Client(), s.URL, token, n).status; got != want {
			t.Errorf("request %d: status %d, want %d", i, got, want)
		}
	}
}

func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newServer(t, qrypttest.Config{InMemory: true})
		c := e.Client()
		e.Script(mustScript(t, "hang")...)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		r := do(t, c, request(t, "GET", e.URL+quantum, e.Token(), "").WithContext(ctx))
		if !errors.Is(r.err, context.DeadlineExceeded) || time.Since(start) != time.Hour {
			t.Errorf("after %v: status %d, %v", time.Since(start), r.status, r.err)
		}
		if r := e.Requests()[0]; r.Status != 0 || r.Fault.Kind != qrypttest.Hang {
			t.Errorf("recorded %+v", r)
		}
	})
}

func TestHangEndsWithEmulator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newServer(t, qrypttest.Config{InMemory: true})
		c := e.Client()
		e.Script(mustScript(t, "hang; ok latency=1h")...)
		time.AfterFunc(time.Minute, e.Close)
		for range 2 {
			start := time.Now()
			if r := get(t, c, e.URL, e.Token(), 1); r.err == nil || time.Since(start) > time.Minute {
				t.Errorf("after %v: status %d, %v", time.Since(start), r.status, r.err)
			}
		}
	})
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newServer(t, qrypttest.Config{InMemory: true})
		c := e.Client()
		e.Script(mustScript(t, "ok latency=3s; 503 latency=4s")...)
		for _, want := range []time.Duration{3 * time.Second, 4 * time.Second, 0} {
			start := time.Now()
			get(t, c, e.URL, e.Token(), 1)
			if got := time.Since(start); got != want {
				t.Errorf("%v, want %v", got, want)
			}
		}
	})
}

func TestRetryAfterDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newServer(t, qrypttest.Config{InMemory: true})
		c := e.Client()
		for offset, want := range map[time.Duration]time.Duration{0: 30 * time.Second, time.Millisecond: 31*time.Second - time.Millisecond} {
			time.Sleep(time.Until(time.Now().Add(time.Second).Truncate(time.Second).Add(offset)))
			e.Script(mustScript(t, "429 retry-after-date=30s")...)
			header := get(t, c, e.URL, e.Token(), 1).header.Get("Retry-After")
			at, err := http.ParseTime(header)
			if got := time.Until(at); err != nil || got != want {
				t.Errorf("%q is in %v, want %v; %v", header, got, want, err)
			}
		}
	})
}

// However short the answer, it takes more than a minute; but it is right.
func TestDrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newServer(t, qrypttest.Config{InMemory: true})
		c := e.Client()
		e.Script(mustScript(t, "drip x*")...)
		for _, size := range []int{1, 1024} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			req := request(t, "POST", e.URL+open, e.Token(), fmt.Sprintf(`{"block_size":%d}`, size))
			r := do(t, c, req.WithContext(ctx))
			if r.status != 200 || !errors.Is(r.err, context.DeadlineExceeded) || len(r.body) == 0 {
				t.Errorf("%d bytes, %v after a minute", len(r.body), r.err)
			}
			start := time.Now()
			post(t, c, e.URL, e.Token(), size, 1).blocks(t, size, 1)
			if got := time.Since(start); got < 2*time.Minute {
				t.Errorf("took %v", got)
			}
		}
		// The first handler notices at its next byte that its client is gone.
		synctest.Wait()
		var statuses []int
		for _, r := range e.Requests() {
			statuses = append(statuses, r.Status)
		}
		if want := []int{0, 200, 0, 200}; !slices.Equal(statuses, want) {
			t.Errorf("recorded %v, want %v", statuses, want)
		}
	})
}
