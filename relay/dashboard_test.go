package relay

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestDashboard: what the dashboard for Grafana shows is there, and what is there
// it shows.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../deploy/grafana/qrand-relay.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr, RefID string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	pageRun(t, &pageSource{}, func(w *pageWorld) {
		w.fail(pageRateLimited())
		for range 9 {
			w.draw(1024)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		answer := w.get("/metrics")
		if answer.Code != http.StatusOK {
			t.Fatal(answer.Code)
		}
		exposed := map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)^(qrand_relay_[a-z_]+)[{ ]`).FindAllStringSubmatch(answer.Body.String(), -1) {
			exposed[m[1]] = true
		}
		shown := map[string]bool{}
		ids := map[int]bool{}
		for _, panel := range dashboard.Panels {
			if ids[panel.ID] || panel.Title == "" || panel.GridPos.X+panel.GridPos.W > 24 || len(panel.Targets) == 0 {
				t.Errorf("panel %d, %q: its id is taken, or it is empty or too far right", panel.ID, panel.Title)
			}
			ids[panel.ID] = true
			for _, target := range panel.Targets {
				names := regexp.MustCompile(`[a-z_]*qrand[a-z_]*`).FindAllString(target.Expr, -1)
				if len(names) == 0 || strings.Count(target.Expr, "(") != strings.Count(target.Expr, ")") {
					t.Errorf("%q has %q", panel.Title, target.Expr)
				}
				for _, name := range names {
					shown[name] = true
					if !exposed[name] {
						t.Errorf("%q shows %s, which the relay does not have", panel.Title, name)
					}
				}
			}
		}
		for name := range exposed {
			if !shown[name] {
				t.Errorf("the relay has %s, which the dashboard does not show", name)
			}
		}
	})
}
