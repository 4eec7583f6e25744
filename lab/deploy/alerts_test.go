package deploy

import (
	"log/slog"
	"os"
	"regexp"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// TestAlerts: Prometheus takes the rules of docs/fleet.md.
func TestAlerts(t *testing.T) {
	text, err := os.ReadFile("../../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	rules := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(text)
	if rules == nil {
		t.Fatal("there are no rules")
	}
	groups, errs := rulefmt.Parse(rules[1], false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if len(errs) == 0 && len(groups.Groups[0].Rules) < 5 {
		t.Errorf("%d rules", len(groups.Groups[0].Rules))
	}
}
