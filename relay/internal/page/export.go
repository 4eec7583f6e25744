package page

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/qrand"
	"example.com/qrand/relay/clients"
)

// The paths at which programs get what the page shows.
const (
	JSONPath = "/status.json"
	CSVPath  = "/clients.csv"
)

// A statusJSON is what the page shows. Sizes are in bytes, and times in UTC. What is left
// out is not known yet, or does not apply.
type statusJSON struct {
	Time    time.Time `json:"time"`
	Version string    `json:"version"`
	Began   time.Time `json:"began"`

	Level  level     `json:"level"` // good, wait, warn or bad
	Title  string    `json:"title"`
	Since  time.Time `json:"since,omitzero"`
	Detail string    `json:"detail,omitempty"`
	Advice string    `json:"advice,omitempty"`

	StockLimit   int64        `json:"stock_limit_bytes"`
	Account      accountJSON  `json:"account"`
	Upstream     upstreamJSON `json:"upstream"`
	Clients      []clientJSON `json:"clients"`
	ClientsError string       `json:"clients_error,omitempty"`
	UsageError   string       `json:"usage_error,omitempty"`
	Events       []eventJSON  `json:"events"` // newest first
}

type accountJSON struct {
	Received  int64 `json:"received_bytes"`
	Stock     int64 `json:"stock_bytes"`
	InFlight  int64 `json:"in_flight_bytes"`
	HandedOut int64 `json:"handed_out_bytes"`
	Lost      int64 `json:"lost_bytes"`
	Expired   int64 `json:"expired_bytes"`
}

type upstreamJSON struct {
	Up            bool             `json:"up"`
	Reason        qrand.Reason     `json:"reason,omitempty"`
	Since         time.Time        `json:"since,omitzero"`
	LastError     string           `json:"last_error,omitempty"`
	LastAnswer    time.Time        `json:"last_answer,omitzero"`
	NextRequest   time.Time        `json:"next_request,omitzero"`
	Endpoint      string           `json:"endpoint,omitempty"` // that answered last
	Endpoints     []string         `json:"endpoints,omitempty"`
	Emulated      bool             `json:"emulated"`
	Requests      map[string]int64 `json:"requests"` // by result
	RefusedBlocks int64            `json:"refused_blocks"`
}

type clientJSON struct {
	Name        string           `json:"name"`
	Kind        string           `json:"kind"`
	Certificate string           `json:"certificate,omitempty"`
	LastUsed    time.Time        `json:"last_used,omitzero"`
	Expires     time.Time        `json:"expires,omitzero"`
	Answers     map[string]int64 `json:"answers"` // by HTTP status
	HandedOut   int64            `json:"handed_out_bytes"`
	Rate        int              `json:"rate"`                // requests in 10 s; -1: no limit
	Bandwidth   int64            `json:"bandwidth,omitempty"` // bytes a second; -1: no limit
	Quota       int64            `json:"quota_bytes,omitempty"`
	Period      string           `json:"quota_period,omitempty"`
	PeriodBytes int64            `json:"period_bytes,omitempty"`
	PeriodEnds  time.Time        `json:"period_ends,omitzero"`
	Attention   string           `json:"attention,omitempty"` // why an operator should look at it
}

type eventJSON struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

func newClientJSON(st clients.Status, answers map[int]int64, now time.Time) clientJSON {
	row := newClientRow(st, answers, now)
	c := clientJSON{
		Name: st.Name, Kind: row.Kind, Certificate: st.Certificate, LastUsed: st.LastUsed.UTC(), Expires: st.Expires.UTC(),
		Answers: map[string]int64{}, HandedOut: st.TotalBytes, Rate: st.Rate, Bandwidth: st.Bandwidth, Attention: row.attention(),
	}
	for status, n := range answers {
		c.Answers[strconv.Itoa(status)] = n
	}
	if st.Quota.Bytes > 0 {
		c.Quota, c.Period, c.PeriodBytes, c.PeriodEnds = st.Quota.Bytes, st.Quota.PeriodString(), st.PeriodBytes, st.PeriodEnds.UTC()
	}
	return c
}

// ServeJSON answers with what the page shows.
func ServeJSON(w http.ResponseWriter, d Data) error {
	v, up := newView(d, ""), d.Upstream
	status := statusJSON{
		Time: d.Now.UTC(), Version: v.Version, Began: d.Began.UTC(),
		Level: v.Headline.Level, Title: v.Headline.Title, Since: v.Headline.Since.UTC(), Detail: v.Headline.Detail, Advice: v.Headline.Advice,
		StockLimit: d.Limit, Account: accountJSON(d.Account),
		Upstream: upstreamJSON{
			Up: up.Up, Reason: up.Reason, Since: up.Since.UTC(), LastError: up.LastError, LastAnswer: up.LastAnswer.UTC(), NextRequest: up.NextRequest.UTC(),
			Endpoint: up.Endpoint, Endpoints: v.Endpoints, Emulated: up.Emulated, Requests: map[string]int64{}, RefusedBlocks: up.RefusedBlocks,
		},
		Clients: []clientJSON{}, Events: []eventJSON{},
	}
	for _, r := range v.Results {
		status.Upstream.Requests[r.Result] = r.Count
	}
	for _, st := range d.Clients {
		status.Clients = append(status.Clients, newClientJSON(st, d.Answers[st.Name], d.Now))
	}
	if d.ClientsErr != nil {
		status.ClientsError = d.ClientsErr.Error()
	}
	if d.UsageErr != nil {
		status.UsageError = d.UsageErr.Error()
	}
	for _, e := range v.Events {
		status.Events = append(status.Events, eventJSON{e.Time.UTC(), e.Text})
	}
	body, err := json.MarshalIndent(status, "", "  ")
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(append(body, '\n'))
	return err
}

// ServeCSV answers with a line for each client, with what ServeJSON says of it. Where the name of
// a certificate begins as a formula does, there is an apostrophe before it.
func ServeCSV(w http.ResponseWriter, d Data) error {
	w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
	w.Header().Set("Content-Disposition", `attachment; filename="clients.csv"`)
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Format(time.RFC3339)
	}
	text := func(s string) string { // a spreadsheet would compute a formula
		if s != "" && strings.Contains("=+-@", s[:1]) {
			return "'" + s
		}
		return s
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	lines := csv.NewWriter(w)
	lines.Write([]string{"name", "kind", "certificate", "last_used", "expires", "requests", "refused", "handed_out_bytes",
		"rate", "bandwidth", "quota_bytes", "quota_period", "period_bytes", "period_ends", "attention"})
	for _, st := range d.Clients {
		c := newClientJSON(st, d.Answers[st.Name], d.Now)
		var refused int64
		for status, n := range d.Answers[st.Name] {
			if status != http.StatusOK {
				refused += n
			}
		}
		lines.Write([]string{c.Name, c.Kind, text(c.Certificate), at(c.LastUsed), at(c.Expires), number(c.Answers["200"]), number(refused), number(c.HandedOut),
			strconv.Itoa(c.Rate), number(c.Bandwidth), number(c.Quota), c.Period, number(c.PeriodBytes), at(c.PeriodEnds), c.Attention})
	}
	lines.Flush()
	return lines.Error()
}
