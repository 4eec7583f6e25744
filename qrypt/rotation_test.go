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

func TestStaysWhereItSucceeds(t *testing.T) {
	s := newService(t, "a", "b", "c")
	c := newClient(t, s)
	for range 3 {
		if b := mustBlocks(t, c, 1); b[0].Origin().Endpoint != s.Endpoints()[0] {
			t.Errorf("a block from %s", b[0].Origin().Endpoint)
		}
	}
	s.ScriptRegion("a", qrypttest.Fault{Kind: qrypttest.Status, Status: 503})
	if e := mustFail(t, c, 1, ErrNoSupply); e.Endpoint != s.Endpoints()[0] {
		t.Errorf("a failure of %s", e.Endpoint)
	}
	for range 3 { // where it went, though the first would do again
		if b := mustBlocks(t, c, 1); b[0].Origin().Endpoint != s.Endpoints()[1] {
			t.Errorf("a block from %s", b[0].Origin().Endpoint)
		}
	}
	wantAsked(t, s, "a", "a", "a", "a", "b", "b", "b")
}

// After a failure that another endpoint would repeat, the next request goes to
// the same one. (TestEveryFault has the failures after which it moves on.)
func TestMovesOn(t *testing.T) {
	s := newService(t, "a", "b")
	for script, moves := range map[string]bool{
		"401": false, "403": false, "429 retry-after=9s": false,
		"400": true, "404": true, "408": true, "422": true,
		"500": true, "502": true, "503 retry-after=9s": true, "504": true,
		"204": true, "308": true,
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
			c.Blocks(t.Context(), 1)
			mustBlocks(t, c, 1)
			next := "a"
			if moves {
				next = "b"
			}
			if got := asked(s)[before:]; !reflect.DeepEqual(got, []string{"a", next}) {
				t.Errorf("asked %q, want a and %s", got, next)
			}
		})
	}
}

func TestMovesOnFromServerGone(t *testing.T) {
	s := newService(t, "a", "b")
	c := newClient(t, s)
	s.Stop("a")
	mustFail(t, c, 1, ErrNetwork)
	mustBlocks(t, c, 1)
	s.Stop("b")
	mustFail(t, c, 1, ErrNetwork)
	mustFail(t, c, 1, ErrNetwork) // a again
	if err := s.Start("b"); err != nil {
		t.Fatal(err)
	}
	mustBlocks(t, c, 1)
	wantAsked(t, s, "b", "b")
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

func TestMovesOnAfterTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		h := &hosts{fails: map[string]error{"a": errHang, "b": errHang}}
		c := h.client(t, "a", "b", "c")
		mustFail(t, c, 1, ErrTimeout)
		mustFail(t, c, 1, ErrTimeout)
		mustBlocks(t, c, 1)
		mustBlocks(t, c, 1)
		h.want(t, "a", "b", "c", "c")
	})
}

// Neither the caller's end nor the lack of a token says anything of an endpoint.
func TestStaysWhenNotAsked(t *testing.T) {
	h := &hosts{fails: map[string]error{"a": errHang}}
	c := h.client(t, "a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Blocks(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	c.token = StaticToken("")
	mustFail(t, c, 1, ErrNoToken)
	if _, err := c.Blocks(t.Context(), 0); err == nil {
		t.Error("0 blocks")
	}
	h.want(t)
	h.fails = nil
	c.token = StaticToken("token")
	mustBlocks(t, c, 1)
	h.want(t, "a")
}

func TestFailover(t *testing.T) {
	h := &hosts{fails: map[string]error{"c": errors.New("no")}}
	c := h.client(t, "a", "b", "c")
	at := c.Endpoints()
	mustBlocks(t, c, 1)
	c.Failover(at[0])
	c.Failover(at[0]) // by another caller, who had its blocks from there too
	mustBlocks(t, c, 1)
	c.Failover(at[1])
	mustFail(t, c, 1, ErrNetwork)
	mustBlocks(t, c, 1)
	c.Failover(at[1])
	c.Failover("https://elsewhere")
	mustBlocks(t, c, 1)
	h.want(t, "a", "b", "c", "a", "a")

	alone := h.client(t, "a")
	alone.Failover(at[0])
	mustBlocks(t, alone, 1)
	alone = h.client(t, "c")
	mustFail(t, alone, 1, ErrNetwork)
	mustFail(t, alone, 1, ErrNetwork)
}

// Calls that fail together at one endpoint move on by one, not by one each.
func TestFailuresTogetherMoveOnOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		h := &hosts{fails: map[string]error{"a": errHang}}
		c := h.client(t, "a", "b", "c")
		var calls sync.WaitGroup
		for range 20 { // 20 steps over three endpoints would end at the third
			calls.Go(func() { mustFail(t, c, 1, ErrTimeout) })
		}
		calls.Wait()
		mustBlocks(t, c, 1)
		if got := h.visits[20]; got != "b" {
			t.Errorf("the next request went to %s", got)
		}
	})
}

// A call that fails late does not take back what was decided meanwhile.
func TestLateFailureDoesNotMoveBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		h := &hosts{fails: map[string]error{"a": errHang}}
		c := h.client(t, "a", "b", "c")
		var late sync.WaitGroup
		late.Go(func() { mustFail(t, c, 1, ErrTimeout) })
		synctest.Wait()
		c.Failover("https://a")
		c.Failover("https://b")
		late.Wait()
		mustBlocks(t, c, 1)
		h.want(t, "a", "c")
	})
}

// A Client is for concurrent use, whatever is called: this is for the race
// detector.
func TestConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		h := &hosts{fails: map[string]error{"b": errors.New("no")}}
		c := h.client(t, "a", "b", "c")
		var calls sync.WaitGroup
		for i := range 20 {
			calls.Go(func() {
				for range 10 {
					switch i % 4 {
					case 0:
						c.Failover(c.Endpoints()[i%3])
					case 1:
						c.TokenChanged(t.Context())
						_ = fmt.Sprintf("%v %+v %#v %s", c, c, c, strings.Join(c.Endpoints(), ","))
					default:
						if b, err := c.Blocks(t.Context(), 1); len(b) != 1 && !errors.Is(err, ErrNetwork) {
							t.Error(err)
						}
					}
				}
			})
		}
		calls.Wait()
	})
}
