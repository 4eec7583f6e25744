// Command page compares what a browser showed of a relay's status page with what
// /metrics said at the same time. The script run starts it:
//
//	page PAGE METRICS
//
// PAGE is the document in the browser, METRICS the text of /metrics.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("want two files: the page and the metrics")
	}
	page, err := os.ReadFile(args[0])
	metrics, err2 := os.ReadFile(args[1])
	if err := cmp.Or(err, err2); err != nil {
		return err
	}
	compared, errs := compare(string(page), string(metrics))
	fmt.Printf("%d figures compared\n", compared)
	return errors.Join(errs...)
}

// figures are the elements with a number, and the metrics of the same name.
var figures = map[string]string{
	"received":      "qrand_relay_received_bytes_total",
	"account-stock": "qrand_relay_stock_bytes",
	"in-flight":     "qrand_relay_in_flight_bytes",
	"handed-out":    "qrand_relay_handed_out_bytes_total",
	"lost":          "qrand_relay_lost_bytes_total",
	"expired":       "qrand_relay_expired_bytes_total",
	"refused":       "qrand_relay_refused_blocks_total",
}

func compare(page, metrics string) (compared int, errs []error) {
	equal := func(what, shown, want string) {
		compared++
		if shown != want {
			errs = append(errs, fmt.Errorf("%s: the page shows %q, /metrics has %q", what, shown, want))
		}
	}
	for id, name := range figures {
		equal(id, number(text(page, id)), strconv.FormatInt(sum(metrics, name, "")[""], 10))
	}
	up := sum(metrics, "qrand_relay_upstream_up", "")[""] == 1
	equal("upstream", strconv.FormatBool(strings.HasPrefix(text(page, "upstream"), "up ")), strconv.FormatBool(up))
	emulated := sum(metrics, "qrand_relay_upstream_emulated", "")[""] == 1
	equal("emulated", strconv.FormatBool(strings.Contains(text(page, "emulated"), "EMULATED")), strconv.FormatBool(emulated))
	equal("tables", fmt.Sprint(rows(page, "statuses")), fmt.Sprint(sum(metrics, "qrand_relay_requests_total", "status")))
	equal("results", fmt.Sprint(rows(page, "results")), fmt.Sprint(sum(metrics, "qrand_relay_upstream_requests_total", "result")))
	return compared, errs
}

var tag = regexp.MustCompile(`<[^>]*>`)

// text returns the text of the element with an id. The element must not contain another
// of its kind.
func text(page, id string) string {
	m := regexp.MustCompile(`<(\w+)[^>]* id="` + id + `"[^>]*>`).FindStringSubmatchIndex(page)
	if m == nil {
		return ""
	}
	inner, _, _ := strings.Cut(page[m[1]:], "</"+page[m[2]:m[3]]+">")
	return strings.Join(strings.Fields(tag.ReplaceAllString(inner, "")), " ")
}

func number(s string) string { return strings.ReplaceAll(s, ",", "") }

var row = regexp.MustCompile(`<tr[^>]*>.*?<code>(.*?)</code>.*?<td>([0-9,]+)</td>`)

// rows returns the rows of a table, each a word and how often it was the result.
func rows(page, id string) map[string]int64 {
	found := map[string]int64{}
	_, table, _ := strings.Cut(page, ` id="`+id+`"`)
	table, _, _ = strings.Cut(table, "</table>")
	for _, m := range row.FindAllStringSubmatch(table, -1) {
		if n, _ := strconv.ParseInt(number(m[2]), 10, 64); n != 0 { // the metrics have zeros that the page does not show
			found[m[1]] = n
		}
	}
	return found
}

var line = regexp.MustCompile(`(?m)^([a-z_]+)(\{.*\})? ([0-9.e+]+)$`)

// sum adds up a metric for each value of one of its labels, or all of it without a label.
func sum(metrics, name, label string) map[string]int64 {
	found := map[string]int64{}
	value := regexp.MustCompile(`[{,]` + label + `="([^"]*)"`)
	for _, m := range line.FindAllStringSubmatch(metrics, -1) {
		if m[1] != name {
			continue
		}
		key := ""
		if l := value.FindStringSubmatch(m[2]); label != "" && l != nil {
			key = l[1]
		}
		if n, _ := strconv.ParseFloat(m[3], 64); n != 0 {
			found[key] += int64(n)
		}
	}
	return found
}
