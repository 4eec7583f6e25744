package relay

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
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

func open(t testing.TB, path string) *Clients {
	t.Helper()
	c, err := OpenClients(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// add adds a client to a list and returns its token.
func add(t testing.TB, path string, c Client) string {
	t.Helper()
	token, err := AddClient(path, c)
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

func known(t testing.TB, c *Clients, token string) *client {
	t.Helper()
	cl, err := c.identify(with("Bearer " + token))
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

func TestParseClients(t *testing.T) {
	a, b := hashOf("a"), hashOf("b")
	entries, err := parseClients("f", []byte(`{"clients":[
		{"name":"web-1","token_sha256":"`+a+`","created":"2026-01-02T03:04:05Z","expires":"2027-01-02T03:04:05+01:00","rate":7,"quota":{"bytes":1048576,"period":"24h"}},
		{"name":"db","certificate":"db.internal.example","rate":-1},
		{"name":"ops","token_sha256":"`+strings.ToUpper(b)+`","operator":true}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []entry{
		{Client{Name: "web-1", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Expires: time.Date(2027, 1, 2, 2, 4, 5, 0, time.UTC), Rate: 7, Quota: Quota{1 << 20, 24 * time.Hour}}, hashToken("a")},
		{Client{Name: "db", Certificate: "db.internal.example", Rate: -1}, [32]byte{}},
		{Client{Name: "ops", Rate: 30, Operator: true}, hashToken("b")},
	}
	if !slices.Equal(entries, want) {
		t.Errorf("%+v, want %+v", entries, want)
	}
	if entries, err := parseClients("f", []byte(`{"clients":[]}`)); err != nil || len(entries) != 0 {
		t.Errorf("an empty list: %v, %v", entries, err)
	}
}

func TestParseClientsStrictly(t *testing.T) {
	a, b := hashOf("a"), hashOf("b")
	// one is a list of one client with a token and such members.
	one := func(members string) string {
		return `{"clients":[{"name":"web-1","token_sha256":"` + a + `"` + members + `}]}`
	}
	two := func(x, y string) string { return `{"clients":[{` + x + `},{` + y + `}]}` }
	for name, test := range map[string]struct{ text, want string }{
		"nothing":               {"", "not JSON"},
		"cut":                   {"{\"clients\":[\n{\"name\":\"web-1\",", "line 2: not JSON"},
		"no list":               {`{}`, `want {"clients": [...]}`},
		"null":                  {`null`, `want {"clients": [...]}`},
		"an array":              {`[]`, `want {"clients": [...]}`},
		"null list":             {`{"clients":null}`, `want {"clients": [...]}`},
		"another case":          {`{"Clients":[]}`, `want {"clients": [...]}`},
		"more than a list":      {`{"clients":[],"x":1}`, `want {"clients": [...]}`},
		"two lists":             {`{"clients":[],"clients":[]}`, `want {"clients": [...]}`},
		"two values":            {`{"clients":[]}{"clients":[]}`, "not JSON"},
		"nested deeply":         {`{"clients":[` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `]}`, "not JSON"},
		"not an object":         {`{"clients":["web-1"]}`, `client number 1: it is a string: it must be an object`},
		"null client":           {`{"clients":[null]}`, `client number 1: it is empty`},
		"unknown":               {one(`,"quotas":{"bytes":1,"period":"1h"}`), `client "web-1": unknown field "quotas"`},
		"unknown in quota":      {one(`,"quota":{"byte":1,"period":"1h"}`), `client "web-1": unknown field "byte"`},
		"member in capitals":    {one(`,"Rate":1`), `client "web-1": unknown field "Rate"`},
		"member folded":         {one(`,"expireſ":"2027-01-01T00:00:00Z"`), `client "web-1": unknown field`},
		"member twice":          {one(`,"rate":1,"rate":2`), `client "web-1": "rate" is there twice`},
		"in quota twice":        {one(`,"quota":{"bytes":1,"period":"1h","bytes":2}`), `client "web-1": "bytes" is there twice`},
		"null expiry":           {one(`,"expires":null`), `client "web-1": "expires" is empty`},
		"empty expiry":          {one(`,"expires":""`), `client "web-1": "expires" is empty`},
		"a text for a number":   {one(`,"rate":"30"`), `client "web-1": "rate" is a string: it must be a whole number`},
		"a fraction":            {one(`,"rate":1.5`), `client "web-1": "rate" is a number 1.5: it must be a whole number`},
		"a number for a bool":   {one(`,"operator":1`), `client "web-1": "operator" is a number: it must be true or false`},
		"no name":               {`{"clients":[{"token_sha256":"` + a + `"}]}`, `client number 1: "name" must be`},
		"a name of two lines":   {two(`"name":"a","token_sha256":"`+a+`"`, `"name":"b\nc","token_sha256":"`+b+`"`), `client number 2: "name" must be`},
		"a name with a comma":   {`{"clients":[{"name":"a,b","token_sha256":"` + a + `"}]}`, `"name" must be`},
		"a name like a flag":    {`{"clients":[{"name":"-v","token_sha256":"` + a + `"}]}`, `"name" must be`},
		"a long name":           {`{"clients":[{"name":"` + strings.Repeat("a", 65) + `","token_sha256":"` + a + `"}]}`, `"name" must be`},
		"a name twice":          {two(`"name":"a","token_sha256":"`+a+`"`, `"name":"a","token_sha256":"`+b+`"`), `client "a": there are two of this name`},
		"a token twice":         {two(`"name":"a","token_sha256":"`+a+`"`, `"name":"b","token_sha256":"`+strings.ToUpper(a)+`"`), `client "b": it has the token of a`},
		"a certificate twice":   {two(`"name":"a","certificate":"x"`, `"name":"b","certificate":"x"`), `client "b": it has the certificate of a`},
		"neither":               {`{"clients":[{"name":"web-1"}]}`, `want one of "token_sha256" and "certificate"`},
		"both":                  {one(`,"certificate":"x"`), `want one of "token_sha256" and "certificate"`},
		"a short hash":          {`{"clients":[{"name":"web-1","token_sha256":"abcd"}]}`, `must be the SHA-256 of the token in 64 hexadecimal digits`},
		"no hash":               {`{"clients":[{"name":"web-1","token_sha256":"` + strings.Repeat("x", 64) + `"}]}`, `must be the SHA-256 of the token in 64 hexadecimal digits`},
		"an odd certificate":    {`{"clients":[{"name":"web-1","certificate":" x"}]}`, `"certificate" must be the DNS name`},
		"a certificate's bytes": {`{"clients":[{"name":"web-1","certificate":"` + "a\xff" + `"}]}`, `"certificate" must be the DNS name`},
		"a long certificate":    {`{"clients":[{"name":"web-1","certificate":"` + strings.Repeat("x", 254) + `"}]}`, `"certificate" must be the DNS name`},
		"expires some day":      {one(`,"expires":"2027-01-01"`), `client "web-1": "expires" must be a time`},
		"expires at zero":       {one(`,"expires":"0001-01-01T00:00:00Z"`), `client "web-1": "expires" must be a time`},
		"expires after 9999":    {one(`,"expires":"9999-12-31T23:59:59-01:00"`), `client "web-1": "expires" must be a time`},
		"created some day":      {one(`,"created":"yesterday"`), `client "web-1": "created" must be a time`},
		"rate zero":             {one(`,"rate":0`), `client "web-1": "rate" is 0: write how many requests in 10 s, at most 1048576, or -1 for no limit`},
		"rate below":            {one(`,"rate":-2`), `"rate" is -2`},
		"rate above":            {one(`,"rate":1048577`), `"rate" is 1048577`},
		"an empty quota":        {one(`,"quota":{}`), `"quota" has 0 "bytes"`},
		"quota below":           {one(`,"quota":{"bytes":-1,"period":"1h"}`), `"quota" has -1 "bytes"`},
		"quota beyond":          {one(`,"quota":{"bytes":9223372036854775808,"period":"1h"}`), `"quota.bytes" is a number 9223372036854775808: it must be a whole number`},
		"no period":             {one(`,"quota":{"bytes":1}`), `"period" of "quota" must be written like 1h or 24h, from 1s to 8784h`},
		"a period of days":      {one(`,"quota":{"bytes":1,"period":"1d"}`), `"period" of "quota" must be`},
		"a short period":        {one(`,"quota":{"bytes":1,"period":"999ms"}`), `"period" of "quota" must be`},
		"a long period":         {one(`,"quota":{"bytes":1,"period":"8785h"}`), `"period" of "quota" must be`},
		"an operator's quota":   {one(`,"operator":true,"quota":{"bytes":1,"period":"1h"}`), `an operator gets no entropy`},
	} {
		entries, err := parseClients("the-file", []byte(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "relay: the-file: ") || entries != nil {
			t.Errorf("%s: %v, %v, want an error with %q", name, entries, err, test.want)
		}
	}
}

func TestOpenClients(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "clients.json")
	if _, err := OpenClients(path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "qrand relay token new") {
		t.Errorf("no file: %v", err)
	}
	if _, err := OpenClients(folder); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	put(t, path, strings.Repeat(" ", maxClientsFile+1))
	if _, err := OpenClients(path); err == nil || !strings.Contains(err.Error(), "is it the list of clients?") {
		t.Errorf("a huge file: %v", err)
	}
	put(t, path, `{"clients":[{}]}`)
	if c, err := OpenClients(path); err == nil || c != nil {
		t.Errorf("a broken file: %v", err)
	}
	names, err := os.ReadDir(folder)
	if err != nil || len(names) != 1 {
		t.Errorf("files were left: %v, %v", names, err)
	}
}

// TestReload: a change is in force after clientsInterval; a broken file leaves the
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
		go c.watch(t.Context(), func(err error) { reported <- err })
		// expect sleeps until the file was looked at, and once more.
		expect := func(when, report string, names ...string) {
			t.Helper()
			time.Sleep(2 * clientsInterval)
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
		if _, err := c.identify(with("Bearer " + second)); !errors.Is(err, errUnknownClient) {
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
		expect("mended", "<nil>", "web-1")
		if _, err := c.identify(with("Bearer " + second)); !errors.Is(err, errUnknownClient) {
			t.Errorf("a client that is gone: %v", err)
		}
		put(t, path, "x")
		expect("broken again", "not JSON", "web-1")
		put(t, path, string(good))
		expect("mended as it was", "<nil>", "web-1")
	})
}

// TestReloadKeeps: what a client has used stays, and so does its limiter unless
// its limit is another.
func TestReloadKeeps(t *testing.T) {
	const text = `{"clients":[{"name":"a","certificate":"a","rate":%d,"quota":{"bytes":100,"period":"24h"}},{"name":"b","certificate":"%s","rate":1}]}`
	path := listFile(t, fmt.Sprintf(text, 1, "b"))
	c := open(t, path)
	now := time.Now()
	spend := func(name string) bool { return c.list.Load().byCertificate[name].allow(now) == 0 }
	for _, name := range []string{"a", "b"} {
		if first, second := spend(name), spend(name); !first || second {
			t.Fatal("the limit is not 1")
		}
	}
	before := c.list.Load().byCertificate["a"]
	before.charge(60, now)
	put(t, path, fmt.Sprintf(text, 2, "new"))
	if changed, err := c.reload(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if spend("new") {
		t.Error("a new certificate is a new limit")
	}
	if first, second, third := spend("a"), spend("a"), spend("a"); !first || !second || third {
		t.Error("the new limit is not 2")
	}
	// A request that began before the reload is counted, too.
	before.charge(40, now)
	if ok, _, _ := c.list.Load().byCertificate["a"].charge(1, now); ok {
		t.Error("the reload refilled the quota")
	}
}

func TestAllow(t *testing.T) {
	now := time.Now()
	cl := &client{Client: Client{Rate: 30}, limiter: newLimiter(30)}
	for range 30 {
		if wait := cl.allow(now); wait != 0 {
			t.Fatalf("refused for %v", wait)
		}
	}
	for range 3 { // a refusal takes nothing
		if wait := cl.allow(now); wait != 333333334 {
			t.Fatalf("wait %v after a window's requests", wait)
		}
	}
	now = now.Add(333333332)
	if wait := cl.allow(now); wait != 1 && wait != 2 {
		t.Errorf("wait %v a moment too early", wait)
	}
	for _, rate := range []int{1, 3, 7, 30, 999, maxClientRate} {
		cl := &client{limiter: newLimiter(rate)}
		for cl.allow(now) == 0 {
		}
		for i := range 1000 {
			wait := cl.allow(now)
			if wait <= 0 || wait > clientRateWindow {
				t.Fatalf("rate %d: wait %v", rate, wait)
			}
			now = now.Add(wait)
			if wait := cl.allow(now); wait != 0 {
				t.Fatalf("rate %d: %v more after the wait, time %d", rate, wait, i)
			}
		}
	}
	unlimited := &client{Client: Client{Rate: -1}, limiter: newLimiter(-1)}
	for range 100_000 {
		if unlimited.allow(now) != 0 {
			t.Fatal("there is a limit")
		}
	}
}

// TestAllowKeepsPromise: whoever sends no more than 30 requests in any 10 s is
// never refused, however they are spread.
func TestAllowKeepsPromise(t *testing.T) {
	start := time.Now()
	for _, spread := range []time.Duration{0, time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond} {
		cl := &client{limiter: newLimiter(30)}
		now := start
		for window := range 20 {
			for i := range 30 {
				if wait := cl.allow(now.Add(time.Duration(i) * spread)); wait != 0 {
					t.Fatalf("spread %v, window %d: request %d is refused for %v", spread, window, i, wait)
				}
			}
			now = now.Add(clientRateWindow)
		}
	}
}

func TestCharge(t *testing.T) {
	day := time.Date(2030, 5, 1, 0, 0, 0, 0, time.UTC)
	cl := &client{Client: Client{Quota: Quota{100, 24 * time.Hour}}, account: new(account)}
	at := func(now time.Time, n int64, want bool) receipt {
		t.Helper()
		ok, paid, until := cl.charge(n, now)
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
	cl.refund(paid)
	at(noon, 41, false)
	paid = at(noon, 40, true)
	midnight := day.Add(24 * time.Hour)
	at(midnight.Add(-1), 1, false)
	at(midnight, 100, true)
	// A request that read the clock before midnight counts after it, and takes
	// nothing away.
	if ok, _, _ := cl.charge(1, midnight.Add(-1)); ok {
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
	cl.refund(paid)
	at(day.AddDate(1, 0, 0), 41, false)
	at(day.AddDate(1, 0, 0), 40, true)

	// Nor does one of what was charged while there was no quota.
	quota := cl.Quota
	cl.Quota = Quota{}
	_, paid, _ = cl.charge(50, noon)
	cl.Quota = quota
	cl.refund(paid)
	at(day.AddDate(1, 0, 0), 1, false)

	none := &client{account: new(account)}
	for range 3 {
		if ok, _, _ := none.charge(1<<60, noon); !ok {
			t.Error("there is a quota")
		}
	}
	if st := none.status(noon); st.TotalBytes != 3<<60 || !st.PeriodEnds.IsZero() {
		t.Errorf("%+v", st)
	}
}

// TestPeriodChanged: another period is aligned from the first request on, and has
// what was used in the one in which it was changed.
func TestPeriodChanged(t *testing.T) {
	day := time.Date(2030, 5, 1, 0, 0, 0, 0, time.UTC)
	now := day.Add(12*time.Hour + 30*time.Minute)
	cl := &client{Client: Client{Quota: Quota{100, time.Hour}}, account: new(account)}
	_, paid, _ := cl.charge(60, now)
	cl.Quota.Period = 24 * time.Hour
	if st := cl.status(now); st.PeriodBytes != 60 || !st.PeriodEnds.Equal(day.Add(24*time.Hour)) {
		t.Errorf("1h to 24h: %+v", st)
	}
	cl.refund(paid)
	if st := cl.status(now); st.PeriodBytes != 0 {
		t.Errorf("what the old period was charged is not given back: %+v", st)
	}
	cl.charge(70, now)
	cl.Quota.Period = time.Hour
	if st := cl.status(now); st.PeriodBytes != 0 || !st.PeriodEnds.Equal(day.Add(13*time.Hour)) {
		t.Errorf("24h to 1h: %+v", st)
	}
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
			if _, err := AddClient(path, Client{Name: name, Certificate: name}); err != nil {
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
				cl, err := c.identify(with("Bearer " + tokens[(g+i)%3]))
				if err != nil {
					t.Error(err)
					return
				}
				cl.allow(now)
				ok, paid, _ := cl.charge(n, now)
				if !ok {
					t.Error("refused")
				}
				if i%4 == 0 {
					cl.refund(paid)
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
		known(t, c, token).charge(1024, time.Now())
		now := time.Now().UTC()
		want := []ClientStatus{
			{Client: Client{Name: "a", Certificate: "a.example", Created: now.Add(-time.Minute), Rate: -1, Operator: true}},
			{Client: Client{Name: "b", Created: now.Add(-time.Minute), Expires: expires, Rate: 30, Quota: Quota{4096, time.Hour}},
				PeriodBytes: 1024, PeriodEnds: expires, TotalBytes: 1024, LastUsed: now},
		}
		if got := c.Status(); !slices.Equal(got, want) {
			t.Errorf("%+v\nwant %+v", got, want)
		}
		if err := c.Save(); err != nil {
			t.Fatal(err)
		}
		if got, err := ListClients(path, ""); err != nil || !slices.Equal(got, want) {
			t.Errorf("ListClients: %+v, %v", got, err)
		}
	})
}

// TestNoTokenLeaks: no file, no error and no printed value has a token in it.
func TestNoTokenLeaks(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "clients.json")
	token := add(t, path, Client{Name: "web-1", Expires: time.Now().Add(time.Hour)})
	unknown, err := newToken()
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, path)
	cl := known(t, c, token)
	texts := map[string]string{
		"the client": fmt.Sprintf("%+v %#v", cl.Client, c.Status()),
		"the list":   fmt.Sprintf("%+v", c),
	}
	for name, r := range map[string]*http.Request{
		"unknown":   with("Bearer " + unknown),
		"malformed": with("Bearer " + token + "\x00"),
		"no scheme": with(token),
		"twice":     with("Bearer "+token, "Bearer "+unknown),
	} {
		if _, err := c.identify(r); err != nil {
			texts["the refusal of "+name] = fmt.Sprintf("%v %+v", err, err)
		} else {
			t.Errorf("%s was not refused", name)
		}
	}
	for _, place := range []string{
		`{"clients":[{"name":"%s","certificate":"x"}]}`, `{"clients":[{"name":"x","token_sha256":"%s"}]}`,
		`{"clients":[{"name":"x","token":"%s"}]}`, `{"clients":[{"%s":1}]}`, `{"clients":["%s"]}`, `{"clients":%q}`,
		`{"clients":[{"name":"x","certificate":"x","expires":"%s"}]}`, `{"clients":[{"name":"x","certificate":"x","quota":{"bytes":1,"period":"%s"}}]}`,
		`{"clients":[{"name":"x","certificate":"%s "}]}`, `{"%s":[]}`, `{"clients":[%s]}`,
	} {
		if _, err := parseClients("f", []byte(strings.ReplaceAll(strings.ReplaceAll(place, "%q", `"%s"`), "%s", token))); err != nil {
			texts["the error of "+place] = err.Error()
		} else {
			t.Errorf("%s is a list", place)
		}
	}
	if err := RevokeClient(path, token); !errors.Is(err, ErrNoClient) {
		t.Errorf("revoking it by its token: %v", err)
	} else {
		texts["the error of RevokeClient"] = err.Error()
	}
	if _, err := AddClient(path, Client{Name: token}); err == nil {
		t.Error("a client may be called as a token is")
	} else {
		texts["the error of AddClient"] = err.Error()
	}
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(name)] = string(data)
	}
	for where, text := range texts {
		for _, secret := range []string{token, unknown} {
			for i := len(tokenPrefix); i+8 <= len(secret); i++ {
				if strings.Contains(text, secret[i:i+8]) {
					t.Errorf("%s has a part of a token: %s", where, text)
					break
				}
			}
		}
	}
}

func TestReplaceFile(t *testing.T) {
	path := listFile(t, "old")
	if runtime.GOOS != "windows" {
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := replaceFile(path, []byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(path)
	if err != nil || after.Mode() != before.Mode() || !os.SameFile(after, info) || os.SameFile(after, before) {
		t.Errorf("%v, was %v; %v", after, before, err)
	}
	if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, []byte("new")) {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := replaceFile(filepath.Join(path, "x"), nil); err == nil {
		t.Error("a file was put in a file")
	}
	folder := filepath.Join(filepath.Dir(path), "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := replaceFile(folder, nil); err == nil {
		t.Error("a file was put in place of a folder")
	}
	if names, err := os.ReadDir(filepath.Dir(path)); err != nil || len(names) != 2 {
		t.Errorf("files were left: %v, %v", names, err)
	}
}
