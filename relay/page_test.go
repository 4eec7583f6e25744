package relay

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
	"example.com/qrand/relay/internal/page"
	"example.com/qrand/relay/internal/page/pagetest"
)

// A pageRelay is a relay in a bubble of synctest.
type pageRelay struct {
	*Relay
	t       *testing.T
	service *fakeService
	path    string // of the list of clients
	token   string // of the client web-1
}

// pageRun runs f in a bubble, with a relay of 16 blocks that has made its first
// request. Before it, prepare may change the service, unless it is nil.
func pageRun(t *testing.T, prepare func(*fakeService), f func(w *pageRelay)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &pageRelay{t: t, service: newFakeService(t), path: filepath.Join(t.TempDir(), "clients.json")}
		if prepare != nil {
			prepare(w.service)
		}
		w.token = addClient(t, w.path, clients.Client{Name: "web-1", Rate: -1, Bandwidth: -1, Quota: clients.Quota{Bytes: 8 * qrypt.BlockSize, Period: 24 * time.Hour}})
		var err error
		w.Relay, err = New(Config{Blocks: w.service, Clients: openList(t, w.path), Stock: 16, Logger: slog.New(slog.DiscardHandler)})
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

// fail waits until the stock is full, and makes the service fail from then on.
func (w *pageRelay) fail(err error) {
	time.Sleep(time.Minute)
	synctest.Wait()
	w.service.set(func() { w.service.err = err })
}

// draw asks for so many bytes as web-1.
func (w *pageRelay) draw(n int) int {
	body := strings.NewReader(fmt.Sprintf(`{"block_size":%d}`, n))
	req := httptest.NewRequest(http.MethodPost, openPath, body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+w.token)
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, req)
	synctest.Wait()
	return answer.Code
}

// get asks for a path as somebody on this host does.
func (w *pageRelay) get(path string) *httptest.ResponseRecorder {
	req := arrived(http.MethodGet, "http://localhost"+path, "127.0.0.1:1", "127.0.0.1:8443")
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, req)
	return answer
}

// page is the page as this host sees it.
func (w *pageRelay) page() pagetest.Doc {
	w.t.Helper()
	answer := w.get("/")
	if answer.Code != http.StatusOK {
		w.t.Fatalf("status %d: %s", answer.Code, answer.Body)
	}
	return pagetest.Parse(w.t, answer.Body.String())
}

func pageRateLimited() error {
	return &qrypt.Error{Endpoint: serviceURL, Class: qrypt.ErrRateLimited, StatusCode: http.StatusTooManyRequests, RetryAfter: 40 * time.Second}
}

// nextRequest is the time until the next request, as the page writes it. With its
// jitter it must be from least to most.
func (w *pageRelay) nextRequest(least, most time.Duration) string {
	w.t.Helper()
	until := time.Until(w.Upstream().NextRequest)
	if until < least || until > most {
		w.t.Errorf("the next request is due in %v, want %v to %v", until, least, most)
	}
	return fmt.Sprintf("%.0f s", until.Seconds())
}

// TestPageStates: the headline says what an operator must know, in each state.
func TestPageStates(t *testing.T) {
	t.Run("starting", func(t *testing.T) {
		pageRun(t, func(f *fakeService) { f.hang = time.Hour }, func(w *pageRelay) {
			p := w.page()
			p.Want(t, "state", "Starting: no entropy yet, clients get 503")
			p.Want(t, "upstream", "not asked yet")
			p.Want(t, "next", "under way")
			p.Want(t, "rate-out", "–")
			time.Sleep(page.SampleInterval)
			if text := w.page()["chart-text"]; text == "" || strings.Contains(text, "failed") {
				t.Errorf("a service that has not answered yet has not failed: %s", text)
			}
			p.WantNo(t, "emulated", "clients-error", "unbalanced", "last-error")
		})
	})
	t.Run("up", func(t *testing.T) {
		pageRun(t, nil, func(w *pageRelay) {
			p := w.page()
			p.Want(t, "state", "Handing out entropy")
			p.Want(t, "upstream", "up since")
			p.Want(t, "service", "Endpoints"+serviceURL+" answered last")
			p.WantNo(t, "emulated", "clients-error", "unbalanced", "last-error")
		})
	})
	t.Run("degraded with stock", func(t *testing.T) {
		pageRun(t, nil, func(w *pageRelay) {
			w.fail(pageRateLimited())
			if code := w.draw(8 * qrypt.BlockSize); code != http.StatusOK {
				t.Fatal(code)
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			p := w.page()
			next := w.nextRequest(30*time.Second, 50*time.Second)
			p.Want(t, "state", "Handing out from stock; the service fails: rate limited (429), next request in "+next, "(10 s ago)", "Find out who else uses this token, or ask whoever runs "+strings.TrimPrefix(serviceURL, "https://")+" for a higher limit")
			p.Want(t, "upstream", "fails since")
			p.Want(t, "next", "in "+next)
			p.Want(t, "last-error", "too many requests", "HTTP 429")
			p.Want(t, "results", "rate_limited rate limited (429)1")
			p.Want(t, "chart-text", "The service failed for 10 s")
			p.Want(t, "events", "no entropy from the service: rate limited (429)")
		})
	})
	t.Run("dry", func(t *testing.T) {
		pageRun(t, func(f *fakeService) { f.err = pageRateLimited() }, func(w *pageRelay) {
			time.Sleep(20 * time.Second)
			if code := w.draw(1); code != http.StatusServiceUnavailable {
				t.Fatal(code)
			}
			p := w.page()
			p.Want(t, "state", "Out of stock: clients get 503", "Since", "(20 s ago)", "rate limited (429); next request in "+w.nextRequest(20*time.Second, 40*time.Second))
			p.Want(t, "statuses", "503 too little in stock1")
		})
	})
	t.Run("emptied", func(t *testing.T) {
		pageRun(t, nil, func(w *pageRelay) {
			w.fail(pageRateLimited())
			w.stock.draw(make([]byte, 16*qrypt.BlockSize), time.Now(), nil)
			w.stock.sent(16*qrypt.BlockSize, true)
			w.wakeRefiller()
			time.Sleep(page.SampleInterval)
			synctest.Wait()
			p := w.page()
			p.Want(t, "state", "Out of stock: clients get 503", "The service fails")
			events := p["events"]
			if first, last := strings.Index(events, "out of stock: clients get 503"), strings.Index(events, "the relay starts"); first < 0 || last < first {
				t.Errorf("no event of it, or not the newest first: %s", events)
			}
		})
	})
	t.Run("less than a block", func(t *testing.T) {
		pageRun(t, nil, func(w *pageRelay) {
			w.fail(pageRateLimited())
			w.stock.draw(make([]byte, 16*qrypt.BlockSize-100), time.Now(), nil)
			w.stock.sent(16*qrypt.BlockSize-100, true)
			w.wakeRefiller()
			time.Sleep(time.Minute)
			w.page().Want(t, "state", "Out of whole blocks: most clients get 503")
		})
	})
	t.Run("emulated", func(t *testing.T) {
		pageRun(t, func(f *fakeService) { f.emulated = true }, func(w *pageRelay) {
			p := w.page()
			p.Want(t, "emulated", "EMULATED", "not quantum entropy")
			p.Want(t, "state", "Handing out emulated entropy")
			p.Want(t, "events", "the entropy is EMULATED")
		})
	})
	t.Run("the list of clients is broken", func(t *testing.T) {
		pageRun(t, nil, func(w *pageRelay) {
			if err := os.WriteFile(w.path, []byte(`{"clients": [{"name": "web-1", "quotas": 7}]}`), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second)
			synctest.Wait()
			p := w.page()
			p.Want(t, "clients-error", "the one before it holds", "quotas")
			p.Want(t, "clients", "web-1")
			p.Want(t, "events", "the list of clients has an error")
		})
	})
}

// TestPageEndpoints: the endpoints are shown in order, even if only one has answered.
func TestPageEndpoints(t *testing.T) {
	bubble(t, func(t *testing.T) {
		one, two := newFakeService(t), newFakeService(t)
		one.err = &qrypt.Error{StatusCode: http.StatusUnauthorized, Class: qrypt.ErrUnauthorized}
		o := newTestRelay(t, Config{Stock: 4, Blocks: supply.Preferred{clientOf(one, "https://one.test"), clientOf(two, "https://two.test")}})
		w := &pageRelay{Relay: o.Relay, t: t}
		w.page().Want(t, "service", "Endpointshttps://one.test https://two.test answered last")
	})
}

// TestPageFigures: each figure is the one that the relay counted.
func TestPageFigures(t *testing.T) {
	pageRun(t, nil, func(w *pageRelay) {
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
		w.counts.add("web-2", http.StatusForbidden, 0)
		// What the network does not take, and what is being written.
		w.stock.draw(make([]byte, 700), time.Now(), nil)
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
			if got := strings.ReplaceAll(p[id], ",", ""); got != strconv.FormatInt(n, 10) {
				t.Errorf("#%s is %q, want %d", id, got, n)
			}
		}
		if p["stock"] != fmt.Sprintf("%.1f KiB", float64(account.Stock)/1024) {
			t.Errorf("stock %q of %d bytes", p["stock"], account.Stock)
		}
		p.Want(t, "balance", "Balances")
		p.Want(t, "results", fmt.Sprint("ok good blocks", up.Answered))
		p.Want(t, "statuses", "200 entropy handed out3", "401 no valid token1", "403 client's quota used up2")
		if got := w.sample(time.Now()).Requests; got != 3+1+2 {
			t.Errorf("%d requests in the sample of all clients and answers", got)
		}
		// 3000 bytes in a minute, from the sample at the relay's begin.
		p.Want(t, "rate-out", "50 B/s")
		p.Want(t, "clients", "2.93 KiB of 8.00 KiB per 24h", "no limit", "1 × 403")
	})
}

// TestPageSecrets: no token and no hash of one is on the page.
func TestPageSecrets(t *testing.T) {
	pageRun(t, nil, func(w *pageRelay) {
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

// TestPageHeaders: the page can load nothing but its stylesheet and can send a form only to itself.
// It refreshes by itself unless it is held, and is for operators; the stylesheet is
// for everybody.
func TestPageHeaders(t *testing.T) {
	pageRun(t, nil, func(w *pageRelay) {
		h := w.get("/").Header()
		for name, want := range map[string]string{
			"Content-Type":            "text/html; charset=utf-8",
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
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
		style := far(page.StylePath)
		if style.Code != http.StatusOK || style.Header().Get("Content-Type") != "text/css; charset=utf-8" || style.Body.Len() > 8<<10 {
			t.Errorf("the stylesheet: %d, %s, %d bytes", style.Code, style.Header().Get("Content-Type"), style.Body.Len())
		}
	})
}
