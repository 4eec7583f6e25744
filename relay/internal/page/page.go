// Package page is a relay's status page: what an operator sees in a browser. It has
// no script, and shows what it is given.
package page

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/clock"
	"example.com/qrand/internal/version"
	"example.com/qrand/relay/clients"
)

// Data is what the page shows, all of one moment.
type Data struct {
	Now, Began time.Time
	Account    Account
	Limit      int64         // of the stock, in bytes
	MaxAge     time.Duration // of a block; zero: none
	Samples    []Sample      // oldest first; the last is of now
	Upstream   Upstream
	Endpoints  []string                 // that are asked, as far as is known
	Answers    map[string]map[int]int64 // how often a client got an HTTP status; empty name: not known
	Clients    []clients.Status         // by name
	ClientsErr error                    // why the list as it is now is not in force
	UsageErr   error                    // why what clients use is not being saved
	Events     []Event                  // oldest first
}

// An Account is a relay.Account.
type Account struct{ Received, Stock, InFlight, HandedOut, Lost, Expired int64 }

// An Upstream is a relay.Upstream.
type Upstream struct {
	Up            bool
	Reason        qrand.Reason
	Since         time.Time
	LastError     string
	LastAnswer    time.Time
	NextRequest   time.Time
	Endpoint      string
	Emulated      bool
	Answered      int64
	Failed        map[qrand.Reason]int64
	RefusedBlocks int64
}

// StylePath is where the page has its stylesheet. That is public: it tells nothing.
const StylePath = "/style.css"

var (
	//go:embed page.html
	pageHTML string
	//go:embed style.css
	styleCSS []byte

	pageTemplate = template.Must(template.New("page").Funcs(pageFuncs).Parse(pageHTML))

	// styleVersion lets browsers keep the stylesheet until there is another.
	styleVersion = func() string {
		sum := sha256.Sum256(styleCSS)
		return hex.EncodeToString(sum[:4])
	}()
)

// pageRefresh is how often the page loads itself again, in seconds.
const pageRefresh = 5

// pagePolicy lets the page have its stylesheet, its icon and a form that comes back to it.
// It has no script and no frame, and what an attacker gets into it can have none either.
const pagePolicy = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Serve shows the page. With refresh=off in the query it stays as it is, and with
// client=TEXT it shows the clients with TEXT in their names. If it returns an error,
// nothing has been written.
func Serve(w http.ResponseWriter, req *http.Request, d Data) error {
	query := req.URL.Query()
	v := newView(d, query.Get("client"))
	v.Refresh = query.Get("refresh") != "off"
	var page bytes.Buffer
	if err := pageTemplate.Execute(&page, v); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(page.Len()))
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer")
	if v.Refresh {
		h.Set("Refresh", strconv.Itoa(pageRefresh))
	}
	w.Write(page.Bytes())
	return nil
}

// ServeStyle answers with the stylesheet.
func ServeStyle(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/css; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(styleCSS)))
	h.Set("Cache-Control", "max-age=86400")
	w.Write(styleCSS)
}

// A view is Data as page.html reads it.
type view struct {
	Data
	Refresh    bool
	Version    string
	Style      string // the stylesheet's version
	Headline   headline
	Rates      rates
	Chart      chart
	Results    []tally // of requests to the service
	Statuses   []tally // of answers to clients
	Filter     string  // what the names of the clients in Rows contain
	Rows       []clientRow
	Hidden     int64         // clients that are not shown
	Attention  []clientAlert // clients that an operator should look at, whatever the filter
	MoreAlerts int64         // such clients that are not in Attention
	emptySince time.Time
}

// A clientAlert is why an operator should look at a client.
type clientAlert struct{ Name, Text string }

// alertsShown is how many of them the page has room for.
const alertsShown = 10

// A tally is how often something was the result.
type tally struct {
	Result  string
	Meaning string
	Level   level
	Count   int64
}

func newView(d Data, filter string) *view {
	d.Events = slices.Clone(d.Events)
	slices.Reverse(d.Events) // the newest first
	if at := d.Upstream.Endpoint; at != "" && !slices.Contains(d.Endpoints, at) {
		d.Endpoints = append(slices.Clone(d.Endpoints), at)
	}
	v := &view{
		Data:       d,
		Filter:     filter,
		Version:    version.Get(),
		Style:      styleVersion,
		Rates:      ratesOf(d.Samples),
		Chart:      drawChart(d.Samples, d.Limit),
		Results:    results(d.Upstream),
		Statuses:   statuses(d.Answers),
		emptySince: emptySince(d.Samples),
	}
	rows, hidden := clientRows(d.Clients, d.Answers, filter, d.Now)
	v.Rows, v.Hidden = rows, int64(hidden)
	for _, st := range d.Clients {
		switch text := newClientRow(st, nil, d.Now).attention(); {
		case text == "":
		case len(v.Attention) < alertsShown:
			v.Attention = append(v.Attention, clientAlert{st.Name, text})
		default:
			v.MoreAlerts++
		}
	}
	v.Headline = v.headline()
	return v
}

func results(up Upstream) []tally {
	all := []tally{{Result: "ok", Meaning: "good blocks", Count: up.Answered}}
	for _, reason := range slices.Sorted(maps.Keys(up.Failed)) {
		all = append(all, tally{Result: string(reason), Meaning: reason.String(), Level: levelWarn, Count: up.Failed[reason]})
	}
	return all
}

func statuses(answers map[string]map[int]int64) []tally {
	sum := map[int]int64{}
	for _, counts := range answers {
		for status, n := range counts {
			sum[status] += n
		}
	}
	var all []tally
	for _, status := range slices.Sorted(maps.Keys(sum)) {
		t := tally{Result: strconv.Itoa(status), Meaning: cmp.Or(statusMeanings[status], http.StatusText(status)), Count: sum[status]}
		if status >= 500 { // the relay's own failures; clients' mistakes and limits are normal
			t.Level = levelBad
		}
		all = append(all, t)
	}
	return all
}

var statusMeanings = map[int]string{
	http.StatusOK:                  "entropy handed out",
	http.StatusBadRequest:          "malformed request",
	http.StatusUnauthorized:        "no valid token",
	http.StatusForbidden:           "client's quota used up",
	http.StatusMethodNotAllowed:    "wrong method",
	http.StatusUnprocessableEntity: "malformed request (Open API)",
	http.StatusTooManyRequests:     "client's rate or bandwidth",
	499:                            "client went away first", // relay's statusGone
	http.StatusInternalServerError: "the relay's own error",
	http.StatusServiceUnavailable:  "too little in stock",
}

// Balances reports whether the account does. If it ever does not, the relay has an
// error.
func (v *view) Balances() bool { return v.Unaccounted() == 0 }

// Unaccounted is by how many bytes the account does not balance.
func (v *view) Unaccounted() int64 {
	a := v.Account
	return a.Received - a.Stock - a.InFlight - a.HandedOut - a.Lost - a.Expired
}

// Uptime is for how long the relay has run.
func (v *view) Uptime() string { return span(clock.Age(v.Now, v.Began)) }
