package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"golang.org/x/term"
)

// A console is where a command's output goes, and what may be done to it there.
// Tests make one that only says it is a terminal.
type console struct {
	out, err       io.Writer
	outTTY, errTTY bool
	width          int // of the terminal; zero: lines are as long as they are
	getenv         func(string) string

	// grace is what the command has to end in by itself, a time.Duration; less
	// than the least that every command has: that.
	grace atomic.Int64

	// askSecret asks on the terminal for what is not to be shown.
	askSecret func(prompt string) ([]byte, error)
}

func newConsole(out, err *os.File) *console {
	c := &console{out: out, err: err, getenv: os.Getenv}
	c.askSecret = func(prompt string) ([]byte, error) {
		stdin := int(os.Stdin.Fd())
		if !term.IsTerminal(stdin) {
			return nil, errors.New("stdin is no terminal to ask for a passphrase on: use --passphrase-file")
		}
		io.WriteString(c.err, prompt)
		defer io.WriteString(c.err, "\n")
		if shown, err := term.GetState(stdin); err == nil {
			defer atExit.add(func() { term.Restore(stdin, shown) })()
		}
		return term.ReadPassword(stdin)
	}
	c.outTTY = term.IsTerminal(int(out.Fd()))
	c.errTTY = term.IsTerminal(int(err.Fd()))
	for _, f := range []*os.File{err, out} {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			c.width = width
		}
	}
	return c
}

// note tells a person something beside the output, in one line.
func (c *console) note(format string, args ...any) {
	fmt.Fprintf(c.err, "%s %s\n", c.onErr().yellow("qrand:"), fmt.Sprintf(format, args...))
}

// A palette colours text, or leaves it alone.
type palette bool

func (c *console) onOut() palette { return palette(c.outTTY && c.colourful()) }
func (c *console) onErr() palette { return palette(c.errTTY && c.colourful()) }

// colourful follows no-color.org.
func (c *console) colourful() bool {
	return c.getenv("NO_COLOR") == "" && c.getenv("TERM") != "dumb"
}

func (p palette) paint(code, text string) string {
	if !p || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p palette) bold(text string) string   { return p.paint("1", text) }
func (p palette) dim(text string) string    { return p.paint("2", text) }
func (p palette) red(text string) string    { return p.paint("31", text) }
func (p palette) green(text string) string  { return p.paint("32", text) }
func (p palette) yellow(text string) string { return p.paint("33", text) }

// marks are the signs at the beginning of lines.
type marks struct {
	ok, warn, fail, skip, arrow string
	spinner                     []string
}

var (
	signs = marks{"✓", "!", "✗", "-", "→", []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}}
	words = marks{"ok  ", "warn", "FAIL", "skip", "->", []string{"|", "/", "-", "\\"}}
)

// marks are signs where the locale has them. Windows has no locale in the
// environment; its terminal sets a variable of its own.
func (c *console) marks() marks {
	locale := c.getenv("LANG")
	for _, name := range []string{"LC_CTYPE", "LC_ALL"} {
		if value := c.getenv(name); value != "" {
			locale = value
		}
	}
	locale = strings.ReplaceAll(strings.ToLower(locale), "-", "")
	if strings.HasSuffix(locale, "utf8") || runtime.GOOS == "windows" && c.getenv("WT_SESSION") != "" {
		return signs
	}
	return words
}

// wrap breaks text at spaces to fit beside an indent, under which the further
// lines go. Without a terminal it stays one line, for grep.
func (c *console) wrap(text string, indent int) string {
	if !c.outTTY || c.width <= 2*indent {
		return text
	}
	var b strings.Builder
	at := indent
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > c.width:
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
