package page

import (
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
	Limit    string // of its rate
	Expiry   level  // empty: not soon
	Used     int    // percent of the quota
	Level    level  // empty: enough is left
	Requests int64  // that got entropy
	Refused  string // how often with which status
}

// clientRows are all clients by name, or only those that asked last; more is how many
// are left out.
func clientRows(all []clients.Status, answers map[string]map[int]int64, now time.Time) (rows []clientRow, more int) {
	if more = len(all) - clientsShown; more > 0 {
		slices.SortStableFunc(all, func(a, b clients.Status) int { return b.LastUsed.Compare(a.LastUsed) })
		all = all[:clientsShown]
		slices.SortFunc(all, func(a, b clients.Status) int { return strings.Compare(a.Name, b.Name) })
	}
	for _, st := range all {
		rows = append(rows, newClientRow(st, answers[st.Name], now))
	}
	return rows, max(0, more)
}

func newClientRow(st clients.Status, answers map[int]int64, now time.Time) clientRow {
	row := clientRow{Status: st, Kind: "token", Limit: "no limit"}
	if st.Certificate != "" {
		row.Kind = "certificate"
	}
	if st.Operator {
		row.Kind = "operator's " + row.Kind
	}
	if st.Rate != -1 {
		row.Limit = strconv.Itoa(st.Rate) + "\u00a0in\u00a0" + span(clients.RateWindow)
	}
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
