// Laid over a command by release/build: writes its manual pages and completions to the folder of
// the first argument. ROOT stands for the command's root.
package main

import (
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

func init() {
	dir, version := os.Args[1], os.Args[2]
	for _, sub := range []string{"man", "completions"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			log.Fatal(err)
		}
	}
	root := ROOT
	root.DisableAutoGenTag = true
	forMan(root)
	// The date is that of SOURCE_DATE_EPOCH.
	err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "qrand " + version, Manual: "qrand"}, filepath.Join(dir, "man"))
	if err != nil {
		log.Fatal(err)
	}
	for suffix, generate := range map[string]func(string) error{
		".bash": func(file string) error { return root.GenBashCompletionFileV2(file, true) },
		".zsh":  root.GenZshCompletionFile,
		".fish": func(file string) error { return root.GenFishCompletionFile(file, true) },
	} {
		if err := generate(filepath.Join(dir, "completions", root.Name()+suffix)); err != nil {
			log.Fatal(err)
		}
	}
	os.Exit(0)
}

// forMan rewrites texts that --help shows for cobra's manual pages, which take Markdown and leave
// out the value of a flag: indented lines are code, and the description names the value.
func forMan(cmd *cobra.Command) {
	cmd.Long = indented.ReplaceAllString(cmd.Long, "    ")
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if name, usage := pflag.UnquoteUsage(f); name != "" && name != "string" && !strings.Contains(usage, name) {
			f.Usage = name + ": " + usage
		}
		if f.DefValue == "0" || f.DefValue == "0s" { // which stands for what the description says
			f.DefValue = ""
		}
	})
	for _, sub := range cmd.Commands() {
		forMan(sub)
	}
}

var indented = regexp.MustCompile(`(?m)^ {2,}`)
