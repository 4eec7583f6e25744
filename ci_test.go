package qrand

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// fakeTool is each program that .ci/run calls. It does nothing, except that a call that
// matches FAIL fails, with the output of a test in which something else follows what failed.
const fakeTool = `#!/bin/sh
call="${GOOS:+$GOOS }${0##*/} $*"
case $call in $FAIL)
	if [ "${0##*/}" = npm ]; then
		case $call in *--silent*) ;; *) echo "npm error: the registry does not answer" >&2 ;; esac
		exit 1
	fi
	echo "--- FAIL: TestThatFailed (0.10s)"
	echo "FAIL	example.com/qrand/failed	0.1s"
	for i in 1 2 3; do echo "--- PASS: TestThatPassed$i (0.10s)"; done
	exit 1 ;;
*"tool dist list") printf 'js/wasm\nlinux/386\nplan9/386\nplan9/arm\n' ;;
esac
echo "ok  	example.com/qrand	0.1s"
`

// TestCISaysWhatFailed: a step of .ci/run that fails is the last line of what it prints. The
// tests that failed are above it.
func TestCISaysWhatFailed(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil || runtime.GOOS == "windows" {
		t.Skip("there is no bash to run .ci/run with")
	}
	tools := t.TempDir()
	for _, name := range []string{"go", "gofmt", "npm", "openssl", "curl", "ssh", "ssh-keygen", "strace", "python3"} {
		text := fakeTool
		if name == "gofmt" {
			text = "#!/bin/sh\n"
		}
		if err := os.WriteFile(filepath.Join(tools, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	run := func(script, fail string) string {
		t.Helper()
		cmd := exec.Command("bash", script)
		cmd.Env = append(os.Environ(), "PATH="+tools+string(os.PathListSeparator)+os.Getenv("PATH"), "FAIL="+fail, "GOOS=", "QRAND_NODE=")
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Errorf("%s: all is well, though %s failed:\n%s", script, fail, out)
		}
		return strings.TrimSpace(string(out))
	}
	for _, c := range []struct {
		fail, step string
		test       bool
	}{
		{"openssl version", "what the tests talk to", false},
		{"go test ./...", "the README's two commands, and the tests of lab/", true},
		{"go run ./cmd/qrand demo", "the README's two commands, and the tests of lab/", false},
		{"go -C lab test -overlay*", "the README's two commands, and the tests of lab/", true},
		{"go mod tidy*", "formatting, modules, vet, staticcheck", false},
		{"go -C lab run honnef*", "formatting, modules, vet, staticcheck", false},
		{"windows go -C transparency vet*", "other architectures and systems", false},
		{"plan9 go build*", "the library, wherever Go goes", false},
		{"go test -race*", "the race detector, and the purego tag", true},
		{"go test -tags purego*", "the race detector, and the purego tag", true},
		{"go test -run TestPromises*", "many scenarios of outages, and a small fleet of real processes on one token", true},
	} {
		out := run(".ci/run", c.fail)
		lines := strings.Split(out, "\n")
		if last := lines[len(lines)-1]; !strings.HasPrefix(last, "== FAILED, with status ") || !strings.HasSuffix(last, ": "+c.step) {
			t.Errorf("%s failed, and the last line is %q of:\n%s", c.fail, last, out)
		}
		if tail := strings.Join(lines[max(0, len(lines)-5):], "\n"); c.test && !strings.Contains(tail, "TestThatFailed") {
			t.Errorf("%s failed, and the last lines are:\n%s", c.fail, tail)
		}
		if !strings.Contains(readText(t, ".ci/run"), `step "`+c.step+`"`) {
			t.Errorf(".ci/run has no step %q", c.step)
		}
	}
	if out := run(".ci/pqwitness", "npm install*"); !strings.Contains(out, "npm error: the registry does not answer") || !strings.Contains(out, "set QRAND_NODE to another") {
		t.Errorf("npm failed, and this is said: %q", out)
	}
}
