package deploy

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// readDockerfile is the Dockerfile's stages, as BuildKit reads them.
func readDockerfile(t *testing.T) []instructions.Stage {
	t.Helper()
	file, err := os.Open("../../deploy/docker/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	parsed, err := parser.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(parsed.Warnings) > 0 {
		t.Errorf("warnings: %v", parsed.Warnings)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	return stages
}

func find[T any](stage instructions.Stage) (all []T) {
	for _, c := range stage.Commands {
		if c, ok := c.(T); ok {
			all = append(all, c)
		}
	}
	return all
}

// TestDockerfile: the image has the program and the CAs in it, and runs as nobody.
func TestDockerfile(t *testing.T) {
	stages := readDockerfile(t)
	image := stages[len(stages)-1]
	if len(stages) != 2 || image.BaseName != "scratch" {
		t.Errorf("%d stages, the last from %s", len(stages), image.BaseName)
	}
	toolchain, err := exec.Command("go", "list", "-C", "../..", "-m", "-f", "{{.GoVersion}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	if version, _ := strings.CutPrefix(stages[0].BaseName, "golang:"); !strings.HasPrefix(strings.TrimSpace(string(toolchain)), version) {
		t.Errorf("it builds from %s, and go.mod says %s", stages[0].BaseName, toolchain)
	}
	var copied []string
	for _, c := range find[*instructions.CopyCommand](image) {
		if c.From != stages[0].Name {
			t.Errorf("it copies from %q", c.From)
		}
		copied = append(copied, c.DestPath)
	}
	if !slices.Equal(copied, []string{caPath, "/qrand"}) {
		t.Errorf("it copies %v", copied)
	}
	if user := find[*instructions.UserCommand](image); len(user) != 1 || user[0].User != "65532:65532" {
		t.Errorf("it runs as %v", user)
	}
	if entry := find[*instructions.EntrypointCommand](image); len(entry) != 1 || entry[0].PrependShell || !slices.Equal(entry[0].CmdLine, []string{"/qrand"}) {
		t.Errorf("it starts %v", entry)
	}
}

// TestStatic: what the Dockerfile's own line builds needs no other file.
func TestStatic(t *testing.T) {
	file, err := elf.Open(build(t))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if libs, err := file.ImportedLibraries(); len(libs) > 0 {
		t.Errorf("it needs %v, %v", libs, err)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("it has a %v", p.Type)
		}
	}
}

// build runs the line of the Dockerfile that builds the program, once.
func build(t *testing.T) string {
	t.Helper()
	built.Do(func() {
		runs := find[*instructions.RunCommand](readDockerfile(t)[0])
		line := strings.Join(runs[len(runs)-1].CmdLine, " ")
		path := filepath.Join(dir, "qrand")
		line = regexp.MustCompile(`-o \S+`).ReplaceAllString(line, "-o "+path)
		if !strings.Contains(line, "go build") || !strings.Contains(line, path) {
			built.err = line + " does not build"
			return
		}
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir = "../.."
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = line + ": " + err.Error() + "\n" + string(out)
		}
		built.path = path
	})
	if built.err != "" {
		t.Fatal(built.err)
	}
	return built.path
}

var (
	dir   string // where it is built
	built struct {
		sync.Once
		path, err string
	}
)

func TestMain(m *testing.M) {
	var err error
	if dir, err = os.MkdirTemp("", "qrand-deploy"); err != nil {
		panic(err)
	}
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}
