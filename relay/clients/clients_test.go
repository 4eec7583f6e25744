package clients

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// listFile writes a list of clients to a new folder.
func listFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clients.json")
	put(t, path, text)
	return path
}

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, path string) *List {
	t.Helper()
	c, err := Open(path, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// add adds a client to a list and returns its token.
func add(t testing.TB, path string, c Client) string {
	t.Helper()
	token, err := Add(path, c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func hashOf(token string) string {
	h := hashToken(token)
	return hex.EncodeToString(h[:])
}

// with makes a request with such Authorization headers.
func with(values ...string) *http.Request {
	r := &http.Request{Header: http.Header{}}
	for _, v := range values {
		r.Header.Add("Authorization", v)
	}
	return r
}

func known(t testing.TB, c *List, token string) *Member {
	t.Helper()
	cl, err := c.Identify(with("Bearer " + token))
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// TestOpenFails: Open says what is wrong with a file that is no list, and leaves no
// file behind.
func TestOpenFails(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "clients.json")
	if _, err := Open(path, ""); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "qrand relay token new") {
		t.Errorf("no file: %v", err)
	}
	if _, err := Open(folder, ""); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	put(t, path, strings.Repeat(" ", maxFile+1))
	if _, err := Open(path, ""); err == nil || !strings.Contains(err.Error(), "is it the list of clients?") {
		t.Errorf("a huge file: %v", err)
	}
	put(t, path, `{"clients":[{}]}`)
	if c, err := Open(path, ""); err == nil || c != nil {
		t.Errorf("a broken file: %v", err)
	}
	names, err := os.ReadDir(folder)
	if err != nil || len(names) != 1 {
		t.Errorf("files were left: %v, %v", names, err)
	}
}

// TestReload: a change is in force after watchInterval; a broken file leaves the
// list as it was, and is reported once.
func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.json")
	token := add(t, path, Client{Name: "web-1"})
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		c := open(t, path)
		reported := make(chan error, 10)
		go c.Watch(t.Context(), func(err error) { reported <- err })
		// expect sleeps until the file was looked at, and once more.
		expect := func(when, report string, names ...string) {
			t.Helper()
			time.Sleep(2 * watchInterval)
			synctest.Wait()
			var reports []error
			for len(reported) > 0 {
				reports = append(reports, <-reported)
			}
			var got []string
			for _, st := range c.Status() {
				got = append(got, st.Name)
			}
			if !slices.Equal(got, names) {
				t.Errorf("%s: clients %v, want %v", when, got, names)
			}
			text := "none"
			if len(reports) > 0 {
				text = fmt.Sprint(reports[0])
			}
			if len(reports) > 1 || report == "none" && text != "none" || !strings.Contains(text, report) {
				t.Errorf("%s: reported %v, want one with %q", when, reports, report)
			}
			if err := c.Err(); (err != nil) != (report != "none" && report != "<nil>") {
				t.Errorf("%s: Err is %v", when, err)
			}
			known(t, c, token)
		}
		expect("at first", "none", "web-1")
		second := add(t, path, Client{Name: "web-2"})
		if _, err := c.Identify(with("Bearer " + second)); !errors.Is(err, errUnknown) {
			t.Errorf("before the file was read: %v", err)
		}
		expect("after another client", "<nil>", "web-1", "web-2")
		known(t, c, second)
		put(t, path, `{"clients":[`)
		expect("after a slip", "not JSON", "web-1", "web-2")
		put(t, path, `{"clients":[{}]}`)
		expect("after another", `"name" must be`, "web-1", "web-2")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		expect("without the file", "there is no list", "web-1", "web-2")
		put(t, path, string(good))
		expect("after the slip was undone", "<nil>", "web-1")
		if _, err := c.Identify(with("Bearer " + second)); !errors.Is(err, errUnknown) {
			t.Errorf("a client that is gone: %v", err)
		}
		put(t, path, "x")
		expect("broken again", "not JSON", "web-1")
		put(t, path, string(good))
		expect("after that was undone", "<nil>", "web-1")
	})
}

// TestListHangs: while the disk does not give the list, that is reported once, and the list as it
// was is in force. Then the list as it is now is. Watch does not wait for the disk to end.
func TestListHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.json")
	add(t, path, Client{Name: "web-1"})
	synctest.Test(t, func(t *testing.T) {
		c := open(t, path)
		hangs := make(chan struct{})
		c.read = func(path string) ([]byte, error) { <-hangs; return readFile(path) }
		var reports []error
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			c.Watch(ctx, func(err error) { reports = append(reports, err) })
			close(ended)
		}()
		add(t, path, Client{Name: "web-2"})
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := c.Err(); len(reports) != 1 || err == nil || reports[0] != err || !strings.Contains(err.Error(), "has not answered for 10s") || len(c.Status()) != 1 {
			t.Errorf("%v, %v, %d clients", reports, err, len(c.Status()))
		}
		hangs <- struct{}{}
		synctest.Wait()
		if len(reports) != 2 || reports[1] != nil || c.Err() != nil || len(c.Status()) != 2 {
			t.Errorf("%v, %v, %d clients", reports, c.Err(), len(c.Status()))
		}
		time.Sleep(watchInterval)
		cancel()
		<-ended
		close(hangs)
	})
}

// TestReloadKeeps: what a client has used of a limit stays, unless that limit has changed.
// The quota's stays in any case.
func TestReloadKeeps(t *testing.T) {
	list := func(rate, bandwidth int, b string) string {
		return fmt.Sprintf(`{"clients":[{"name":"rate","certificate":"rate","rate":%d},{"name":"b","certificate":"%s","rate":1,"bandwidth":1},
			{"name":"bytes","certificate":"bytes","bandwidth":%d},{"name":"quota","certificate":"quota","rate":%[1]d,"quota":{"bytes":100,"period":"24h"}}]}`, rate, b, bandwidth)
	}
	path := listFile(t, list(10, 65536, "b"))
	c := open(t, path)
	now := time.Now()
	charge := func(name string, n int64) Limit {
		_, reached, _ := c.current.Load().byCertificate[name].Charge(n, now)
		return reached
	}
	expect := func(name string, n int64, want ...Limit) {
		t.Helper()
		for i, limit := range want {
			if got := charge(name, n); got != limit {
				t.Errorf("%s, request %d: limit %d, want %d", name, i, got, limit)
			}
		}
	}
	reload := func(text string) {
		t.Helper()
		put(t, path, text)
		if changed, err := c.reload(); !changed || err != nil {
			t.Fatal(changed, err)
		}
	}
	for range 10 {
		expect("rate", 0, NoLimit)
	}
	expect("rate", 0, RateLimit)
	expect("b", 512<<10, NoLimit, BandwidthLimit)
	expect("bytes", 320<<10, NoLimit, NoLimit, BandwidthLimit)
	before := c.current.Load().byCertificate["quota"]
	before.Charge(60, now)
	reload(list(10, 131072, "new"))
	expect("rate", 0, RateLimit)
	expect("new", 0, RateLimit) // a new certificate is no new limit
	expect("new", 512<<10, BandwidthLimit)
	expect("bytes", 512<<10, NoLimit, NoLimit, BandwidthLimit)
	reload(list(2, 131072, "new"))
	expect("rate", 0, NoLimit, NoLimit, RateLimit)
	expect("bytes", 512<<10, BandwidthLimit)
	// A request that began before the reload is counted, too.
	before.Charge(40, now)
	expect("quota", 1, QuotaLimit)
}

// TestClientsConcurrently: while requests are made and refunded, and the list is
// reloaded and saved, no byte is counted twice or lost.
func TestClientsConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.json")
	var tokens []string
	for i := range 3 {
		tokens = append(tokens, add(t, path, Client{Name: fmt.Sprint("c", i), Rate: -1, Quota: Quota{1 << 30, 24 * time.Hour}}))
	}
	now := time.Now()
	c := open(t, path)
	var charged [3]atomic.Int64
	var requests, others sync.WaitGroup
	stop := make(chan struct{})
	others.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			name := fmt.Sprint("more-", i)
			if _, err := Add(path, Client{Name: name, Certificate: name}); err != nil {
				t.Error(err)
			}
			if _, err := c.reload(); err != nil {
				t.Error(err)
			}
			if err := c.Save(); err != nil {
				t.Error(err)
			}
			c.Status()
		}
	})
	for g := range 8 {
		requests.Go(func() {
			for i := range 2000 {
				n := int64(i % 7)
				cl, err := c.Identify(with("Bearer " + tokens[(g+i)%3]))
				if err != nil {
					t.Error(err)
					return
				}
				paid, reached, _ := cl.Charge(n, now)
				if reached != NoLimit {
					t.Error("refused")
				}
				if i%4 == 0 {
					cl.Refund(paid)
				} else {
					charged[(g+i)%3].Add(n)
				}
			}
		})
	}
	requests.Wait()
	close(stop)
	others.Wait()
	for i, token := range tokens {
		cl := known(t, c, token)
		if st, want := cl.status(now), charged[i].Load(); st.PeriodBytes != want || st.TotalBytes != want {
			t.Errorf("client %d: %+v, want %d bytes", i, st, want)
		}
	}
}

func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "clients.json")
		expires := time.Now().Add(time.Hour).UTC()
		token := add(t, path, Client{Name: "b", Expires: expires, Quota: Quota{4096, time.Hour}})
		add(t, path, Client{Name: "a", Certificate: "a.example", Rate: -1, Operator: true})
		c := open(t, path)
		time.Sleep(time.Minute)
		known(t, c, token).Charge(1024, time.Now())
		now := time.Now().UTC()
		want := []Status{
			{Client: Client{Name: "a", Certificate: "a.example", Created: now.Add(-time.Minute), Rate: -1, Operator: true}},
			{Client: Client{Name: "b", Created: now.Add(-time.Minute), Expires: expires, Rate: 30, Bandwidth: 65536, Quota: Quota{4096, time.Hour}},
				PeriodBytes: 1024, PeriodEnds: expires, TotalBytes: 1024, LastUsed: now},
		}
		if got := c.Status(); !slices.Equal(got, want) {
			t.Errorf("%+v\nwant %+v", got, want)
		}
		if err := c.Save(); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(path, ""); err != nil || !slices.Equal(got, want) {
			t.Errorf("Read: %+v, %v", got, err)
		}
	})
}
