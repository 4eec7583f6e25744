package cli

import (
	"cmp"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// helpWidth is the width of help that goes to no terminal.
const helpWidth = 80

// Width returns how many columns a terminal has, or zero if w is no terminal that tells.
func Width(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	if columns, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && columns > 0 { // as POSIX has it
		return columns
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// FitHelp makes the help of a command, and of those below it, fit a width. Zero is 80 columns.
func FitHelp(cmd *cobra.Command, width int) {
	help := cmd.HelpFunc()
	cmd.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		out, text := cmd.OutOrStdout(), new(strings.Builder)
		cmd.SetOut(text)
		help(cmd, args)
		cmd.SetOut(out)
		io.WriteString(out, Fit(text.String(), cmp.Or(width, helpWidth))) // who made out sees its error
	})
}

// Fit breaks those lines of a text that are longer than width. Lines of a paragraph are filled
// again. Where a line has two columns, the second one is broken. Other lines with an indent are
// commands, and stay whole, so that they can be copied.
func Fit(text string, width int) string {
	twoColumns := regexp.MustCompile(`^( *\S+(?: \S+)*)(  +)(\S.*)$`)
	tooLong := func(line string) bool { return utf8.RuneCountInString(line) > width }
	var b strings.Builder
	var paragraph []string
	flush := func() {
		if slices.ContainsFunc(paragraph, tooLong) {
			paragraph = []string{Wrap(strings.Join(paragraph, " "), 0, width)}
		}
		for _, line := range paragraph {
			b.WriteString(line + "\n")
		}
		paragraph = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if line != "" && line[0] != ' ' {
			paragraph = append(paragraph, line)
			continue
		}
		flush()
		if columns := twoColumns.FindStringSubmatch(line); columns != nil && tooLong(line) {
			line = columns[1]
			indent := utf8.RuneCountInString(columns[1] + columns[2])
			if !Narrow(indent, width) {
				line += columns[2]
			}
			line += Wrap(columns[3], indent, width)
		}
		b.WriteString(line + "\n")
	}
	flush()
	return b.String()
}

// NarrowIndent is the indent of text that has no room beside its heading.
const NarrowIndent = 8

// Narrow reports whether a width leaves too little room beside an indent.
func Narrow(indent, width int) bool { return width < 2*indent }

// Wrap breaks text at spaces, so that it fits beside an indent. The lines after the first have
// the indent. If there is too little room beside it, the text begins on the next line.
func Wrap(text string, indent, width int) string {
	var b strings.Builder
	if Narrow(indent, width) {
		indent = NarrowIndent
		b.WriteString("\n" + strings.Repeat(" ", indent))
	}
	at := indent
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	return b.String()
}
