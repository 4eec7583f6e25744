// Laid over a command by release/build: writes its manual pages and completions to the folder of
// the first argument. ROOT stands for the command's root.
package main

import (
	"fmt"
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
	for suffix, generate := range map[string]func(string) error{
		".bash": func(file string) error { return root.GenBashCompletionFileV2(file, true) },
		".zsh":  root.GenZshCompletionFile,
		".fish": func(file string) error { return root.GenFishCompletionFile(file, true) },
	} {
		if err := generate(filepath.Join(dir, "completions", root.Name()+suffix)); err != nil {
			log.Fatal(err)
		}
	}
	root.DisableAutoGenTag = true
	root.CompletionOptions.DisableDefaultCmd = true
	forMan(root)
	hide(root)
	// The date is that of SOURCE_DATE_EPOCH.
	err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "qrand " + version, Manual: "qrand"}, filepath.Join(dir, "man"))
	if err != nil {
		log.Fatal(err)
	}
	os.Exit(0)
}

// forMan rewrites what --help shows for cobra's manual pages. These take Markdown, in which indented
// lines are code. They write a flag as --flag="", without the name of its value: the options get
// a section of our own, and so do the commands of a command.
func forMan(cmd *cobra.Command) {
	var b strings.Builder
	cmd.Use = strings.TrimSuffix(cmd.Use, " [flags]")
	if cmd.LocalNonPersistentFlags().HasAvailableFlags() {
		cmd.Use += " [OPTION]..."
	}
	if cmd.HasAvailableSubCommands() {
		if !cmd.LocalNonPersistentFlags().HasAvailableFlags() {
			cmd.Use += " COMMAND"
		}
		b.WriteString("\n\n# COMMANDS\n")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, "\n**%s**\n: %s\n", sub.CommandPath(), escape(sub.Short))
			}
		}
	}
	cmd.DisableFlagsInUseLine = true
	cmd.InitDefaultHelpFlag()
	b.WriteString("\n\n# OPTIONS\n")
	option := func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		b.WriteString("\n")
		if f.Shorthand != "" {
			fmt.Fprintf(&b, "**-%s**, ", f.Shorthand)
		}
		fmt.Fprintf(&b, "**--%s**", f.Name)
		name, usage := pflag.UnquoteUsage(f)
		if name != "" {
			fmt.Fprintf(&b, " *%s*", name)
		}
		fmt.Fprintf(&b, "\n: %s", escape(usage))
		switch f.DefValue {
		case "", "0", "0s", "[]", "false": // none, or one that the text names
		default:
			if !strings.Contains(usage, "(default ") {
				fmt.Fprintf(&b, " (default %s)", escape(f.DefValue))
			}
		}
		b.WriteString("\n")
	}
	cmd.NonInheritedFlags().VisitAll(option)
	cmd.InheritedFlags().VisitAll(option)
	for _, sub := range cmd.Commands() {
		forMan(sub)
	}
	cmd.Long = indented.ReplaceAllString(cmd.Long, "    ") + b.String()
}

// hide leaves out the options that cobra would write, when the pages have those of forMan.
func hide(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Hidden = true })
	cmd.PersistentFlags().VisitAll(func(f *pflag.Flag) { f.Hidden = true })
	for _, sub := range cmd.Commands() {
		hide(sub)
	}
}

// escape returns text as Markdown that shows it.
func escape(text string) string { return special.ReplaceAllString(text, `\$0`) }

var (
	indented = regexp.MustCompile(`(?m)^ {2,}`)
	special  = regexp.MustCompile("[\\\\`*_{}\\[\\]<>]")
)
