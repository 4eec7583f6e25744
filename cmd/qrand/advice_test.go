package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// written finds the commands of qrand in a text: up to the end of the line, of the code, of
// the quotation or of the command.
var written = regexp.MustCompile("(?m)(?:^|[\\s`/(\"])qrand((?: +[^\\s`|;&>#\"\\\\]+)+)")

// flagged finds the flags among the arguments of a container.
var flagged = regexp.MustCompile(`(?m)^ *- (--[a-z-]+)`)

// TestWrittenCommands: the commands and flags that our pages, units, manifests, help and
// error texts name exist.
func TestWrittenCommands(t *testing.T) {
	root := filepath.Join("..", "..")
	commands := map[string]int{}
	for _, where := range []string{"README.md", "SECURITY.md", "CONTRIBUTING.md", "docs", "deploy", "lab/README.md", "examples", "cmd", "internal", "qrypt", "relay", "kernel"} {
		err := filepath.WalkDir(filepath.Join(root, where), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && d.Name() == "testdata" {
				return filepath.SkipDir
			}
			if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range written.FindAllStringSubmatch(string(data), -1) {
				commands[where] += checkCommand(t, path, strings.Fields(m[1]))
			}
			if strings.HasSuffix(path, "relay.yaml") {
				for _, m := range flagged.FindAllStringSubmatch(string(data), -1) {
					checkCommand(t, path, []string{"relay", m[1]})
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	for where, want := range map[string]int{"README.md": 5, "docs": 20, "deploy": 5, "cmd": 60} {
		if commands[where] < want {
			t.Errorf("%s has %d commands, want %d or more: does the test still find them?", where, commands[where], want)
		}
	}
}

// checkCommand checks a command line, and returns 1, unless it is no command.
func checkCommand(t *testing.T, path string, args []string) int {
	t.Helper()
	c, _, _ := screen(false, nil)
	root := newRoot(c)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	cmd, rest, err := root.Find(args)
	if err != nil || cmd == root {
		return 0 // a sentence about qrand
	}
	cmd.InitDefaultHelpFlag()
	for _, arg := range rest {
		name, _, _ := strings.Cut(strings.TrimRight(arg, ".,:)\"'"), "=")
		if long, ok := strings.CutPrefix(name, "--"); ok && long != "" && cmd.Flag(long) == nil {
			t.Errorf("%s: %s has no flag %s", path, cmd.CommandPath(), name)
		}
		if len(name) == 2 && name[0] == '-' && name[1] >= 'a' && cmd.Flags().ShorthandLookup(name[1:]) == nil {
			t.Errorf("%s: %s has no flag %s", path, cmd.CommandPath(), name)
		}
	}
	return 1
}
