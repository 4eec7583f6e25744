package relay

import (
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// pageSource gives blocks, or fails.
type pageSource struct {
	mu       sync.Mutex
	err      error
	endpoint string
	emulated bool
	hang     bool
}

func (s *pageSource) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hang {
		s.mu.Unlock()
		<-ctx.Done()
		s.mu.Lock()
		return nil, ctx.Err()
	}
	if s.err != nil {
		return nil, s.err
	}
	var blocks []qrypt.Block
	for range n {
		p := make([]byte, qrypt.BlockSize)
		rand.Read(p)
		b, err := qrypt.NewBlock(p, qrypt.Origin{Endpoint: s.endpoint, Emulated: s.emulated})
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// pageWorld is a relay in a bubble of synctest.
type pageWorld struct {
	*Relay
	t      *testing.T
	source *pageSource
	path   string // of the list of clients
	token  string // of the client web-1
}

const pageOrigin = "https://one.test"

// pageRun runs f in a bubble, with a relay of 16 blocks whose first request has
// ended.
func pageRun(t *testing.T, source *pageSource, f func(w *pageWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if source.endpoint == "" {
			source.endpoint = pageOrigin
		}
		w := &pageWorld{t: t, source: source, path: filepath.Join(t.TempDir(), "clients.json")}
		var err error
		if w.token, err = clients.Add(w.path, clients.Client{Name: "web-1", Rate: -1, Quota: clients.Quota{Bytes: 8 * qrypt.BlockSize, Period: 24 * time.Hour}}); err != nil {
			t.Fatal(err)
		}
		list, err := clients.Open(w.path, "")
		if err != nil {
			t.Fatal(err)
		}
		w.Relay, err = New(Config{Blocks: source, Clients: list, Stock: 16, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f(w)
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

// fail has the stock filled, and the service fail from then on.
func (w *pageWorld) fail(err error) {
	time.Sleep(time.Minute)
	synctest.Wait()
	w.source.mu.Lock()
	defer w.source.mu.Unlock()
	w.source.err = err
}

// draw has web-1 ask for so many bytes.
func (w *pageWorld) draw(n int) int {
	body := strings.NewReader(fmt.Sprintf(`{"block_size":%d}`, n))
	req := httptest.NewRequest(http.MethodPost, openPath, body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+w.token)
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, req)
	synctest.Wait()
	return answer.Code
}

// get asks for a path as somebody at the machine does.
func (w *pageWorld) get(path string) *httptest.ResponseRecorder {
	req := arrived(http.MethodGet, "http://localhost"+path, "127.0.0.1:1", "127.0.0.1:8443")
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, req)
	return answer
}

// page is the page, as its elements with an id have it.
func (w *pageWorld) page() pageDoc {
	w.t.Helper()
	answer := w.get("/")
	if answer.Code != http.StatusOK {
		w.t.Fatalf("status %d: %s", answer.Code, answer.Body)
	}
	return pageParse(w.t, answer.Body.String())
}

// A pageDoc is the text of each element with an id, of whole the document.
type pageDoc struct {
	whole string
	text  map[string]string
	ids   []string
}

// pageParse reads a page as XML, which it is: every element is closed, and every
// attribute is quoted.
func pageParse(t *testing.T, page string) pageDoc {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	doc := pageDoc{text: map[string]string{}}
	var open []string // the ids of the elements that are open
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("the page does not parse: %v\n%s", err, page)
		}
		switch token := token.(type) {
		case xml.StartElement:
			id := ""
			for _, a := range token.Attr {
				if a.Name.Local == "id" {
					id = a.Value
					doc.ids = append(doc.ids, id)
				}
			}
			open = append(open, id)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			for _, id := range open {
				if id != "" {
					doc.text[id] += string(token)
				}
			}
			doc.whole += string(token)
		}
	}
	for id, text := range doc.text {
		doc.text[id] = pageSpaces(text)
	}
	doc.whole = pageSpaces(doc.whole)
	return doc
}

func pageSpaces(s string) string { return strings.Join(strings.Fields(s), " ") }

func (d pageDoc) want(t *testing.T, id string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(d.text[id], text) {
			t.Errorf("#%s does not say %q: %s", id, text, d.text[id])
		}
	}
}

func (d pageDoc) wantNo(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if text, ok := d.text[id]; ok {
			t.Errorf("there is #%s: %s", id, text)
		}
	}
}

func pageRateLimited() error {
	return &qrypt.Error{Endpoint: pageOrigin, Class: qrypt.ErrRateLimited, StatusCode: http.StatusTooManyRequests, RetryAfter: 40 * time.Second}
}

// nextRequest is in how long it is due, as the page says that: some time from
// least to most, for there is jitter in it.
func (w *pageWorld) nextRequest(least, most time.Duration) string {
	w.t.Helper()
	until := time.Until(w.Upstream().NextRequest)
	if until < least || until > most {
		w.t.Errorf("the next request is due in %v, want %v to %v", until, least, most)
	}
	return strings.ReplaceAll(span(until), "\u00a0", " ")
}

// TestPageStates: the headline is what an operator must know, in each state.
func TestPageStates(t *testing.T) {
	t.Run("starting", func(t *testing.T) {
		pageRun(t, &pageSource{hang: true}, func(w *pageWorld) {
			p := w.page()
			p.want(t, "state", "Starting: no entropy yet, clients get 503")
			p.want(t, "upstream", "not asked yet")
			p.want(t, "next", "under way")
			p.want(t, "rate-out", "–")
			time.Sleep(historyStep)
			if text := w.page().text["chart-text"]; text == "" || strings.Contains(text, "failed") {
				t.Errorf("a service that has not answered yet has not failed: %s", text)
			}
			p.wantNo(t, "emulated", "clients-error", "unbalanced", "last-error")
		})
	})
	t.Run("up", func(t *testing.T) {
		pageRun(t, &pageSource{}, func(w *pageWorld) {
			p := w.page()
			p.want(t, "state", "Handing out entropy")
			p.want(t, "upstream", "up since")
			p.want(t, "service", "Endpoints"+pageOrigin+" answered last")
			p.wantNo(t, "emulated", "clients-error", "unbalanced", "last-error")
		})
	})
	t.Run("degraded with stock", func(t *testing.T) {
		pageRun(t, &pageSource{}, func(w *pageWorld) {
			w.fail(pageRateLimited())
			if code := w.draw(8 * qrypt.BlockSize); code != http.StatusOK {
				t.Fatal(code)
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			p := w.page()
			next := w.nextRequest(30*time.Second, 50*time.Second)
			p.want(t, "state", "Handing out from stock; the service fails: rate limited (429), next request in "+next, "(10 s ago)", "Find out who else uses this token, or ask whoever runs "+strings.TrimPrefix(pageOrigin, "https://")+" for a higher limit")
			p.want(t, "upstream", "fails since")
			p.want(t, "next", "in "+next)
			p.want(t, "last-error", "too many requests", "HTTP 429")
			p.want(t, "results", "rate_limited rate limited (429)1")
			p.want(t, "chart-text", "The service failed for 10 s")
			p.want(t, "events", "no entropy from the service: rate limited (429)")
		})
	})
	t.Run("dry", func(t *testing.T) {
		pageRun(t, &pageSource{err: pageRateLimited()}, func(w *pageWorld) {
			time.Sleep(20 * time.Second)
			if code := w.draw(1); code != http.StatusServiceUnavailable {
				t.Fatal(code)
			}
			p := w.page()
			p.want(t, "state", "Out of stock: clients get 503", "Since", "(20 s ago)", "rate limited (429); next request in "+w.nextRequest(20*time.Second, 40*time.Second))
			p.want(t, "statuses", "503 too little in stock1")
		})
	})
	t.Run("emptied", func(t *testing.T) {
		pageRun(t, &pageSource{}, func(w *pageWorld) {
			w.fail(pageRateLimited())
			w.stock.take(make([]byte, 16*qrypt.BlockSize), time.Now())
			w.stock.sent(16*qrypt.BlockSize, true)
			w.wakeRefiller()
			time.Sleep(historyStep)
			synctest.Wait()
			p := w.page()
			p.want(t, "state", "Out of stock: clients get 503", "The service fails")
			events := p.text["events"]
			if first, last := strings.Index(events, "out of stock: clients get 503"), strings.Index(events, "the relay starts"); first < 0 || last < first {
				t.Errorf("no event of it, or not the newest first: %s", events)
			}
		})
	})
	t.Run("less than a block", func(t *testing.T) {
		pageRun(t, &pageSource{}, func(w *pageWorld) {
			w.fail(pageRateLimited())
			w.stock.take(make([]byte, 16*qrypt.BlockSize-100), time.Now())
			w.stock.sent(16*qrypt.BlockSize-100, true)
			w.wakeRefiller()
			time.Sleep(time.Minute)
			w.page().want(t, "state", "Out of whole blocks: most clients get 503")
		})
	})
	t.Run("emulated", func(t *testing.T) {
		pageRun(t, &pageSource{emulated: true}, func(w *pageWorld) {
			p := w.page()
			p.want(t, "emulated", "EMULATED", "not quantum entropy")
			p.want(t, "state", "Handing out emulated entropy")
			p.want(t, "events", "the entropy is EMULATED")
		})
	})
	t.Run("the list of clients is broken", func(t *testing.T) {
		pageRun(t, &pageSource{}, func(w *pageWorld) {
			if err := os.WriteFile(w.path, []byte(`{"clients": [{"name": "web-1", "quotas": 7}]}`), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second)
			synctest.Wait()
			p := w.page()
			p.want(t, "clients-error", "the one before it holds", "quotas")
			p.want(t, "clients", "web-1")
			p.want(t, "events", "the list of clients has an error")
		})
	})
}

// TestPageEndpoints: those that are asked are shown in order, though only one has
// answered.
func TestPageEndpoints(t *testing.T) {
	bubble(t, func(t *testing.T) {
		one, two := newFakeService(t), newFakeService(t)
		one.err = &qrypt.Error{StatusCode: http.StatusUnauthorized, Class: qrypt.ErrUnauthorized}
		o := newOffice(t, Config{Stock: 4, Blocks: supply.Preferred{clientOf(one, "https://one.test"), clientOf(two, "https://two.test")}})
		w := &pageWorld{Relay: o.Relay, t: t}
		w.page().want(t, "service", "Endpointshttps://one.test https://two.test answered last")
	})
}

// TestPageFigures: each figure is the one that a program gets.
func TestPageFigures(t *testing.T) {
	pageRun(t, &pageSource{}, func(w *pageWorld) {
		for range 3 {
			if code := w.draw(1000); code != http.StatusOK {
				t.Fatal(code)
			}
		}
		if code := w.draw(6 * qrypt.BlockSize); code != http.StatusForbidden {
			t.Fatal(code)
		}
		w.token += "x"
		if code := w.draw(32); code != http.StatusUnauthorized {
			t.Fatal(code)
		}
		w.metrics.count("web-2", http.StatusForbidden, 0.001, 0)
		// What the network does not take, and what is being written.
		w.stock.take(make([]byte, 700), time.Now())
		w.stock.sent(300, false)
		w.upstream.refused(12345)
		time.Sleep(time.Minute)
		p, account, up := w.page(), w.Account(), w.Upstream()
		if account.InFlight != 400 || account.Lost != 300 || account.HandedOut != 3000 {
			t.Fatalf("%+v", account)
		}
		for id, n := range map[string]int64{
			"received": account.Received, "account-stock": account.Stock, "in-flight": account.InFlight,
			"handed-out": account.HandedOut, "lost": account.Lost, "expired": account.Expired, "refused": up.RefusedBlocks,
		} {
			if got := strings.ReplaceAll(p.text[id], ",", ""); got != strconv.FormatInt(n, 10) {
				t.Errorf("#%s is %q, want %d", id, got, n)
			}
		}
		if p.text["stock"] != pageSpaces(size(account.Stock)) {
			t.Errorf("stock %q of %d bytes", p.text["stock"], account.Stock)
		}
		p.want(t, "balance", "Balances")
		p.want(t, "results", "ok good blocks"+count(up.Answered))
		p.want(t, "statuses", "200 entropy handed out3", "401 no valid token1", "403 client's quota used up2")
		if got := w.sample(time.Now(), w.metrics.answers()).Requests; got != 3+1+2 {
			t.Errorf("%d requests in the sample of all clients and answers", got)
		}
		// 3000 bytes in a minute, from the sample at the relay's begin.
		p.want(t, "rate-out", "50 B/s")
		p.want(t, "clients", "2.93 KiB of 8.00 KiB per 24h", "no limit", "1 × 403")
	})
}

// TestPageUnbalanced: an account with a hole is not called balanced.
func TestPageUnbalanced(t *testing.T) {
	pageRun(t, &pageSource{}, func(w *pageWorld) {
		w.stock.mu.Lock()
		w.stock.account.Received += 1025
		w.stock.mu.Unlock()
		p := w.page()
		p.want(t, "unbalanced", "1,025 bytes are missing")
		p.want(t, "balance", "Does not balance")
	})
}

// TestPageHostile: what clients and the service write is text, whatever it is.
func TestPageHostile(t *testing.T) {
	const evil = `<script>alert(1)</script>"><img src=x onerror=alert(2)>'` + "\u202e\x00&lt;"
	source := &pageSource{endpoint: "https://" + evil}
	pageRun(t, source, func(w *pageWorld) {
		if _, err := clients.Add(w.path, clients.Client{Name: "bearer", Certificate: `"><b>&amp;'</td>`}); err != nil {
			t.Fatal(err)
		}
		w.upstream.failed(qrand.Failed, errors.New("service "+evil), true, time.Now())
		w.events.add(time.Now(), evil)
		page := w.get("/").Body.String()
		doc := pageParse(t, page)
		for _, markup := range []string{"<script", "<img", "onerror=alert(2)>", "</td></td>", "\u202e", "\x00"} {
			if strings.Contains(page, markup) {
				t.Errorf("the page has %q in it", markup)
			}
		}
		shown := pageSpaces(plain(evil))
		for _, id := range []string{"service", "last-error", "events"} {
			doc.want(t, id, shown)
		}
		if long := plain(strings.Repeat("é", 10*plainLength)); len([]rune(long)) > plainLength+2 {
			t.Errorf("%d characters of an error are shown", len([]rune(long)))
		}
	})
}

// TestPageSecrets: no token and no hash of one is on the page.
func TestPageSecrets(t *testing.T) {
	pageRun(t, &pageSource{}, func(w *pageWorld) {
		file, err := os.ReadFile(w.path)
		if err != nil {
			t.Fatal(err)
		}
		hash := regexp.MustCompile(`[0-9a-f]{64}`).FindString(string(file))
		page := w.get("/").Body.String()
		if hash == "" || strings.Contains(page, hash) || strings.Contains(page, w.token) || strings.Contains(page, "qrelay_") {
			t.Error("it is, or the file has none")
		}
	})
}

// TestPageHeaders: the page can load and send nothing, refreshes by itself unless
// it is held, and is for operators; the stylesheet is for all.
func TestPageHeaders(t *testing.T) {
	pageRun(t, &pageSource{}, func(w *pageWorld) {
		h := w.get("/").Header()
		for name, want := range map[string]string{
			"Content-Type":            "text/html; charset=utf-8",
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
			"Referrer-Policy":         "no-referrer",
			"X-Content-Type-Options":  "nosniff",
			"Cache-Control":           "no-store",
			"Refresh":                 "5",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if held := w.get("/?refresh=off"); held.Header().Get("Refresh") != "" || !strings.Contains(held.Body.String(), "refresh again") {
			t.Error("a page that is held refreshes, or does not say that it is held")
		}
		far := func(path string) *httptest.ResponseRecorder {
			answer := httptest.NewRecorder()
			w.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil)) // from 192.0.2.1
			return answer
		}
		if answer := far("/"); answer.Code != http.StatusUnauthorized || strings.Contains(answer.Body.String(), "stock") {
			t.Errorf("the page for anybody: %d", answer.Code)
		}
		style := far(stylePath)
		if style.Code != http.StatusOK || style.Header().Get("Content-Type") != "text/css; charset=utf-8" || style.Body.Len() > 8<<10 {
			t.Errorf("the stylesheet: %d, %s, %d bytes", style.Code, style.Header().Get("Content-Type"), style.Body.Len())
		}
		page := w.get("/").Body.String()
		if !strings.Contains(page, `href="style.css?`+styleVersion+`"`) {
			t.Error("the page does not link the stylesheet with its version")
		}
		for _, forbidden := range []string{"<script", " style=", "<style", "javascript:", "http-equiv"} {
			if strings.Contains(page, forbidden) {
				t.Errorf("the page has %q, which its policy forbids", forbidden)
			}
		}
		if strings.Contains(page, "ZgotmplZ") {
			t.Error("html/template has refused something on the page")
		}
	})
}

// TestPageIDs: none is there twice.
func TestPageIDs(t *testing.T) {
	pageRun(t, &pageSource{}, func(w *pageWorld) {
		seen := map[string]bool{}
		for _, id := range w.page().ids {
			if seen[id] {
				t.Errorf("#%s is there twice", id)
			}
			seen[id] = true
		}
	})
}

// TestPageClients: what an operator must act on stands out.
func TestPageClients(t *testing.T) {
	now := time.Date(2026, 3, 3, 10, 0, 0, 0, time.UTC)
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
	rows, more := clientRows(all, nil, now)
	if len(rows) != clientsShown || more != 5 || rows[0].Name != "0005" || rows[clientsShown-1].Name != "0204" {
		t.Errorf("%d rows from %s, %d not shown", len(rows), rows[0].Name, more)
	}
}

// TestPageWords: the units fit the figures.
func TestPageWords(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.00 KiB", 10189: "9.95 KiB", 10240: "10.0 KiB", 102400: "100 KiB",
		1<<20 - 1: "1.00 MiB", 4 << 20: "4.00 MiB", 1 << 62: "4.00 EiB", -2048: "−2.00 KiB"} {
		if got := pageSpaces(size(n)); got != want {
			t.Errorf("%d bytes are %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-time.Second: "0 s", 119 * time.Second: "119 s", 2 * time.Minute: "2 min", 59*time.Minute + 59*time.Second: "59 min",
		125 * time.Minute: "2 h 5 min", 12*time.Hour + time.Minute: "12 h", 49 * time.Hour: "2 d"} {
		if got := pageSpaces(span(d)); got != want {
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

// TestPageContrast: text has the contrast to its ground that WCAG 2.2 wants at
// level AA (1.4.3: 4.5 to 1), and what is drawn that of 1.4.11 (3 to 1), in both
// colour schemes.
func TestPageContrast(t *testing.T) {
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
			if got := pageContrast(t, colours[pair.front], colours[pair.ground]); got < pair.least {
				t.Errorf("scheme %d: %s on %s has a contrast of %.2f, want %.1f", scheme, pair.front, pair.ground, got, pair.least)
			}
		}
	}
}

// pageContrast is WCAG's contrast ratio of two colours.
func pageContrast(t *testing.T, a, b string) float64 {
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
