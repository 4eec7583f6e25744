// Package monitoring checks, in tests, what deploy/ and docs/monitoring.md say of metrics.
package monitoring

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// A metric is what a collector says of it.
type metric struct {
	name, help string
	labels     []string
}

// Check checks the metrics whose names begin with a prefix. The collector has each of them,
// and each of their labels, that an alert or a dashboard is about. Each is in a dashboard,
// and in the table of docs/monitoring.md. root is the path of the repository.
func Check(t *testing.T, root, prefix string, collector prometheus.Collector) {
	t.Helper()
	has := describe(t, prefix, collector)
	alerts, dashboards := read(t, root, "deploy/prometheus/*.yaml"), read(t, root, "deploy/grafana/*.json")
	shown := map[string]bool{}
	for where, text := range map[string]string{"an alert": alerts, "a dashboard": dashboards} {
		found := 0
		for _, m := range regexp.MustCompile(`\b(`+prefix+`[a-z0-9_]+)(?:\{([^}]*)\})?`).FindAllStringSubmatch(text, -1) {
			found++
			known, ok := has[m[1]]
			if !ok { // a histogram has these
				known, ok = has[regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(m[1], "")]
			}
			if !ok {
				t.Errorf("%s is about %s, which does not exist", where, m[1])
				continue
			}
			if where == "a dashboard" {
				shown[known.name] = true
			}
			for _, label := range regexp.MustCompile(`(\w+)(?:=|!=|=~|!~)\\?"`).FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(append([]string{"instance", "job"}, known.labels...), label[1]) {
					t.Errorf("%s is about %s, which has no label %s", where, m[0], label[1])
				}
			}
		}
		if found == 0 {
			t.Errorf("%s is about no metric %s...", where, prefix)
		}
	}
	table, page, missing := "", read(t, root, "docs/monitoring.md"), false
	for _, name := range slices.Sorted(maps.Keys(has)) {
		if !shown[name] {
			t.Errorf("no dashboard shows %s", name)
		}
		m := has[name]
		row := fmt.Sprintf("| `%s` | %s | %s |\n", name, strings.Join(m.labels, ", "), m.help)
		table += row
		if !strings.Contains(page, row) {
			missing = true
			t.Errorf("docs/monitoring.md has no row for %s as it is", name)
		}
	}
	if rows := regexp.MustCompile("(?m)^\\| `"+prefix).FindAllString(page, -1); missing || len(rows) != len(has) {
		t.Errorf("docs/monitoring.md has %d rows, want:\n%s", len(rows), table)
	}
}

// describe returns the metrics of a collector, by name. A Desc tells what it is in its String
// alone.
func describe(t *testing.T, prefix string, collector prometheus.Collector) map[string]metric {
	t.Helper()
	descs := make(chan *prometheus.Desc, 1000)
	collector.Describe(descs)
	close(descs)
	all := map[string]metric{}
	for d := range descs {
		m := regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: ("(?:[^"\\]|\\.)*"),.* constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}\}$`).FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("what is %v?", d)
		}
		help, err := strconv.Unquote(m[2])
		if err != nil {
			t.Fatalf("%v: %v", d, err)
		}
		if !strings.HasPrefix(m[1], prefix) {
			continue
		}
		var labels []string
		for _, label := range regexp.MustCompile(`(\w+)=`).FindAllStringSubmatch(m[3], -1) {
			labels = append(labels, label[1])
		}
		if m[4] != "" {
			labels = append(labels, strings.Split(m[4], ",")...)
		}
		all[m[1]] = metric{m[1], help, labels}
	}
	if len(all) < 5 {
		t.Fatalf("%d metrics begin with %s", len(all), prefix)
	}
	return all
}

// read returns the text of the files that match.
func read(t *testing.T, root, pattern string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(paths), err)
	}
	var all strings.Builder
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
