package ignoredreader

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestOfRand: ofRand has what crypto/rand needs on each system. A package that it lacks would be
// taken for one that is initialized later than it is.
func TestOfRand(t *testing.T) {
	for _, system := range []string{"linux", "windows", "darwin", "freebsd", "plan9", "js"} {
		arch := "amd64"
		if system == "js" {
			arch = "wasm"
		}
		cmd := exec.Command("go", "list", "-deps", "crypto/rand")
		cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range strings.Fields(string(out)) {
			if path > replacePath && !ofRand[path] && !strings.Contains(path, "internal") && !strings.HasPrefix(path, "vendor/") {
				t.Errorf("%s: crypto/rand needs %s", system, path)
			}
		}
	}
}
