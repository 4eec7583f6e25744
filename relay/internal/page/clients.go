package page

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/qrand/relay/clients"
)

// clientsShown is how many clients the page has room for.
const clientsShown = 200

// expiresSoon is when an operator should think of a new token.
const expiresSoon = 7 * 24 * time.Hour

// A clientRow is a client as the page shows it.
type clientRow struct {
	clients.Status
	Kind     string
	Limits   string // of its rate and bandwidth
	Expiry   level  // empty: not soon
	Used     int    // percent of the quota
	Level    level  // empty: enough is left
	Requests int64  // that got entropy
	Refused  string // how often with which status
}

// attention says what an operator should look at; empty: nothing.
func (r clientRow) attention() string {
	var all []string
	switch r.Expiry {
	case levelBad:
		all = append(all, "has expired")
	case levelWarn:
		all = append(all, "expires soon")
	}
	switch r.Level {
	case levelBad:
		all = append(all, "has used its quota")
	case levelWarn:
		all = append(all, "has used "+strconv.Itoa(r.Used)+"% of its quota")
	}
	return strings.Join(all, ", ")
}

// clientRows are the clients whose name has filter in it: first those that need
// attention, then by name. If there are too many, those are left out that asked longest
// ago; hidden is how many.
func clientRows(all []clients.Status, answers map[string]map[int]int64, filter string, now time.Time) (rows []clientRow, hidden int) {
	for _, st := range all {
		if strings.Contains(strings.ToLower(st.Name), strings.ToLower(filter)) {
			rows = append(rows, newClientRow(st, answers[st.Name], now))
		}
	}
	first := func(r clientRow) int {
		if r.attention() != "" {
			return 0
		}
		return 1
	}
	if hidden = max(0, len(rows)-clientsShown); hidden > 0 {
		slices.SortStableFunc(rows, func(a, b clientRow) int {
			return cmp.Or(cmp.Compare(first(a), first(b)), b.LastUsed.Compare(a.LastUsed))
		})
		rows = rows[:clientsShown]
	}
	slices.SortStableFunc(rows, func(a, b clientRow) int {
		return cmp.Or(cmp.Compare(first(a), first(b)), strings.Compare(a.Name, b.Name))
	})
	return rows, hidden
}

func newClientRow(st clients.Status, answers map[int]int64, now time.Time) clientRow {
	row := clientRow{Status: st, Kind: "token"}
	if st.Certificate != "" {
		row.Kind = "certificate"
	}
	if st.Operator {
		row.Kind = "operator's " + row.Kind
	}
	var limits []string
	if st.Rate != -1 {
		limits = append(limits, strconv.Itoa(st.Rate)+"\u00a0in\u00a0"+span(clients.RateWindow))
	}
	if st.Bandwidth > 0 {
		limits = append(limits, size(st.Bandwidth)+"/s")
	}
	row.Limits = cmp.Or(strings.Join(limits, ", "), "no limit")
	switch {
	case st.Expires.IsZero():
	case !now.Before(st.Expires):
		row.Expiry = levelBad
	case st.Expires.Sub(now) < expiresSoon:
		row.Expiry = levelWarn
	}
	if st.Quota.Bytes > 0 {
		row.Used = int(float64(st.PeriodBytes) / float64(st.Quota.Bytes) * 100)
		switch {
		case st.PeriodBytes >= st.Quota.Bytes:
			row.Level = levelBad
		case row.Used >= 90:
			row.Level = levelWarn
		}
	}
	var refused []string
	for _, status := range slices.Sorted(maps.Keys(answers)) {
		if status == http.StatusOK {
			row.Requests = answers[status]
			continue
		}
		refused = append(refused, count(answers[status])+"\u00a0×\u00a0"+strconv.Itoa(status))
	}
	row.Refused = strings.Join(refused, ", ")
	return row
}
