package qrand

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/zip"
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
	out, err = exec.Command(goTool, "list", "-f", "{{.ImportPath}} {{join .Deps \" \"}}", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	idna := 0
	for line := range strings.Lines(string(out)) {
		if path, deps, _ := strings.Cut(line, " "); strings.Contains(deps, " golang.org/x/net/") {
			if idna++; path != "example.com/qrand/cmd/qrand" {
				t.Errorf("%s imports golang.org/x/net, which is for the names in certificates of cmd/qrand", path)
			}
		}
	}
	if idna == 0 {
		t.Error("nothing imports golang.org/x/net: remove this check")
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

// TestModule: go install of the commands at a version works, and so does go get of the
// library. A replace line would keep the first from working, a file whose name no module
// may have both. The go line names a first release, nothing asks for a toolchain, and no
// assembly includes a file that go mod vendor would leave out.
func TestModule(t *testing.T) {
	data, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse("go.mod", data, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(mod.Replace)+len(mod.Exclude) > 0 || mod.Toolchain != nil || strings.Count(mod.Go.Version, ".") != 2 || !strings.HasSuffix(mod.Go.Version, ".0") {
		t.Errorf("go.mod has %d replace and %d exclude lines, toolchain %v, go %s", len(mod.Replace), len(mod.Exclude), mod.Toolchain, mod.Go.Version)
	}
	files, err := zip.CheckDir(".")
	if err != nil || files.Err() != nil || len(files.Valid) < 100 {
		t.Errorf("%d files make the module: %v %v", len(files.Valid), err, files.Err())
	}
	for _, path := range files.Valid {
		if !strings.HasSuffix(path, ".s") {
			continue
		}
		for line := range strings.Lines(readText(t, path)) {
			if strings.HasPrefix(line, "#include") && line != "#include \"textflag.h\"\n" {
				t.Errorf("%s: %s", path, line)
			}
		}
	}
}

// TestHeavyDependencies: NATS and Tessera are dependencies of the modules in relaynats and
// transparency alone.
func TestHeavyDependencies(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("there is no go command to list the dependencies with")
	}
	out, err := exec.Command(goTool, "list", "-deps", "-test", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "example.com/qrand/cmd/qrand\n") {
		t.Error("cmd/qrand is not listed")
	}
	for _, file := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, text...)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "nats") || strings.Contains(line, "transparency-dev") {
			t.Errorf("it depends on %s", line)
		}
	}
}
