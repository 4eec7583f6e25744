package pemfile

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestRead: a regular file may be large, a device may not be endless.
func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(path, append([]byte("\ufeff"), make([]byte, maxSize+1)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := Read(path); err != nil || !bytes.Equal(data, make([]byte, maxSize+1)) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no /dev/zero")
	}
	if data, err := Read("/dev/zero"); data != nil || err == nil || !strings.HasPrefix(err.Error(), "/dev/zero has more than 4194304 bytes") {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}
