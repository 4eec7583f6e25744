package qrypttest_test

import (
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/qrypttest"
)

// step is a request at a time since the start; retry is the Retry-After wanted.
type step struct {
	at     time.Duration
	status int
	retry  string
}

// runSteps makes the requests of one token, and checks what is answered.
func runSteps(t *testing.T, cfg qrypttest.Config, steps []step) {
	synctest.Test(t, func(t *testing.T) {
		cfg.InMemory = true
		e := newServer(t, cfg)
		c := e.Client()
		start := time.Now()
		for _, step := range steps {
			time.Sleep(time.Until(start.Add(step.at)))
			r := get(t, c, e.URL, e.Token(), 1)
			if got := r.header.Get("Retry-After"); r.status != step.status || got != step.retry {
				t.Errorf("at %v: status %d, Retry-After %q; want %d, %q", step.at, r.status, got, step.status, step.retry)
			}
		}
		for i, r := range e.Requests() {
			if got := r.Time.Sub(start); got != steps[i].at {
				t.Errorf("request %d recorded at %v, want %v", i, got, steps[i].at)
			}
		}
	})
}

func TestRateWindow(t *testing.T) {
	const s = time.Second
	for _, test := range []struct {
		name  string
		cfg   qrypttest.Config
		steps []step
	}{
		{"frees at the window's end", qrypttest.Config{Rate: 2}, []step{
			{0, 200, ""}, {0, 200, ""}, {10 * s, 200, ""}, {10 * s, 200, ""}}},
		{"not a nanosecond before", qrypttest.Config{Rate: 2}, []step{
			{0, 200, ""}, {0, 200, ""}, {10*s - 1, 429, "1"}}},
		{"slides", qrypttest.Config{Rate: 2}, []step{
			{0, 200, ""}, {6 * s, 200, ""}, {10 * s, 200, ""}, {12 * s, 429, "8"}, {20 * s, 200, ""}}},
		{"rounds up", qrypttest.Config{Rate: 1}, []step{
			{0, 200, ""}, {500 * time.Millisecond, 429, "10"}, {10*s + 500*time.Millisecond, 200, ""}}},
		{"refused ones count", qrypttest.Config{Rate: 2}, []step{
			{0, 200, ""}, {0, 200, ""}, {5 * s, 429, "5"}, {9 * s, 429, "6"}, {10 * s, 429, "9"}, {19 * s, 200, ""}}},
		{"own window", qrypttest.Config{Rate: 1, Window: s}, []step{
			{0, 200, ""}, {s / 2, 429, "1"}, {s + s/2, 200, ""}}},
		{"one a second is fine", qrypttest.Config{Rate: 1, Window: s}, []step{
			{0, 200, ""}, {s, 200, ""}, {2 * s, 200, ""}, {3 * s, 200, ""}}},
	} {
		t.Run(test.name, func(t *testing.T) { runSteps(t, test.cfg, test.steps) })
	}
}

// The same requests, whichever way they are counted. The clock of a bubble starts
// at a multiple of ten seconds.
func TestRateCounting(t *testing.T) {
	const s = time.Second
	fixed := []step{{4 * s, 200, ""}, {8 * s, 200, ""}, {10*s - 1, 429, "1"}, {10 * s, 200, ""},
		{12 * s, 200, ""}, {14 * s, 429, "6"}, {18 * s, 429, "2"}, {24 * s, 200, ""}}
	for _, test := range []struct {
		name  string
		cfg   qrypttest.Config
		steps []step
	}{
		{"sliding", qrypttest.Config{Rate: 2}, []step{
			{4 * s, 200, ""}, {8 * s, 200, ""}, {10*s - 1, 429, "9"}, {10 * s, 429, "10"},
			{12 * s, 429, "8"}, {14 * s, 429, "8"}, {18 * s, 429, "6"}, {24 * s, 200, ""}}},
		{"sliding, free refusals", qrypttest.Config{Rate: 2, FreeRefusals: true}, []step{
			{4 * s, 200, ""}, {8 * s, 200, ""}, {10*s - 1, 429, "5"}, {10 * s, 429, "4"},
			{12 * s, 429, "2"}, {14 * s, 200, ""}, {18 * s, 200, ""}, {24 * s, 200, ""}}},
		{"fixed", qrypttest.Config{Rate: 2, FixedWindow: true}, fixed},
		{"fixed, free refusals", qrypttest.Config{Rate: 2, FixedWindow: true, FreeRefusals: true}, fixed},
	} {
		t.Run(test.name, func(t *testing.T) { runSteps(t, test.cfg, test.steps) })
	}
}

// The Retry-After of a 429 is that of the limit, or is missing with NoRetryAfter. A fault
// with the status 429 has its own.
func TestRateRetryAfter(t *testing.T) {
	for _, test := range []struct {
		without bool
		script  string
		status  int
		retry   string
	}{
		{false, "ok", 429, "10"},
		{false, "ok retry-after=77s", 429, "10"},
		{false, "429 retry-after=77s", 429, "77"},
		{false, "429", 429, ""},
		{true, "ok", 429, ""},
		{true, "ok retry-after=77s", 429, ""},
		{true, "429 retry-after=77s", 429, "77"},
		{true, "503 retry-after=77s", 503, "77"},
	} {
		t.Run(fmt.Sprintf("without=%t,%s", test.without, test.script), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newServer(t, qrypttest.Config{InMemory: true, Rate: 1, NoRetryAfter: test.without})
				c := e.Client()
				get(t, c, e.URL, e.Token(), 1).blocks(t, 1024, 1)
				e.Script(mustScript(t, test.script)...)
				r := get(t, c, e.URL, e.Token(), 1)
				if got := r.header.Values("Retry-After"); r.status != test.status || strings.Join(got, ",") != test.retry {
					t.Errorf("status %d, Retry-After %q; want %d, %q", r.status, got, test.status, test.retry)
				}
			})
		})
	}
}

// arrival is a request in the life of a token.
type arrival struct {
	at    time.Time
	letIn bool
}

// admits is the rate limit as Config describes it, slow and obvious: it looks at all earlier
// requests.
func admits(cfg qrypttest.Config, before []arrival, now time.Time) bool {
	n := 0
	for _, a := range before {
		inside := now.Sub(a.at) < cfg.Window
		if cfg.FixedWindow {
			inside = a.at.Truncate(cfg.Window).Equal(now.Truncate(cfg.Window))
		}
		if inside && (a.letIn || !cfg.FreeRefusals) {
			n++
		}
	}
	return n < cfg.Rate
}

// TestRateModel compares random requests with admits, and Retry-After with the first whole
// second at which admits admits a request.
func TestRateModel(t *testing.T) {
	for _, cfg := range []qrypttest.Config{
		{},
		{FreeRefusals: true},
		{FixedWindow: true},
		{FixedWindow: true, FreeRefusals: true},
	} {
		cfg.Rate, cfg.Window = 3, 7*time.Second
		t.Run(fmt.Sprintf("fixed=%t,free=%t", cfg.FixedWindow, cfg.FreeRefusals), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := qrypttest.New(cfg)
				handler := e.Handler("api-eus")
				random := rand.New(rand.NewPCG(1, 2))
				var life []arrival
				var letIn []time.Time
				for range 600 {
					// Half seconds meet the ends of windows; nanoseconds just miss them.
					gap := time.Duration(random.IntN(12)) * time.Second / 2
					if random.IntN(4) == 0 {
						gap += time.Duration(random.IntN(3))
					}
					time.Sleep(gap)
					now := time.Now()
					admitted := admits(cfg, life, now)
					life = append(life, arrival{now, admitted})
					want, retry := 200, ""
					if admitted {
						letIn = append(letIn, now)
					} else {
						wait := 1
						for !admits(cfg, life, now.Add(time.Duration(wait)*time.Second)) {
							wait++
						}
						want, retry = 429, strconv.Itoa(wait)
					}

					w := httptest.NewRecorder()
					handler.ServeHTTP(w, request(t, "GET", quantum, e.Token(), ""))
					if got := w.Header().Get("Retry-After"); w.Code != want || got != retry {
						t.Fatalf("request %d at %v: status %d, Retry-After %q; want %d, %q", len(life), now, w.Code, got, want, retry)
					}
				}
				if refused := len(life) - len(letIn); refused < 50 || len(letIn) < 50 {
					t.Errorf("%d let in, %d refused: this tests too little of one", len(letIn), refused)
				}
				for i := range letIn[:len(letIn)-cfg.Rate] {
					first, next := letIn[i], letIn[i+cfg.Rate]
					exceeded := next.Sub(first) < cfg.Window
					if cfg.FixedWindow {
						exceeded = next.Truncate(cfg.Window).Equal(first.Truncate(cfg.Window))
					}
					if exceeded {
						t.Fatalf("%d requests from %v to %v", cfg.Rate+1, first, next)
					}
				}
			})
		})
	}
}

func TestRateDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newServer(t, qrypttest.Config{InMemory: true})
		c := e.Client()
		for range 30 {
			get(t, c, e.URL, e.Token(), 1).blocks(t, 1024, 1)
		}
		if r := get(t, c, e.URL, e.Token(), 1); r.status != 429 || r.header.Get("Retry-After") != "10" {
			t.Errorf("31st request: status %d, Retry-After %q", r.status, r.header.Get("Retry-After"))
		}
	})
}

// Each token has a window of its own, over all regions. Requests without a token have one
// together.
func TestRateAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newServer(t, qrypttest.Config{InMemory: true, Rate: 1, Tokens: []string{"one", "two"}, Regions: []string{"a", "b"}})
		c, a, b := e.Client(), e.Endpoints()[0], e.Endpoints()[1]
		for _, test := range []struct {
			name string
			got  reply
			want int
		}{
			{"wrong token", get(t, c, a, "three", 1), 401},
			{"other path", do(t, c, request(t, "GET", a+"/", "one", "")), 404},
			{"one", get(t, c, a, "one", 1), 200},
			{"one, other region", get(t, c, b, "one", 1), 429},
			{"one, other call", post(t, c, b, "one", 1, 1), 429},
			{"one, bad request", get(t, c, a, "one", 0), 400},
			{"two", get(t, c, b, "two", 1), 200},
			{"none", post(t, c, a, "", 1, 1), 200},
			{"none, again", post(t, c, b, "", 1, 1), 429},
		} {
			if test.got.status != test.want {
				t.Errorf("%s: status %d, want %d", test.name, test.got.status, test.want)
			}
		}
	})
}

// A request that meets a fault counts, too.
func TestRateCountsFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newServer(t, qrypttest.Config{InMemory: true, Rate: 2})
		c := e.Client()
		e.Script(mustScript(t, "503 x2; ok")...)
		for i, want := range []int{503, 503, 429} {
			if got := get(t, c, e.URL, e.Token(), 1).status; got != want {
				t.Errorf("request %d: status %d, want %d", i, got, want)
			}
		}
	})
}

func TestQuota(t *testing.T) {
	s := newServer(t, qrypttest.Config{Rate: -1, Quota: 3, Tokens: []string{"one", "two"}})
	c := s.Client()
	expect := func(name string, r reply, want int) {
		t.Helper()
		if r.status != want {
			t.Errorf("%s: status %d, want %d", name, r.status, want)
		}
	}
	expect("2 of 3", get(t, c, s.URL, "one", 2), 200)
	expect("2 of 1", get(t, c, s.URL, "one", 2), 403)
	expect("1 of 1", get(t, c, s.URL, "one", 1), 200)
	expect("1 of 0", get(t, c, s.URL, "one", 1), 403)
	expect("byte of 0", post(t, c, s.URL, "one", 1, 1), 403)
	expect("other token", get(t, c, s.URL, "two", 3), 200)
	expect("no token, 3 of 3 in two answers", post(t, c, s.URL, "", 1025, 1), 200)
	expect("no token, 1 of 1", post(t, c, s.URL, "", 16, 64), 200)
	expect("no token, 1 of 0", post(t, c, s.URL, "", 1, 1), 403)
	s.SetQuota(1)
	expect("new quota, 2 of 1", get(t, c, s.URL, "one", 2), 403)
	expect("new quota, 1 of 1", get(t, c, s.URL, "one", 1), 200)
	expect("new quota, 1 of 0", get(t, c, s.URL, "one", 1), 403)
	s.SetQuota(0)
	expect("no quota", get(t, c, s.URL, "one", 512), 200)
	s.SetQuota(1)
	s.Script(mustScript(t, "503 x2")...)
	expect("fault", get(t, c, s.URL, "one", 1), 503)
	expect("fault", get(t, c, s.URL, "one", 1), 503)
	expect("a fault without blocks charges none", get(t, c, s.URL, "one", 1), 200)
}
