package deploy

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

const alertsFile = "../../deploy/prometheus/alerts.yaml"

// readAlerts returns the alerts, as Prometheus reads them.
func readAlerts(t *testing.T) map[string]rulefmt.Rule {
	t.Helper()
	text, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if len(errs) > 0 {
		t.FailNow()
	}
	alerts := map[string]rulefmt.Rule{}
	for _, g := range groups.Groups {
		for _, rule := range g.Rules {
			if _, twice := alerts[rule.Alert]; twice {
				t.Errorf("%s is there twice", rule.Alert)
			}
			alerts[rule.Alert] = rule
		}
	}
	return alerts
}

// TestAlerts: Prometheus takes the alerts. Each has a severity and a summary, and its
// runbook is a section of docs/operations.md.
func TestAlerts(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^### (Qrand\w+)$`).FindAllStringSubmatch(string(text), -1) {
		headings[m[1]] = true
	}
	alerts := readAlerts(t)
	for name, rule := range alerts {
		if severity := rule.Labels["severity"]; severity != "critical" && severity != "warning" {
			t.Errorf("the severity of %s is %q", name, severity)
		}
		if want := "https://example.com/qrand/docs/operations.md#" + strings.ToLower(name); rule.Annotations["runbook_url"] != want || rule.Annotations["summary"] == "" {
			t.Errorf("%s has the annotations %v, want the runbook %s", name, rule.Annotations, want)
		}
		if !headings[name] {
			t.Errorf("docs/operations.md has no section %s", name)
		}
	}
	for name := range headings {
		if _, ok := alerts[name]; !ok {
			t.Errorf("docs/operations.md has a section %s, and there is no such alert", name)
		}
	}
}

// TestAlertsFire: Prometheus fires each alert when it is to, and not when all is well. There
// is a sample a minute. The alert is looked at after half an hour.
func TestAlertsFire(t *testing.T) {
	in := func(d time.Duration) string { return fmt.Sprint((30*time.Minute + d).Seconds()) } // the time begins at zero
	const day = 24 * time.Hour
	cases := map[string]struct{ fires, quiet string }{
		"QrandSourceReadsFail":     {`qrand_source_refused_reads_total{source="keys"} 0+5x30`, `qrand_source_refused_reads_total{source="keys"} 0x22 1x8`}, // idle, and then one Read
		"QrandSourceEmulated":      {`qrand_source_emulated{source="keys"} 0x29 1`, `qrand_source_emulated{source="keys"} 0x30`},
		"QrandSourceBlocksRefused": {`qrand_source_refused_blocks_total{source="keys"} 0x10 1x20`, `qrand_source_refused_blocks_total{source="keys"} 7x30`},
		"QrandSourceNeedsAction":   {`qrand_source_degraded_reason{reason="no_token"} 1x30`, `qrand_source_degraded_reason{reason="rate_limited"} 1x30`},
		"QrandSourceDegraded":      {`qrand_source_state{state="Degraded"} 0x10 1x20`, `qrand_source_state{state="Degraded"} 0x20 1x10`},
		"QrandSourceNotSeeded": {"qrand_source_seeded{source=\"keys\"} 0x30\n  qrand_source_state{source=\"keys\",state=\"Closed\"} 0x30",
			"qrand_source_seeded{source=\"keys\"} 0x30\n  qrand_source_state{source=\"keys\",state=\"Closed\"} 1x30"},
		"QrandRelayDown":               {`up{job="qrand-relay"} 0x30`, `up{job="another"} 0x30`},
		"QrandRelayOutOfStock":         {`qrand_relay_requests_total{instance="r",status="503"} 0+1x30`, `qrand_relay_requests_total{instance="r",status="200"} 0+1x30`},
		"QrandRelayEmulated":           {`qrand_relay_upstream_emulated 1x30`, `qrand_relay_upstream_emulated 0x30`},
		"QrandRelayBlocksRefused":      {`qrand_relay_refused_blocks_total 0x10 1x20`, `qrand_relay_refused_blocks_total 7x30`},
		"QrandRelayUpstreamFails":      {`qrand_relay_upstream_up 1x20 0x10`, `qrand_relay_upstream_up 1x27 0x3`},
		"QrandRelayStockLow":           {"qrand_relay_stock_bytes 24x30\n  qrand_relay_stock_limit_bytes 100x30", "qrand_relay_stock_bytes 25x30\n  qrand_relay_stock_limit_bytes 100x30"},
		"QrandRelayCertificateExpires": {`qrand_relay_certificate_expires_timestamp_seconds ` + in(6*day) + `x30`, `qrand_relay_certificate_expires_timestamp_seconds ` + in(8*day) + `x30`},
		"QrandRelayClientExpires":      {`qrand_relay_client_expires_timestamp_seconds{client="c"} ` + in(6*day) + `x30`, `qrand_relay_client_expires_timestamp_seconds{client="c"} ` + in(-time.Minute) + `x30`},
		"QrandRelayQuotaNearlyUsed": {"qrand_relay_client_period_bytes{client=\"c\"} 91x30\n  qrand_relay_client_quota_bytes{client=\"c\"} 100x30",
			"qrand_relay_client_period_bytes{client=\"c\"} 91x30\n  qrand_relay_client_quota_bytes{client=\"d\"} 100x30"},
		"QrandRelayClientListError": {`qrand_relay_client_list_error 1x30`, `qrand_relay_client_list_error 0x28 1x2`},
		"QrandRelayUsageNotSaved":   {`qrand_relay_usage_save_errors_total 0+1x30`, `qrand_relay_usage_save_errors_total 0x25 1x5`},
		"QrandFeedEmulated":         {`qrand_feed_emulated_blocks_total 0x10 1x20`, `qrand_feed_emulated_blocks_total 0x30`},
		"QrandFeedFails":            {`qrand_feed_up 0x30`, `qrand_feed_up 0x18 1 0x11`},
		"QrandFeedDown":             {`up{job="qrand-feed"} 0x30`, `up{job="qrand-feed"} 0x28 1x2`},
	}
	engine := promqltest.NewTestEngineWithOpts(t, promql.EngineOpts{MaxSamples: 10_000, Timeout: time.Minute, LookbackDelta: time.Minute})
	for name, rule := range readAlerts(t) {
		c, ok := cases[name]
		if !ok {
			t.Errorf("%s has no case", name)
			continue
		}
		for series, want := range map[string]bool{c.fires: true, c.quiet: false} {
			storage := promqltest.LoadedStorage(t, "load 1m\n  "+series)
			fires := true
			for ago := time.Duration(0); ago <= time.Duration(rule.For); ago += time.Minute {
				query, err := engine.NewInstantQuery(t.Context(), storage, nil, rule.Expr, time.Unix(0, 0).Add(30*time.Minute-ago))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				result := query.Exec(t.Context())
				vector, err := result.Vector()
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				fires = fires && len(vector) > 0
				query.Close()
			}
			storage.Close()
			if fires != want {
				t.Errorf("%s fires: %v, want %v, for %s", name, fires, want, series)
			}
		}
	}
}

// TestDashboards: Prometheus takes each expression of the dashboards, whose panels have ids
// of their own and fit on the page.
func TestDashboards(t *testing.T) {
	paths, err := filepath.Glob("../../deploy/grafana/*.json")
	if err != nil || len(paths) != 3 {
		t.Fatalf("%q, %v", paths, err)
	}
	variables := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*", "$source", ".*")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var dashboard struct {
			UID    string
			Panels []struct {
				ID      int
				Title   string
				GridPos struct{ X, Y, W, H int }
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(text, &dashboard); err != nil || dashboard.UID+".json" != filepath.Base(path) {
			t.Fatalf("%s has the uid %s, %v", path, dashboard.UID, err)
		}
		ids, at := map[int]bool{}, map[[2]int]bool{}
		for _, panel := range dashboard.Panels {
			pos := panel.GridPos
			if ids[panel.ID] || at[[2]int{pos.X, pos.Y}] || panel.Title == "" || pos.X+pos.W > 24 || len(panel.Targets) == 0 {
				t.Errorf("%s: panel %d, %q: its id or its place is taken, or it is empty or too far right", path, panel.ID, panel.Title)
			}
			ids[panel.ID], at[[2]int{pos.X, pos.Y}] = true, true
			for _, target := range panel.Targets {
				if _, err := parser.NewParser(parser.Options{}).ParseExpr(variables.Replace(target.Expr)); err != nil {
					t.Errorf("%s: %q: %v", path, panel.Title, err)
				}
			}
		}
	}
}
