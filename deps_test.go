package qrand

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDependencies: auditors of a random number generator read all that it imports, so the
// library imports little.
func TestDependencies(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("there is no go command to list the dependencies with")
	}
	out, err := exec.Command(goTool, "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".", "./qrypt", "./kernel").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range strings.Fields(string(out)) {
		allowed := false
		for _, prefix := range []string{"example.com/qrand", "golang.org/x/crypto/", "golang.org/x/sys/", "golang.org/x/time/"} {
			allowed = allowed || strings.HasPrefix(path, prefix)
		}
		if !allowed || strings.Contains(path, "qrypttest") {
			t.Errorf("the library imports %s", path)
		}
	}
	out, err = exec.Command(goTool, "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./keygen").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(out), "example.com/qrand"); got != 1 {
		t.Errorf("keygen imports other packages of the project:\n%s", out)
	}
	out, err = exec.Command(goTool, "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./qrypttest").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(out)); got != "example.com/qrand/qrypttest" {
		t.Errorf("the emulator imports %s: it must not share what it checks", got)
	}
}
