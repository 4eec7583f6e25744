package qrand

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadmePrograms: each Go program of the README stands in an Example, which
// compiles and runs.
func TestReadmePrograms(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("example_*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var examples strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			examples.WriteString(strings.TrimPrefix(line, "\t"))
		}
	}
	programs := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	for _, program := range programs {
		if !strings.Contains(examples.String(), "\n"+program[1]) {
			t.Errorf("no Example has this program of the README:\n%s", program[1])
		}
	}
	if len(programs) < 5 {
		t.Errorf("the README has %d programs", len(programs))
	}
}
