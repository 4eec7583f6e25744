package supply

import (
	"errors"
	"strings"
	"testing"

	"example.com/qrand/qrypt"
)

// TestEveryFailureIsExplained: each kind of failure has a text and advice, which
// does not mention Qrypt for an endpoint of others.
func TestEveryFailureIsExplained(t *testing.T) {
	rows := append([]Row{unknown}, Table...)
	for _, row := range rows {
		const relay = "https://relay.example:8443"
		theirs, ours := row.AdviceFor(qrypt.EndpointWEU), row.AdviceFor(relay)
		if theirs == "" || ours == "" || strings.Contains(strings.ToLower(ours), "qrypt.com") || strings.Contains(ours, "Qrypt ") {
			t.Errorf("%v: for Qrypt's endpoint %q, for a relay %q", row.Err, theirs, ours)
		}
		switch row.Err {
		case qrypt.ErrUnauthorized, qrypt.ErrQuota, qrypt.ErrRateLimited:
			if theirs == ours || !strings.Contains(ours, "relay.example:8443") {
				t.Errorf("%v: for Qrypt's endpoint %q, for a relay %q", row.Err, theirs, ours)
			}
		}
		if row.Text == "" || Text(row.Reason) != row.Text || row.Reason == "" || row.retry == nil {
			t.Errorf("%v: %+v, by its reason %q", row.Err, row, Text(row.Reason))
		}
		if row.Err != ErrHangs && Advice(row.Reason, relay) != ours || row.Err != nil && AdviceOn(row.Err, relay) != ours {
			t.Errorf("%v: by its reason %q, by its error %q", row.Err, Advice(row.Reason, relay), AdviceOn(row.Err, relay))
		}
	}
	if Text("") != "" || Advice("", qrypt.EndpointEUS) != "" || AdviceOn(errors.New("anything"), "") != unknown.Advice {
		t.Error("what is in no row")
	}
}

// TestReasons: each row's Reason is there once, and so are those that no row has.
func TestReasons(t *testing.T) {
	seen := map[string]int{}
	for _, reason := range Reasons() {
		seen[reason]++
	}
	for _, row := range Table {
		if seen[row.Reason] != 1 {
			t.Errorf("%s is there %d times", row.Reason, seen[row.Reason])
		}
	}
	if seen["failed"] != 1 || seen["no_token"] != 1 {
		t.Errorf("failed, no_token: %v", seen)
	}
}
