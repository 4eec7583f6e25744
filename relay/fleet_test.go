package relay

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestAlerts: the relay has each metric and each label that the alerts of
// docs/fleet.md are about. (lab/deploy has Prometheus parse them.)
func TestAlerts(t *testing.T) {
	text, err := os.ReadFile("../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	descs := make(chan *prometheus.Desc, 1000)
	newMetrics(&Relay{}).registry.Describe(descs)
	close(descs)
	labels := map[string]string{}
	for d := range descs {
		found := regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`).FindStringSubmatch(d.String())
		if found == nil {
			t.Fatalf("what is %v?", d)
		}
		labels[found[1]] = found[2]
	}
	alerts := regexp.MustCompile(`(?m)^ *expr: (.*)$`).FindAllStringSubmatch(string(text), -1)
	if len(alerts) < 5 {
		t.Errorf("%d alerts", len(alerts))
	}
	metric := regexp.MustCompile(`(qrand_relay_\w+)(?:\{(\w+)=)?`)
	for _, alert := range alerts {
		all := metric.FindAllStringSubmatch(alert[1], -1)
		if len(all) == 0 {
			t.Errorf("%s is about nothing", alert[1])
		}
		for _, m := range all {
			if has, ok := labels[m[1]]; !ok || m[2] != "" && !strings.Contains(","+has+",", ","+m[2]+",") {
				t.Errorf("%s: the relay has no %s", alert[1], m[0])
			}
		}
	}
}
