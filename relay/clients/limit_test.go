package clients

import (
	"math/rand/v2"
	"testing"
	"time"
)

// member is a client that has used nothing.
func member(c Client) *Member { return newMember(c, new(usage)) }

// ask makes a request for n bytes. It returns zero, or how long the client must wait for
// its limit, which must be the one named.
func ask(t *testing.T, cl *Member, n int64, now time.Time, want Limit) (wait time.Duration) {
	t.Helper()
	_, reached, wait := cl.Charge(n, now)
	if (reached != NoLimit) != (wait > 0) || reached != NoLimit && reached != want {
		t.Fatalf("%d bytes reached limit %d, wait %v", n, reached, wait)
	}
	return wait
}

func TestRate(t *testing.T) {
	now := time.Now()
	cl := member(Client{Rate: 30, Bandwidth: -1})
	request := func() time.Duration { return ask(t, cl, 1, now, RateLimit) }
	for range 30 {
		if wait := request(); wait != 0 {
			t.Fatalf("refused for %v", wait)
		}
	}
	for range 3 { // a refusal takes nothing
		if wait := request(); wait != 333333334 {
			t.Fatalf("wait %v after a window's requests", wait)
		}
	}
	now = now.Add(333333332)
	if wait := request(); wait != 1 && wait != 2 {
		t.Errorf("wait %v a moment too early", wait)
	}
	for _, rate := range []int{1, 3, 7, 30, 999, maxRate} {
		cl = member(Client{Rate: rate, Bandwidth: -1})
		for range rate {
			request()
		}
		for i := range 1000 {
			wait := request()
			if wait <= 0 || wait > RateWindow {
				t.Fatalf("rate %d: wait %v", rate, wait)
			}
			now = now.Add(wait)
			if wait := request(); wait != 0 {
				t.Fatalf("rate %d: %v more after the wait, time %d", rate, wait, i)
			}
		}
	}
	cl = member(Client{Rate: -1, Bandwidth: -1})
	for range 100_000 {
		if _, reached, _ := cl.Charge(largest, now); reached != NoLimit {
			t.Fatal("there is a limit")
		}
	}
}

// TestWithinRate: a client that sends no more than 30 requests in any 10 s is never
// refused, however they are spread.
func TestWithinRate(t *testing.T) {
	start := time.Now()
	for _, spread := range []time.Duration{0, time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond} {
		cl := member(Client{Rate: 30, Bandwidth: -1})
		now := start
		for window := range 20 {
			for i := range 30 {
				if wait := ask(t, cl, 0, now.Add(time.Duration(i)*spread), RateLimit); wait != 0 {
					t.Fatalf("spread %v, window %d: request %d is refused for %v", spread, window, i, wait)
				}
			}
			now = now.Add(RateWindow)
		}
	}
}

const largest = 512 << 10 // bytes of a request

// TestBandwidth: a client gets a window's worth at once, or the largest request if that is
// more, and then as much as its bandwidth. It is told to wait for just as long as it
// takes, also for a request that needs all of that.
func TestBandwidth(t *testing.T) {
	now := time.Now()
	for bandwidth, atOnce := range map[int64]int64{1: largest, 1000: largest, 64 << 10: 640 << 10, 1 << 20: 10 << 20, maxBandwidth: 10 * maxBandwidth} {
		cl := member(Client{Rate: -1, Bandwidth: bandwidth})
		first, total := now, int64(0)
		for n := int64(largest); n > 0 && total <= atOnce; {
			if ask(t, cl, n, now, BandwidthLimit) == 0 {
				total += n
			} else {
				n /= 2
			}
		}
		if total != atOnce {
			t.Errorf("bandwidth %d: %d bytes at once, want %d", bandwidth, total, atOnce)
		}
		random := rand.New(rand.NewPCG(1, uint64(bandwidth)))
		for i := range 1000 {
			n := 1 + random.Int64N(largest)
			if i%10 == 0 {
				n = largest
			}
			wait := ask(t, cl, n, now, BandwidthLimit)
			if bandwidth < largest && wait == 0 {
				t.Fatalf("bandwidth %d: %d bytes at once", bandwidth, n)
			}
			if wait > 3 && ask(t, cl, n, now.Add(wait-3), BandwidthLimit) == 0 {
				t.Fatalf("bandwidth %d: %d bytes before the end of the wait of %v", bandwidth, n, wait)
			}
			now = now.Add(wait)
			if wait := ask(t, cl, n, now, BandwidthLimit); wait != 0 {
				t.Fatalf("bandwidth %d: %v more after the wait, time %d", bandwidth, wait, i)
			}
			total += n
		}
		if most := float64(atOnce) + float64(bandwidth)*now.Sub(first).Seconds() + 1; float64(total) > most {
			t.Errorf("bandwidth %d: %d bytes in %v", bandwidth, total, now.Sub(first))
		}
	}
}

// TestWithinBandwidth: a client that takes no more than its bandwidth in any window is
// never refused, however its requests are spread.
func TestWithinBandwidth(t *testing.T) {
	type request struct {
		at time.Time
		n  int64
	}
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(2, seed))
		bandwidth := 1 + random.Int64N(1<<(8+seed%14))
		cl, now := member(Client{Rate: -1, Bandwidth: bandwidth}), time.Now()
		var window []request
		for i := range 2000 {
			left := bandwidth * int64(RateWindow/time.Second)
			for len(window) > 0 && now.Sub(window[0].at) >= RateWindow {
				window = window[1:]
			}
			for _, r := range window {
				left -= r.n
			}
			if left > 0 {
				n := min(largest, left) // all there is, or some of it
				if random.IntN(3) > 0 {
					n = 1 + random.Int64N(n)
				}
				if wait := ask(t, cl, n, now, BandwidthLimit); wait != 0 {
					t.Fatalf("seed %d, bandwidth %d: request %d, of %d bytes, is refused for %v", seed, bandwidth, i, n, wait)
				}
				window = append(window, request{now, n})
			}
			now = now.Add(time.Duration(random.Int64N(1 << (10 + random.IntN(24)))))
			if len(window) > 0 && random.IntN(4) == 0 { // the first moment at which more is within the limit
				if next := window[0].at.Add(RateWindow); next.After(now) {
					now = next
				}
			}
		}
	}
}

// TestRefusedTakesNothing: a request that one limit refuses takes nothing from the others.
func TestRefusedTakesNothing(t *testing.T) {
	now := time.Now()
	day := Quota{1 << 40, 24 * time.Hour}
	for name, c := range map[string]struct {
		client Client
		before int64 // bytes of a request before
		n      int64
		want   Limit
		wait   time.Duration // zero: not looked at
	}{
		"rate":                       {Client{Rate: 1, Bandwidth: 64 << 10, Quota: day}, 1, largest, RateLimit, 10 * time.Second},
		"bandwidth":                  {Client{Rate: 30, Bandwidth: 1 << 10, Quota: day}, largest, 2 << 10, BandwidthLimit, 2 * time.Second},
		"the wait is the longer one": {Client{Rate: 1, Bandwidth: 1 << 10, Quota: day}, largest, 11 << 10, BandwidthLimit, 11 * time.Second},
		"the rate's is longer":       {Client{Rate: 1, Bandwidth: 1 << 10, Quota: day}, largest, 9 << 10, RateLimit, 10 * time.Second},
		"quota":                      {Client{Rate: 2, Bandwidth: 64 << 10, Quota: Quota{1000, 24 * time.Hour}}, 900, 101, QuotaLimit, 0},
	} {
		cl := member(c.client)
		ask(t, cl, c.before, now, NoLimit)
		requests, bytes, st := cl.requests.TokensAt(now), cl.bytes.TokensAt(now), cl.status(now)
		for range 5 {
			_, reached, wait := cl.Charge(c.n, now)
			if reached != c.want || c.wait != 0 && wait != c.wait {
				t.Errorf("%s: limit %d, wait %v", name, reached, wait)
			}
		}
		if got := cl.status(now); got != st || cl.requests.TokensAt(now) != requests || cl.bytes.TokensAt(now) != bytes {
			t.Errorf("%s: %+v, before %+v; %v requests and %v bytes are left, before %v and %v", name, got, st, cl.requests.TokensAt(now), cl.bytes.TokensAt(now), requests, bytes)
		}
	}
}

// TestRefundedBandwidth: bytes that a client did not get do not count for its bandwidth,
// and no refund gives it more than it may have at once.
func TestRefundedBandwidth(t *testing.T) {
	now := time.Now()
	cl := member(Client{Rate: -1, Bandwidth: 64 << 10})
	for range 100 {
		_, reached, _ := cl.Charge(largest, now)
		if reached != NoLimit {
			t.Fatal("what was given back is not there")
		}
		other, reached, _ := cl.Charge(100<<10, now)
		if reached != NoLimit {
			t.Fatal("less than 640 KiB at once")
		}
		now = now.Add(time.Second)
		cl.Refund(other)
		if wait := ask(t, cl, 192<<10, now, BandwidthLimit); wait != 0 { // 28, 100, 64
			t.Fatalf("wait %v", wait)
		}
		now = now.Add(RateWindow)
	}
	paid, _, _ := cl.Charge(largest, now)
	now = now.Add(time.Minute)
	cl.Refund(paid)
	ask(t, cl, largest, now, NoLimit)
	if ask(t, cl, 128<<10+1, now, BandwidthLimit) == 0 {
		t.Error("the refund is more than a window's worth")
	}
}

// TestLateRequest: a request that read the clock before another one, and comes after it,
// makes no time count twice.
func TestLateRequest(t *testing.T) {
	now := time.Now()
	cl := member(Client{Rate: -1, Bandwidth: 64 << 10})
	var total int64
	take := func(n int64, at time.Time) {
		if _, reached, _ := cl.Charge(n, at); reached == NoLimit {
			total += n
		}
	}
	for range 500 {
		now = now.Add(time.Second)
		take(1, now)
		take(1, now.Add(-5*time.Second))
		for n := int64(largest); n > 0; n /= 2 {
			take(n, now)
		}
	}
	if most := int64(640<<10 + 500*64<<10); total > most {
		t.Errorf("%d bytes in 500 s, want at most %d", total, most)
	}
}

func TestCharge(t *testing.T) {
	day := time.Date(2030, 5, 1, 0, 0, 0, 0, time.UTC)
	unlimited := Client{Rate: -1, Bandwidth: -1}
	cl := member(unlimited)
	cl.Quota = Quota{100, 24 * time.Hour}
	at := func(now time.Time, n int64, want bool) Receipt {
		t.Helper()
		paid, reached, wait := cl.Charge(n, now)
		if reached != NoLimit && reached != QuotaLimit || (reached == NoLimit) != want {
			t.Errorf("%d bytes at %v: limit %d", n, now, reached)
		}
		if until, end := now.Add(wait), now.Truncate(24*time.Hour).Add(24*time.Hour); reached != NoLimit && !until.Equal(end) {
			t.Errorf("the period ends at %v, want %v", until, end)
		}
		return paid
	}
	noon := day.Add(12 * time.Hour)
	at(noon, 101, false)
	at(noon, 60, true)
	at(noon, 41, false)
	paid := at(noon, 40, true)
	at(noon, 1, false)
	cl.Refund(paid)
	at(noon, 41, false)
	paid = at(noon, 40, true)
	midnight := day.Add(24 * time.Hour)
	at(midnight.Add(-1), 1, false)
	at(midnight, 100, true)
	// A request that read the clock before midnight counts after it, and takes
	// nothing away.
	if _, reached, _ := cl.Charge(1, midnight.Add(-1)); reached != QuotaLimit {
		t.Error("a late request emptied the account")
	}
	at(midnight.Add(time.Second), 1, false)
	cl.Quota.Bytes = 50 // less than was used
	at(midnight.Add(time.Second), 0, true)
	cl.Quota.Bytes = 100
	if st := cl.status(midnight); st.PeriodBytes != 100 || st.TotalBytes != 200 || !st.PeriodEnds.Equal(midnight.Add(24*time.Hour)) {
		t.Errorf("%+v", st)
	}
	if st := cl.status(midnight.Add(24 * time.Hour)); st.PeriodBytes != 0 || st.TotalBytes != 200 {
		t.Errorf("the next day: %+v", st)
	}
	// A clock that was years ahead locks nobody out once it is right.
	at(day.AddDate(5, 0, 0), 100, true)
	at(noon, 100, true)

	// A refund after the end of the period gives nothing to the next one.
	at(day.AddDate(1, 0, 0), 60, true)
	cl.Refund(paid)
	at(day.AddDate(1, 0, 0), 41, false)
	at(day.AddDate(1, 0, 0), 40, true)

	// Nor does one of what was charged while there was no quota.
	quota := cl.Quota
	cl.Quota = Quota{}
	paid, _, _ = cl.Charge(50, noon)
	cl.Quota = quota
	cl.Refund(paid)
	at(day.AddDate(1, 0, 0), 1, false)

	none := member(unlimited)
	for range 3 {
		if _, reached, _ := none.Charge(1<<60, noon); reached != NoLimit {
			t.Error("there is a quota")
		}
	}
	if st := none.status(noon); st.TotalBytes != 3<<60 || !st.PeriodEnds.IsZero() {
		t.Errorf("%+v", st)
	}
}

// TestPeriodChanged: a changed period is aligned from the first request on, and begins
// with what was used in the period before it.
func TestPeriodChanged(t *testing.T) {
	day := time.Date(2030, 5, 1, 0, 0, 0, 0, time.UTC)
	now := day.Add(12*time.Hour + 30*time.Minute)
	cl := member(Client{Rate: -1, Bandwidth: -1, Quota: Quota{100, time.Hour}})
	paid, _, _ := cl.Charge(60, now)
	cl.Quota.Period = 24 * time.Hour
	if st := cl.status(now); st.PeriodBytes != 60 || !st.PeriodEnds.Equal(day.Add(24*time.Hour)) {
		t.Errorf("1h to 24h: %+v", st)
	}
	cl.Refund(paid)
	if st := cl.status(now); st.PeriodBytes != 0 {
		t.Errorf("what the old period was charged is not given back: %+v", st)
	}
	cl.Charge(70, now)
	cl.Quota.Period = time.Hour
	if st := cl.status(now); st.PeriodBytes != 0 || !st.PeriodEnds.Equal(day.Add(13*time.Hour)) {
		t.Errorf("24h to 1h: %+v", st)
	}
}
