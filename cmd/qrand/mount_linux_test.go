package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBindMount: a file that is mounted by itself, as containers do, cannot be replaced. The
// error says what to do, and the file stays as it is.
func TestBindMount(t *testing.T) {
	cmd := qrandCommand(t, "read", "-n", "32", "--force", "-o", "file")
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("there is no unshare here")
	}
	file := filepath.Join(cmd.Dir, "file")
	if err := os.WriteFile(file, []byte("as it was"), 0o600); err != nil {
		t.Fatal(err)
	}
	mounted := func(args ...string) *exec.Cmd {
		c := exec.Command(unshare, append([]string{"-m", "sh", "-c", `mount --bind file file && exec "$@"`, "sh"}, args...)...)
		c.Dir = cmd.Dir
		return c
	}
	if text, err := mounted("true").CombinedOutput(); err != nil {
		t.Skipf("nothing can be mounted here: %v, %s", err, text)
	}
	text, err := mounted(append([]string{cmd.Path}, cmd.Args[1:]...)...).CombinedOutput()
	if err == nil || !strings.Contains(string(text), "mount its folder") {
		t.Errorf("%v, %s", err, text)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "as it was" {
		t.Errorf("%q, %v", data, err)
	}
}
