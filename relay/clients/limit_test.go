package clients

import (
	"testing"
	"time"
)

func TestAllow(t *testing.T) {
	now := time.Now()
	cl := &Member{Client: Client{Rate: 30}, limiter: newRateLimiter(30)}
	for range 30 {
		if wait := cl.Allow(now); wait != 0 {
			t.Fatalf("refused for %v", wait)
		}
	}
	for range 3 { // a refusal takes nothing
		if wait := cl.Allow(now); wait != 333333334 {
			t.Fatalf("wait %v after a window's requests", wait)
		}
	}
	now = now.Add(333333332)
	if wait := cl.Allow(now); wait != 1 && wait != 2 {
		t.Errorf("wait %v a moment too early", wait)
	}
	for _, rate := range []int{1, 3, 7, 30, 999, maxRate} {
		cl := &Member{limiter: newRateLimiter(rate)}
		for cl.Allow(now) == 0 {
		}
		for i := range 1000 {
			wait := cl.Allow(now)
			if wait <= 0 || wait > RateWindow {
				t.Fatalf("rate %d: wait %v", rate, wait)
			}
			now = now.Add(wait)
			if wait := cl.Allow(now); wait != 0 {
				t.Fatalf("rate %d: %v more after the wait, time %d", rate, wait, i)
			}
		}
	}
	unlimited := &Member{Client: Client{Rate: -1}, limiter: newRateLimiter(-1)}
	for range 100_000 {
		if unlimited.Allow(now) != 0 {
			t.Fatal("there is a limit")
		}
	}
}

// TestAllowWithinLimit: a client that sends no more than 30 requests in any 10 s is
// never refused, however they are spread.
func TestAllowWithinLimit(t *testing.T) {
	start := time.Now()
	for _, spread := range []time.Duration{0, time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond} {
		cl := &Member{limiter: newRateLimiter(30)}
		now := start
		for window := range 20 {
			for i := range 30 {
				if wait := cl.Allow(now.Add(time.Duration(i) * spread)); wait != 0 {
					t.Fatalf("spread %v, window %d: request %d is refused for %v", spread, window, i, wait)
				}
			}
			now = now.Add(RateWindow)
		}
	}
}

func TestCharge(t *testing.T) {
	day := time.Date(2030, 5, 1, 0, 0, 0, 0, time.UTC)
	cl := &Member{Client: Client{Quota: Quota{100, 24 * time.Hour}}, used: new(usage)}
	at := func(now time.Time, n int64, want bool) Receipt {
		t.Helper()
		ok, paid, until := cl.Charge(n, now)
		if ok != want {
			t.Errorf("%d bytes at %v: %v", n, now, ok)
		}
		if end := now.Truncate(24 * time.Hour).Add(24 * time.Hour); !ok && !until.Equal(end) {
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
	if ok, _, _ := cl.Charge(1, midnight.Add(-1)); ok {
		t.Error("a late request emptied the account")
	}
	at(midnight.Add(time.Second), 1, false)
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
	_, paid, _ = cl.Charge(50, noon)
	cl.Quota = quota
	cl.Refund(paid)
	at(day.AddDate(1, 0, 0), 1, false)

	none := &Member{used: new(usage)}
	for range 3 {
		if ok, _, _ := none.Charge(1<<60, noon); !ok {
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
	cl := &Member{Client: Client{Quota: Quota{100, time.Hour}}, used: new(usage)}
	_, paid, _ := cl.Charge(60, now)
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
