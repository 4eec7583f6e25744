package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBindMount: a file that is mounted by itself, as containers do, cannot be replaced. The
// error says what to do, and the file stays as it is. A relay says so when it starts.
func TestBindMount(t *testing.T) {
	testBindMount(t, "as it was", "read", "-n", "32", "--force", "-o", "file")
	testBindMount(t, "{\n  \"clients\": {}\n}\n", "relay", "--plain", "--listen", "127.0.0.1:0", "--clients", "list", "--usage-file", "file")
	testBindMount(t, `{"clients":[]}`, "relay", "token", "new", "web", "--clients", "file")
}

func testBindMount(t *testing.T, before string, args ...string) {
	cmd := qrandCommand(t, args...)
	if err := os.WriteFile(filepath.Join(cmd.Dir, "list"), []byte(`{"clients":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("there is no unshare here")
	}
	file := filepath.Join(cmd.Dir, "file")
	if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	mounted := func(args ...string) *exec.Cmd {
		c := exec.CommandContext(ctx, unshare, append([]string{"-m", "sh", "-c", `mount --bind file file && exec "$@"`, "sh"}, args...)...)
		c.Dir = cmd.Dir
		return c
	}
	if text, err := mounted("true").CombinedOutput(); err != nil {
		t.Skipf("nothing can be mounted here: %v, %s", err, text)
	}
	text, err := mounted(append([]string{cmd.Path}, cmd.Args[1:]...)...).CombinedOutput()
	if err == nil || !strings.Contains(string(text), "mount its folder") {
		t.Errorf("%q: %v, %s", args, err, text)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != before {
		t.Errorf("%q, %v", data, err)
	}
}
