package cli

import (
	"strings"
	"testing"
	"time"
)

// TestNewLogger: a duration has its unit in either format.
func TestNewLogger(t *testing.T) {
	for format, want := range map[string]string{"text": "msg=told wait=1m30s\n", "json": `"msg":"told","wait":"1m30s"}` + "\n"} {
		var b strings.Builder
		NewLogger(&b, format).Info("told", "wait", 90*time.Second)
		if !strings.HasSuffix(b.String(), want) || !strings.Contains(b.String(), "time") {
			t.Errorf("%s: %q", format, b.String())
		}
	}
}
