package page

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/qrand"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
	"example.com/qrand/relay/internal/page/pagetest"
)

var now = time.Date(2026, 3, 3, 10, 0, 0, 0, time.UTC)

// serve is the page as a browser gets it. It adds to d what the page needs.
func serve(t *testing.T, d Data) string {
	t.Helper()
	return serveQuery(t, "", d)
}

func serveQuery(t *testing.T, query string, d Data) string {
	t.Helper()
	d.Now, d.Began, d.Limit, d.Samples = now, now.Add(-time.Hour), 16*qrypt.BlockSize, samplesAt(3, d.Account.Stock)
	w := httptest.NewRecorder()
	if err := Serve(w, httptest.NewRequest(http.MethodGet, "/"+query, nil), d); err != nil {
		t.Fatal(err)
	}
	return w.Body.String()
}

// TestUnbalanced: the page says how many bytes are missing in the account.
func TestUnbalanced(t *testing.T) {
	whole := Account{Received: 21, Stock: 1, InFlight: 2, HandedOut: 3, Lost: 7, Expired: 8}
	doc := pagetest.Parse(t, serve(t, Data{Account: whole}))
	doc.Want(t, "balance", "Balances")
	doc.WantNo(t, "unbalanced")
	whole.Received += 1025
	doc = pagetest.Parse(t, serve(t, Data{Account: whole}))
	doc.Want(t, "unbalanced", "1,025 bytes are missing")
	doc.Want(t, "balance", "Does not balance")
}

// TestHostileText: markup from clients and from the service is shown as text. The page has nothing in it that its policy forbids.
func TestHostileText(t *testing.T) {
	const evil = `<script>alert(1)</script>"><img src=x onerror=alert(2)>'` + "\u202e\x00&lt;"
	page := serve(t, Data{
		Endpoints:  []string{"https://one.example/" + evil},
		Upstream:   Upstream{Reason: qrand.Failed, LastError: "service " + evil, Endpoint: "https://" + evil},
		ClientsErr: errors.New("list " + evil),
		Clients: []clients.Status{
			{Client: clients.Client{Name: "bearer", Certificate: `"><b>&amp;'</td>`}},
			{Client: clients.Client{Name: evil, Certificate: evil}}, // the list refuses such a name; the page does not rely on that
		},
		Events: []Event{{now, evil}},
	})
	doc := pagetest.Parse(t, page)
	for _, markup := range []string{"<script", "<img", "onerror=alert(2)>", "</td></td>", "\u202e", "\x00", " style=", "<style", "javascript:", "http-equiv", "ZgotmplZ"} {
		if strings.Contains(page, markup) {
			t.Errorf("the page has %q in it", markup)
		}
	}
	shown := pagetest.Spaces(plain(evil))
	for _, id := range []string{"service", "clients", "clients-error", "last-error", "events"} {
		doc.Want(t, id, shown)
	}
	if long := plain(strings.Repeat("é", 10*plainLength)); len([]rune(long)) > plainLength+2 {
		t.Errorf("%d characters of an error are shown", len([]rune(long)))
	}
}

// TestStyleVersion: the page links the stylesheet with its version.
func TestStyleVersion(t *testing.T) {
	if !strings.Contains(serve(t, Data{}), `href="style.css?`+styleVersion+`"`) {
		t.Error("it does not")
	}
}

// TestClientRows: what an operator must act on stands out.
func TestClientRows(t *testing.T) {
	in := func(d time.Duration) time.Time { return now.Add(d) }
	for _, c := range []struct {
		status         clients.Status
		expiry, quotas level
	}{
		{clients.Status{}, "", ""},
		{clients.Status{Client: clients.Client{Expires: in(expiresSoon)}}, "", ""},
		{clients.Status{Client: clients.Client{Expires: in(expiresSoon - 1)}}, levelWarn, ""},
		{clients.Status{Client: clients.Client{Expires: in(1)}}, levelWarn, ""},
		{clients.Status{Client: clients.Client{Expires: now}}, levelBad, ""},
		{clients.Status{Client: clients.Client{Quota: clients.Quota{Bytes: 1000}}, PeriodBytes: 899}, "", ""},
		{clients.Status{Client: clients.Client{Quota: clients.Quota{Bytes: 1000}}, PeriodBytes: 900}, "", levelWarn},
		{clients.Status{Client: clients.Client{Quota: clients.Quota{Bytes: 1000}}, PeriodBytes: 1000}, "", levelBad},
		{clients.Status{Client: clients.Client{Quota: clients.Quota{Bytes: math.MaxInt64}}, PeriodBytes: math.MaxInt64}, "", levelBad},
	} {
		row := newClientRow(c.status, nil, now)
		if row.Expiry != c.expiry || row.Level != c.quotas || row.Used < 0 || row.Used > 100 {
			t.Errorf("%+v: %q and %q, %d%%", c.status, row.Expiry, row.Level, row.Used)
		}
	}
	var all []clients.Status
	for i := range clientsShown + 5 {
		all = append(all, clients.Status{Client: clients.Client{Name: fmt.Sprintf("%04d", i)}, LastUsed: in(time.Duration(i) * time.Second)})
	}
	rows, more := clientRows(all, nil, "", now)
	if len(rows) != clientsShown || more != 5 || rows[0].Name != "0005" || rows[clientsShown-1].Name != "0204" {
		t.Errorf("%d rows from %s, %d not shown", len(rows), rows[0].Name, more)
	}
}

// TestPageOfManyClients: the page shows no more clients than it has room for, and always
// those that an operator should look at. A filter finds the others.
func TestPageOfManyClients(t *testing.T) {
	for _, n := range []int{0, 1, clientsShown, clientsShown + 1, 500, 2000} {
		var all []clients.Status
		for i := range n {
			all = append(all, clients.Status{Client: clients.Client{Name: fmt.Sprintf("c%04d", i)}, LastUsed: now.Add(-time.Duration(n-i) * time.Second)})
		}
		if n > 0 { // the one that asked longest ago
			all[0].Expires = now.Add(time.Hour)
		}
		doc := pagetest.Parse(t, serve(t, Data{Clients: all}))
		if n == 0 {
			doc.Want(t, "clients", "There are none")
			doc.WantNo(t, "attention")
			continue
		}
		doc.Want(t, "attention", "c0000 expires soon")
		doc.Want(t, "clients", "c0000", fmt.Sprintf("c%04d", n-1))
		if names := regexp.MustCompile(`\bc\d{4}\b`).FindAllString(doc["clients"], -1); len(names) != min(n, clientsShown) {
			t.Errorf("%d clients: %d are shown", n, len(names))
		}
		if hidden := n - clientsShown; hidden > 0 {
			doc.Want(t, "clients", count(int64(hidden))+" more")
			doc = pagetest.Parse(t, serveQuery(t, "?client=C0001&refresh=off", Data{Clients: all}))
			if doc.Want(t, "clients", "c0001"); strings.Contains(doc["clients"], "c0002") {
				t.Error("the filter shows another client")
			}
			doc.Want(t, "attention", "c0000 expires soon")
		}
	}
}

// TestLimits: the page shows a client's rate and bandwidth.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		rate      int
		bandwidth int64
		want      string
	}{{30, 64 << 10, "30 in 10 s, 64.0 KiB/s"}, {-1, 64 << 10, "64.0 KiB/s"}, {5, -1, "5 in 10 s"}, {-1, -1, "no limit"}} {
		status := clients.Status{Client: clients.Client{Name: "web", Rate: c.rate, Bandwidth: c.bandwidth}}
		if row := newClientRow(status, nil, now); pagetest.Spaces(row.Limits) != c.want {
			t.Errorf("%+v: %q", c, row.Limits)
		}
		pagetest.Parse(t, serve(t, Data{Clients: []clients.Status{status}})).Want(t, "clients", "none "+c.want+" never")
	}
}

// TestExport: JSON and CSV have what the page shows, of all clients.
func TestExport(t *testing.T) {
	d := Data{
		Now: now, Began: now.Add(-time.Hour), Limit: 16 * qrypt.BlockSize, Samples: samplesAt(3, 0),
		Account:  Account{Received: 21, Stock: 1, InFlight: 2, HandedOut: 3, Lost: 7, Expired: 8},
		Upstream: Upstream{Up: true, LastAnswer: now, Endpoint: "https://one.example", Answered: 5, Failed: map[qrand.Reason]int64{qrand.NoSupply: 2}},
		Answers:  map[string]map[int]int64{"web": {200: 4, 429: 3}},
		Events:   []Event{{now, "a"}, {now, "b"}},
	}
	for i := range clientsShown + 1 {
		d.Clients = append(d.Clients, clients.Status{Client: clients.Client{Name: fmt.Sprint("c", i), Rate: 30}})
	}
	d.Clients = append(d.Clients, clients.Status{
		Client:      clients.Client{Name: "web", Rate: -1, Bandwidth: 2048, Expires: now.Add(time.Hour), Quota: clients.Quota{Bytes: 100, Period: 24 * time.Hour}},
		PeriodBytes: 95, PeriodEnds: now.Add(14 * time.Hour), TotalBytes: 1000, LastUsed: now,
	})
	d.Clients[0].Certificate = "=1+1"
	w := httptest.NewRecorder()
	if err := ServeJSON(w, d); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Level    string
		Account  map[string]int64
		Upstream struct {
			Up       bool
			Requests map[string]int64
		}
		Clients []map[string]any
		Events  []map[string]string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Level != "bad" || got.Account["handed_out_bytes"] != 3 || !got.Upstream.Up || got.Upstream.Requests["ok"] != 5 || got.Upstream.Requests["no_supply"] != 2 ||
		len(got.Clients) != clientsShown+2 || got.Events[0]["text"] != "b" {
		t.Errorf("%s", w.Body)
	}
	want := map[string]any{
		"name": "web", "kind": "token", "last_used": "2026-03-03T10:00:00Z", "expires": "2026-03-03T11:00:00Z",
		"answers": map[string]any{"200": 4., "429": 3.}, "handed_out_bytes": 1000., "rate": -1., "bandwidth": 2048., "quota_bytes": 100., "quota_period": "24h",
		"period_bytes": 95., "period_ends": "2026-03-04T00:00:00Z", "attention": "expires soon, has used 95% of its quota",
	}
	if web := got.Clients[clientsShown+1]; !reflect.DeepEqual(web, want) {
		t.Errorf("%v, want %v", web, want)
	}
	w = httptest.NewRecorder()
	if err := ServeCSV(w, d); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(w.Body).ReadAll()
	if err != nil || len(lines) != clientsShown+3 {
		t.Fatalf("%d lines: %v", len(lines), err)
	}
	if lines[1][2] != "'=1+1" {
		t.Errorf("a spreadsheet would compute %q", lines[1][2])
	}
	if web := strings.Join(lines[clientsShown+2], ","); web != "web,token,,2026-03-03T10:00:00Z,2026-03-03T11:00:00Z,4,3,1000,-1,2048,100,24h,95,2026-03-04T00:00:00Z,expires soon, has used 95% of its quota" {
		t.Error(web)
	}
}

// TestUnits: figures have the unit that fits.
func TestUnits(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.00 KiB", 10189: "9.95 KiB", 10240: "10.0 KiB", 102400: "100 KiB",
		1<<20 - 1: "1.00 MiB", 4 << 20: "4.00 MiB", 1 << 62: "4.00 EiB", -2048: "−2.00 KiB"} {
		if got := pagetest.Spaces(size(n)); got != want {
			t.Errorf("%d bytes are %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-time.Second: "0 s", 119 * time.Second: "119 s", 2 * time.Minute: "2 min", 59*time.Minute + 59*time.Second: "59 min",
		125 * time.Minute: "2 h 5 min", 12*time.Hour + time.Minute: "12 h", 49 * time.Hour: "2 d"} {
		if got := pagetest.Spaces(span(d)); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	for _, c := range []struct {
		n, of int64
		want  string
	}{{0, 9, "0%"}, {1, 1000, "under 1%"}, {999, 1000, "99%"}, {1000, 1000, "100%"}, {505, 1000, "50%"}, {5, 0, "0%"}} {
		if got := percent(c.n, c.of); got != c.want {
			t.Errorf("%d of %d are %q, want %q", c.n, c.of, got, c.want)
		}
	}
}

// TestContrast: in both colour schemes, text has the contrast to its background that
// WCAG 2.2 demands at level AA in 1.4.3 (4.5 to 1), and lines have that of 1.4.11 (3 to
// 1).
func TestContrast(t *testing.T) {
	light, dark, ok := strings.Cut(string(styleCSS), "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("there is no dark scheme")
	}
	colour := regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6})`)
	colours := map[string]string{}
	for scheme, text := range []string{light, dark} {
		found := colour.FindAllStringSubmatch(text, -1)
		if len(found) < 10 {
			t.Fatalf("scheme %d has %d colours", scheme, len(found))
		}
		for _, m := range found {
			colours[m[1]] = m[2]
		}
		for _, pair := range []struct {
			front, ground string
			least         float64
		}{
			{"text", "bg", 4.5}, {"text", "surface", 4.5}, {"muted", "bg", 4.5}, {"muted", "surface", 4.5}, {"accent", "bg", 4.5}, {"accent", "surface", 3},
			{"good", "surface", 4.5}, {"warn", "surface", 4.5}, {"bad", "surface", 4.5},
			{"good", "good-bg", 4.5}, {"warn", "warn-bg", 4.5}, {"bad", "bad-bg", 4.5},
			{"text", "good-bg", 4.5}, {"text", "warn-bg", 4.5}, {"text", "bad-bg", 4.5}, {"text", "wait-bg", 4.5}, {"banner-text", "banner", 4.5},
		} {
			if got := contrast(t, colours[pair.front], colours[pair.ground]); got < pair.least {
				t.Errorf("scheme %d: %s on %s has a contrast of %.2f, want %.1f", scheme, pair.front, pair.ground, got, pair.least)
			}
		}
	}
}

// contrast is WCAG's contrast ratio of two colours.
func contrast(t *testing.T, a, b string) float64 {
	luminance := func(hex string) float64 {
		n, err := strconv.ParseUint(strings.TrimPrefix(hex, "#"), 16, 32)
		if err != nil {
			t.Fatalf("%q is no colour", hex)
		}
		linear := func(shift int) float64 {
			c := float64(n>>shift&0xff) / 255
			if c <= 0.04045 {
				return c / 12.92
			}
			return math.Pow((c+0.055)/1.055, 2.4)
		}
		return 0.2126*linear(16) + 0.7152*linear(8) + 0.0722*linear(0)
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}
