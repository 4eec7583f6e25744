package qrypt

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/qrypttest"
)

// asked returns the regions that requests went to, in order.
func asked(s *qrypttest.Server) (regions []string) {
	for _, r := range s.Requests() {
		regions = append(regions, r.Region)
	}
	return regions
}

func wantAsked(t testing.TB, s *qrypttest.Server, want ...string) {
	t.Helper()
	if got := asked(s); !reflect.DeepEqual(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
}

// A Client asks its first endpoint and no other, also after
// a request that failed.
func TestAsksTheFirst(t *testing.T) {
	s := newService(t, "a", "b")
	for _, script := range []string{
		"ok", "401", "403", "429 retry-after=9s", "400", "404", "408", "422", "500", "502", "503 retry-after=9s", "504", "204", "308",
	} {
		t.Run(script, func(t *testing.T) {
			s.SetTokens("a-token-for-" + strings.ReplaceAll(script, " ", "-")) // with a rate limit of its own
			c := newClient(t, s)
			before := len(s.Requests())
			faults, err := qrypttest.ParseScript(script)
			if err != nil {
				t.Fatal(err)
			}
			s.ScriptRegion("a", faults...)
			if _, err := c.Blocks(t.Context(), 1); (err == nil) != (script == "ok") {
				t.Error(err)
			}
			mustBlocks(t, c, 1)
			if got := asked(s)[before:]; !reflect.DeepEqual(got, []string{"a", "a"}) {
				t.Errorf("asked %q, want a twice", got)
			}
		})
	}
}

func TestAsksTheFirstThoughGone(t *testing.T) {
	s := newService(t, "a", "b")
	c := newClient(t, s)
	s.Stop("a")
	for range 3 {
		if e := mustFail(t, c, 1, ErrNetwork); e.Endpoint != s.Endpoints()[0] {
			t.Errorf("a failure of %s", e.Endpoint)
		}
	}
	if err := s.Start("a"); err != nil {
		t.Fatal(err)
	}
	mustBlocks(t, c, 1)
	wantAsked(t, s, "a")
}

// hosts is a network in memory where each host fails with the error it has, and
// notes who was asked.
type hosts struct {
	mu     sync.Mutex
	fails  map[string]error
	visits []string
}

func (h *hosts) RoundTrip(req *http.Request) (*http.Response, error) {
	h.mu.Lock()
	h.visits = append(h.visits, req.URL.Host)
	err := h.fails[req.URL.Host]
	h.mu.Unlock()
	if err == errHang {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	if err != nil {
		return nil, err
	}
	return reply(http.StatusOK, oneBlock[DialectQuantumEntropy]), nil
}

func (h *hosts) client(t testing.TB, names ...string) *Client {
	t.Helper()
	cfg := Config{Token: StaticToken("token"), HTTPClient: &http.Client{Transport: h}}
	for _, name := range names {
		cfg.Endpoints = append(cfg.Endpoints, "https://"+name)
	}
	return mustNew(t, cfg)
}

func (h *hosts) want(t testing.TB, visits ...string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !reflect.DeepEqual(h.visits, visits) {
		t.Errorf("asked %q, want %q", h.visits, visits)
	}
}

var errHang = errors.New("hangs until the client gives up")

func TestEach(t *testing.T) {
	h := &hosts{fails: map[string]error{"a": errors.New("no")}}
	c := h.client(t, "a", "b", "c")
	each := c.Each()
	if len(each) != 3 {
		t.Fatalf("%d clients of 3 endpoints", len(each))
	}
	for i, one := range each {
		want := c.Endpoints()[i : i+1]
		if !reflect.DeepEqual(one.Endpoints(), want) {
			t.Errorf("client %d of %q, want %q", i, one.Endpoints(), want)
		}
		if i == 0 {
			if e := mustFail(t, one, 1, ErrNetwork); e.Endpoint != want[0] {
				t.Errorf("client 0 names %s", e.Endpoint)
			}
		} else if b := mustBlocks(t, one, 1); b[0].Origin().Endpoint != want[0] {
			t.Errorf("client %d has a block from %s", i, b[0].Origin().Endpoint)
		}
		if again := one.Each(); len(again) != 1 || again[0] == one || !reflect.DeepEqual(again[0].Endpoints(), want) {
			t.Errorf("the client of client %d: %v", i, again)
		}
	}
	mustFail(t, c, 1, ErrNetwork)
	h.want(t, "a", "b", "c", "a")
}

// What New was told holds for each endpoint's Client.
func TestEachIsConfiguredAlike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		now := "first"
		var sent []*http.Request
		redirects := roundTrip(func(req *http.Request) (*http.Response, error) {
			if sent = append(sent, req); len(sent) > 4 {
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
			res := reply(http.StatusFound, nil)
			res.Header.Set("Location", "https://elsewhere.example")
			return res, nil
		}).client()
		c := mustNew(t, Config{
			Endpoints: []string{"https://a", "https://b"}, Dialect: DialectOpenAPI,
			Token: tokens(&now), HTTPClient: redirects, Timeout: 7 * time.Second,
		})
		each := c.Each()
		for _, now = range []string{"first", "second"} {
			for _, one := range each {
				mustFail(t, one, 1, ErrRedirected)
			}
		}
		for i, want := range []string{"a first", "b first", "a second", "b second"} {
			host, token, _ := strings.Cut(want, " ")
			if req := sent[i]; req.URL.Host != host || req.Method != "POST" || req.Header.Get("Authorization") != "Bearer "+token {
				t.Errorf("request %d: %s %s", i, req.Method, req.URL)
			}
		}
		began := time.Now()
		mustFail(t, each[1], 1, ErrTimeout)
		if got := time.Since(began); got != 7*time.Second {
			t.Errorf("given up after %v", got)
		}
	})
}

// A token that one endpoint refused has not been tried at another.
func TestTokenChangedOfEach(t *testing.T) {
	for status, class := range map[int]error{401: ErrUnauthorized, 403: ErrQuota} {
		answer := status
		requests := 0
		h := &http.Client{Transport: withStatus(countingClient(&requests).Transport, &answer)}
		now := fmt.Sprint("token-", status)
		c := mustNew(t, Config{Endpoints: []string{"https://a", "https://b"}, Token: tokens(&now), HTTPClient: h})
		each := c.Each()
		check := func(when string, want ...bool) {
			t.Helper()
			for i, c := range append(each, c) {
				if got := c.TokenChanged(t.Context()); got != want[i] {
					t.Errorf("%d: %s: client %d says %t", status, when, i, got)
				}
			}
		}
		check("at first", true, true, true)
		mustFail(t, each[0], 1, class)
		check("refused by the first", false, true, true)
		mustFail(t, each[1], 1, class)
		check("refused by both", false, false, true)
		mustFail(t, c, 1, class)
		check("and to the Client of both", false, false, false)
		if got := c.Each()[0].TokenChanged(t.Context()); !got {
			t.Error("a new Client remembers what it did not ask")
		}
		now = "another"
		check("with another", true, true, true)
	}
}

// A request that is given up because another's token was refused says nothing
// about its own.
func TestTokenNotRefusedByCause(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := &Error{Endpoint: "https://b", Class: ErrUnauthorized, StatusCode: 401}
	h := roundTrip(func(req *http.Request) (*http.Response, error) {
		cancel(reason)
		return nil, req.Context().Err()
	}).client()
	c := mustNew(t, Config{Token: StaticToken("token"), HTTPClient: h})
	if _, err := c.Blocks(ctx, 1); !errors.Is(err, reason) {
		t.Fatal(err)
	}
	if !c.TokenChanged(t.Context()) {
		t.Error("the token counts as refused")
	}
}

// A token has 30 requests in 10 s, at all endpoints together.
func TestEachSharesTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		each := (&hosts{}).client(t, "a", "b", "c").Each()
		began := time.Now()
		for i := range allowed + 1 {
			mustBlocks(t, each[i%3], 1)
		}
		if got := time.Since(began); got != limitWindow {
			t.Errorf("the 31st request after %v, want %v", got, limitWindow)
		}
	})
}

// Without a token or the caller's patience nobody is asked.
func TestNobodyIsAsked(t *testing.T) {
	h := &hosts{fails: map[string]error{"a": errHang}}
	c := h.client(t, "a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Blocks(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	c.token = StaticToken("")
	if e := mustFail(t, c, 1, ErrNoToken); e.Endpoint != "https://a" {
		t.Errorf("a failure of %s", e.Endpoint)
	}
	if _, err := c.Blocks(t.Context(), 0); err == nil {
		t.Error("0 blocks")
	}
	h.want(t)
}

// All methods of a Client may be called concurrently: this is for the race
// detector.
func TestConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		h := &hosts{fails: map[string]error{"b": errors.New("no")}}
		c := h.client(t, "a", "b", "c")
		each := c.Each()
		var calls sync.WaitGroup
		for i := range 20 {
			calls.Go(func() {
				for range 10 {
					switch i % 4 {
					case 0:
						c.Each()[i%3].TokenChanged(t.Context())
					case 1:
						c.TokenChanged(t.Context())
						_ = fmt.Sprintf("%v %+v %#v %s", c, c, c, strings.Join(c.Endpoints(), ","))
					default:
						if b, err := each[i%3].Blocks(t.Context(), 1); len(b) != 1 && !errors.Is(err, ErrNetwork) {
							t.Error(err)
						}
					}
				}
			})
		}
		calls.Wait()
	})
}
