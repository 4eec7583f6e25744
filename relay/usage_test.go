package relay

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/relay/clients"
	"example.com/qrand/relay/internal/page/pagetest"
)

// TestDiskHangs: while the disk does not take what clients have used, clients are served, the
// page shows, a token that is revoked is refused, and Close ends. The log, the page and
// a metric tell of it, and of its end.
func TestDiskHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 8, BatchBlocks: 4})
		gone := o.client(clients.Client{Name: "gone", Rate: -1})
		hangs := make(chan struct{})
		write := o.usage.write
		o.usage.mu.Lock()
		o.usage.write = func() error { <-hangs; return write() }
		o.usage.mu.Unlock()
		time.Sleep(3 * saveInterval)
		synctest.Wait()
		pieces(t, o.keys(o.token, 32, 1))
		if err := clients.Revoke(o.list, "gone"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if w := o.keys(gone, 32, 1); w.Code != 401 {
			t.Errorf("a revoked token gets %d", w.Code)
		}
		operator := o.client(clients.Client{Name: "ops", Operator: true})
		page := o.ask(operator, "GET", "/")
		pagetest.Parse(t, page.Body.String()).Want(t, "usage-error", "the disk does not take what clients have used")
		if n := strings.Count(o.log.String(), "what clients use cannot be saved"); n != 1 {
			t.Errorf("it is logged %d times:\n%s", n, o.log)
		}
		if n := o.metric("usage_save_errors_total"); n != 1 {
			t.Errorf("%v errors are counted", n)
		}
		began := time.Now()
		if err := o.usage.save(closeLimit); !errors.Is(err, errDiskHangs) || time.Since(began) != closeLimit {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if n := o.metric("usage_save_errors_total"); n != 1 {
			t.Errorf("of one save %v errors are counted", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := strings.Count(o.log.String(), "what clients use cannot be saved"); n < 6 || n > 8 {
			t.Errorf("in an hour it is logged %d times", n)
		}
		close(hangs)
		time.Sleep(2 * saveInterval)
		synctest.Wait()
		if !strings.Contains(o.log.String(), "saved again") {
			t.Error("its end is not logged")
		}
		page = o.ask(operator, "GET", "/")
		pagetest.Parse(t, page.Body.String()).WantNo(t, "usage-error")
	})
}

// TestCloseWhileDiskHangs: Close waits for the disk for 5 s at most.
func TestCloseWhileDiskHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 8, BatchBlocks: 4})
		hangs := make(chan struct{})
		o.usage.mu.Lock()
		o.usage.write = func() error { <-hangs; return nil }
		o.usage.mu.Unlock()
		began := time.Now()
		if err := o.Close(); !errors.Is(err, errDiskHangs) || time.Since(began) > closeLimit+time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		close(hangs)
		synctest.Wait()
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
}
