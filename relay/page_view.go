package relay

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/qrand/internal/version"
	"example.com/qrand/qrypt"
)

// A view is what the page shows, all of one moment.
type view struct {
	Now, Began time.Time
	Version    string
	Refresh    bool
	Style      string // the stylesheet's version
	Headline   headline
	Account    Account
	Limit      int64         // of the stock, in bytes
	MaxAge     time.Duration // zero: none
	Rates      rates
	Chart      chart
	Upstream   Upstream
	Endpoints  []string // that are asked, as far as is known
	Results    []tally  // requests to the service
	Clients    []clientRow
	Hidden     int    // clients that are not shown
	ClientsErr string // why the list as it is now is not in force
	Statuses   []tally
	Events     []event // newest first
	emptySince time.Time
}

// A tally is how often something was the result.
type tally struct {
	Result  string
	Meaning string
	Level   level
	Count   int64
}

func (r *Relay) view(now time.Time) *view {
	answers := r.metrics.answers()
	samples := append(r.history.list(), r.sample(now, answers))
	v := &view{
		Now:      now,
		Began:    r.began,
		Version:  version.Get(),
		Style:    styleVersion,
		Account:  r.Account(),
		Limit:    int64(r.cfg.Stock) * qrypt.BlockSize,
		MaxAge:   r.cfg.MaxAge,
		Rates:    ratesOf(samples),
		Upstream: r.Upstream(),
		Events:   r.events.list(),
		Statuses: statuses(answers),
	}
	v.Chart = drawChart(samples, v.Limit)
	v.emptySince = emptySince(samples)
	v.Results = results(v.Upstream)
	slices.Reverse(v.Events)
	v.Endpoints = r.endpoints
	if at := v.Upstream.Endpoint; at != "" && !slices.Contains(v.Endpoints, at) {
		v.Endpoints = append(slices.Clone(v.Endpoints), at)
	}
	v.Clients, v.Hidden = clientRows(r.cfg.Clients.Status(), answers, now)
	if err := r.cfg.Clients.Err(); err != nil {
		v.ClientsErr = err.Error()
	}
	v.Headline = v.headline()
	return v
}

func (r *Relay) sample(now time.Time, answers map[string]map[int]int64) sample {
	account, up := r.Account(), r.Upstream()
	s := sample{Time: now, Stock: account.Stock, Received: account.Received, HandedOut: account.HandedOut,
		Failing: !up.Up && up.Reason != ""}
	for _, counts := range answers {
		for _, n := range counts {
			s.Requests += n
		}
	}
	return s
}

// answers are the requests by client and status, as /metrics has them.
func (m *metrics) answers() map[string]map[int]int64 {
	all := map[string]map[int]int64{}
	requests := prometheus.NewRegistry() // of these alone: gathering all costs more
	requests.MustRegister(m.requests)
	families, _ := requests.Gather()
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range metric.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			status, _ := strconv.Atoi(labels["status"])
			client := labels["client"]
			if all[client] == nil {
				all[client] = map[int]int64{}
			}
			all[client][status] += int64(metric.GetCounter().GetValue())
		}
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
		all = append(all, tally{strconv.Itoa(status), cmp.Or(statusMeanings[status], http.StatusText(status)), statusLevel(status), sum[status]})
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
	http.StatusTooManyRequests:     "client's rate limit",
	statusGone:                     "client went away first",
	http.StatusInternalServerError: "the relay's own error",
	http.StatusServiceUnavailable:  "too little in stock",
}

// statusLevel: of the relay's own failures an operator is to know at a glance;
// clients' mistakes and limits are a matter of course.
func statusLevel(status int) level {
	if status >= 500 {
		return levelBad
	}
	return ""
}

func results(up Upstream) []tally {
	all := []tally{{Result: "ok", Meaning: "good blocks", Count: up.Answered}}
	for _, reason := range slices.Sorted(maps.Keys(up.Failed)) {
		all = append(all, tally{Result: string(reason), Meaning: reason.String(), Level: levelWarn, Count: up.Failed[reason]})
	}
	return all
}

// emptySince is the first of the samples since which there was no whole block in
// stock, as far as they tell; zero if there is one, or only the last tells.
func emptySince(samples []sample) (since time.Time) {
	for i, s := range slices.Backward(samples) {
		if s.Stock >= qrypt.BlockSize {
			break
		}
		if i < len(samples)-1 {
			since = s.Time
		}
	}
	return since
}

// Balances reports whether the account does. If it ever does not, there is an
// error in this package.
func (v *view) Balances() bool { return v.Unaccounted() == 0 }

// Unaccounted is by how much the account does not balance.
func (v *view) Unaccounted() int64 {
	a := v.Account
	return a.Received - a.Stock - a.InFlight - a.HandedOut - a.Lost - a.Expired
}
