package supply

import (
	"context"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"example.com/qrand/internal/health"
	"example.com/qrand/qrypt"
)

// noise is what blocks are made of.
var noise = mathrand.NewChaCha8([32]byte{'s', 'u', 'p', 'p', 'l', 'y'})

// newBlock returns a good block, in which spoil overwrites some bytes.
func newBlock(t *testing.T, origin qrypt.Origin, spoil ...byte) qrypt.Block {
	t.Helper()
	p := make([]byte, qrypt.BlockSize)
	noise.Read(p)
	copy(p[500:], spoil)
	b, err := qrypt.NewBlock(p, origin)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wiped(b qrypt.Block) bool {
	return !slices.ContainsFunc(b.Bytes(), func(c byte) bool { return c != 0 })
}

// A fake is a BlockSource that does what its fields say.
type fake struct {
	t      *testing.T
	err    error // of each request; nil: it gives blocks
	blocks func(ctx context.Context, n int) ([]qrypt.Block, error)
	calls  chan call // each request goes there, and ends when its test says so, not when its context does
	fresh  bool      // there is another token
	asked  []int     // for how many blocks
}

type call struct {
	ctx context.Context
	end chan any // blocks, or an error
}

func (f *fake) Blocks(ctx context.Context, n int) (blocks []qrypt.Block, err error) {
	f.asked = append(f.asked, n)
	switch {
	case f.calls != nil:
		c := call{ctx, make(chan any)}
		f.calls <- c
		switch end := (<-c.end).(type) {
		case error:
			return nil, end
		default:
			return end.([]qrypt.Block), nil
		}
	case f.blocks != nil:
		return f.blocks(ctx, n)
	case f.err != nil:
		return nil, f.err
	}
	for range n {
		blocks = append(blocks, newBlock(f.t, qrypt.Origin{}))
	}
	return blocks, nil
}

func (f *fake) TokenChanged(context.Context) bool { return f.fresh }

// A driver calls the methods of a Supply, at times that the test sets.
type driver struct {
	*Supply
	t     *testing.T
	fakes []*fake
	now   time.Time
}

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// The random parts of waits: none, and nearly all.
func least(time.Duration) time.Duration  { return 0 }
func most(d time.Duration) time.Duration { return d - 1 }

// newDriver returns a driver of so many endpoints, which give blocks, eight at a time.
func newDriver(t *testing.T, endpoints int, random func(time.Duration) time.Duration) *driver {
	d := &driver{t: t, now: start}
	var all Preferred
	for range endpoints {
		f := &fake{t: t}
		d.fakes, all = append(d.fakes, f), append(all, f)
	}
	d.Supply = New(Config{Source: all, MaxBlocks: 8, Memory: health.NewMemory(make([]byte, 32), health.Remembered), Random: random})
	return d
}

// act does what is due now for a user who wants n blocks, and handles the answers. It
// returns which endpoint was asked; -1: none.
func (d *driver) act(n int) (endpoint int, o Outcome) {
	d.t.Helper()
	if o := d.Act(d.t.Context(), n, d.now); o.Err != nil || o.Recovered {
		d.t.Fatalf("without a request: %+v", o)
	}
	var answers []Answer
	for _, e := range d.endpoints {
		if e.state == asking || e.state == checking {
			answers = append(answers, <-d.Answers())
		}
	}
	slices.SortFunc(answers, func(a, b Answer) int { return a.asked - b.asked }) // tokens first
	endpoint = -1
	for _, a := range answers {
		if taken := d.Handle(a, d.now); a.asked > 0 {
			endpoint, o = slices.Index(d.endpoints, a.from), taken
		}
	}
	return endpoint, o
}

// next waits until the next request is due, and makes it.
func (d *driver) next() (endpoint int, o Outcome) {
	d.t.Helper()
	_, request := d.Next(8, d.now)
	if request.After(d.now) {
		d.now = request.Add(-1)
		if endpoint, _ := d.act(8); endpoint >= 0 {
			d.t.Fatalf("endpoint %d is asked before %v, when a request is due", endpoint, request)
		}
		d.now = request
	}
	endpoint, o = d.act(8)
	if endpoint < 0 {
		d.t.Fatalf("no request at %v, when one is due", d.now)
	}
	return endpoint, o
}

func failure(class error, retryAfter time.Duration) error {
	return &qrypt.Error{Endpoint: "https://service.example", Class: class, RetryAfter: retryAfter}
}

// plain is a source without tokens or endpoints.
type plain struct{ err error }

func (p plain) Blocks(context.Context, int) ([]qrypt.Block, error) { return nil, p.err }
