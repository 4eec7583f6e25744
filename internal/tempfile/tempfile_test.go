package tempfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestNamed: an error names the file that somebody asked for, keeps its cause, and keeps the
// advice that it has.
func TestNamed(t *testing.T) {
	dir := t.TempDir()
	temp := filepath.Join(dir, ".qrand-1.tmp")
	_, open := os.Open(temp)
	for _, err := range []error{open, os.Rename(temp, filepath.Join(dir, "x")), errors.Join(nil, open), fmt.Errorf("%w: try again", open)} {
		if got := Named("key", err); !errors.Is(got, os.ErrNotExist) || strings.Contains(got.Error(), ".tmp") || !strings.Contains(got.Error(), " key: ") {
			t.Errorf("%v: %v", err, got)
		}
	}
	if Named("key", nil) != nil || Named("key", syscall.EBUSY) != syscall.EBUSY {
		t.Error("it changes other errors")
	}
	advice := fmt.Errorf("%w: try again", Named("key", open))
	if got := Named("key", advice); got != advice {
		t.Errorf("%v", got)
	}
}
