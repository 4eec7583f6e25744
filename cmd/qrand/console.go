package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"golang.org/x/term"

	"example.com/qrand/internal/cli"
)

var errNoTerminal = errors.New("stdin is no terminal to ask for a passphrase on: use --passphrase-file")

// A console is where a command's output goes, and what the output may look like
// there. A test can make one that claims to be a terminal.
type console struct {
	out, err       io.Writer
	outTTY, errTTY bool
	width          int // of the terminal; zero: unknown, and lines are not wrapped
	getenv         func(string) string

	// grace is how long the command may take to end by itself, a time.Duration,
	// if that is longer than the constant grace.
	grace atomic.Int64

	// askSecret asks on the terminal for something that is not shown.
	askSecret func(prompt string) ([]byte, error)
}

func newConsole(out, err *os.File) *console {
	c := &console{out: out, err: err, getenv: os.Getenv}
	c.askSecret = func(prompt string) ([]byte, error) {
		stdin := int(os.Stdin.Fd())
		if !term.IsTerminal(stdin) {
			return nil, errNoTerminal
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
	c.width = cmp.Or(cli.Width(out), cli.Width(err))
	return c
}

// note prints a line for a person on stderr.
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

// marks are signs if the locale has them. Windows has no locale in the
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

// wrap breaks text at spaces, so that it fits beside an indent (cli.Wrap). Without a terminal it
// stays one line, for grep.
func (c *console) wrap(text string, indent int) string {
	if !c.outTTY || c.width == 0 {
		return text
	}
	return cli.Wrap(text, indent, c.width)
}

// narrow reports whether the terminal has too little room beside an indent.
func (c *console) narrow(indent int) bool {
	return c.outTTY && c.width > 0 && cli.Narrow(indent, c.width)
}

// fit breaks those lines of a text that are too long for the terminal (cli.Fit).
func (c *console) fit(text string) string {
	if !c.outTTY || c.width == 0 {
		return text
	}
	return cli.Fit(text, c.width)
}

// count writes a number of things.
func count(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return humanize.Comma(n) + " " + thing
}

// A cell is text and, if style is not nil, how to paint it. It is padded
// before it is painted, so that colours do not count as width.
type cell struct {
	text  string
	style func(string) string
}

// A table is rows under heads. Its columns are two spaces apart.
type table struct {
	heads []string
	right []bool // columns of numbers
	rows  [][]cell
}

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer, p palette) error {
	widths := make([]int, len(t.heads))
	for i, head := range t.heads {
		widths[i] = utf8.RuneCountInString(head)
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
		}
	}
	heads := make([]cell, len(t.heads))
	for i, head := range t.heads {
		heads[i] = cell{head, p.bold}
	}
	var b strings.Builder
	for _, row := range append([][]cell{heads}, t.rows...) {
		for i, c := range row {
			if i > 0 {
				b.WriteString("  ")
			}
			text := c.text
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
			if t.right[i] {
				text = pad + text
			} else if i < len(row)-1 {
				text += pad
			}
			if c.style != nil {
				text = c.style(text)
			}
			b.WriteString(text)
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// print prints the table. On a terminal that is too narrow for it, each row is a few lines of
// text under its first cell.
func (t *table) print(c *console) error {
	var wide strings.Builder
	if err := t.write(&wide, false); err != nil {
		return err
	}
	tooLong := func(line string) bool { return utf8.RuneCountInString(strings.TrimRight(line, " \n")) > c.width }
	if !c.outTTY || c.width == 0 || !slices.ContainsFunc(slices.Collect(strings.Lines(wide.String())), tooLong) {
		return t.write(c.out, c.onOut())
	}
	var b strings.Builder
	for _, row := range t.rows {
		if row[0].text != "" {
			b.WriteString(c.onOut().bold(row[0].text) + "\n")
		}
		var rest []string
		for i, cell := range row[1:] {
			if cell.text != "" {
				rest = append(rest, strings.ToLower(t.heads[i+1])+" "+cell.text)
			}
		}
		b.WriteString("  " + cli.Wrap(strings.Join(rest, ", "), 2, c.width) + "\n")
	}
	_, err := io.WriteString(c.out, b.String())
	return err
}

const spinnerPeriod = 100 * time.Millisecond

// A spinner shows on a terminal, in one line, that something is going on. It
// removes the line in the end.
type spinner struct {
	w     io.Writer
	width int // of the terminal, zero: unknown
	signs []string

	mu   sync.Mutex
	text string
	stop chan struct{}
	done sync.WaitGroup
}

// newSpinner starts a spinner. If w is no terminal, it shows nothing.
func (c *console) newSpinner(w io.Writer, tty bool, text string) *spinner {
	s := &spinner{w: w, width: c.width, signs: c.marks().spinner, text: text, stop: make(chan struct{})}
	if tty && c.getenv("TERM") != "dumb" {
		s.done.Go(s.run)
	}
	return s
}

func (s *spinner) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = text
}

// end removes the line. It may be called once.
func (s *spinner) end() {
	close(s.stop)
	s.done.Wait()
}

func (s *spinner) run() {
	tick := time.NewTicker(spinnerPeriod)
	defer tick.Stop()
	for i := 0; ; i++ {
		s.mu.Lock()
		text := []rune(s.text)
		s.mu.Unlock()
		if most := s.width - 3; most > 0 && len(text) > most { // a second line would stay
			text = text[:most]
		}
		io.WriteString(s.w, "\r"+s.signs[i%len(s.signs)]+" "+string(text)+"\x1b[K")
		select {
		case <-s.stop:
			io.WriteString(s.w, "\r\x1b[K")
			return
		case <-tick.C:
		}
	}
}

// A logHandler prints what packages log in the form of this command's notes: one
// line, without a time.
type logHandler struct {
	w     io.Writer
	attrs string
}

func (h logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	attrs := h.attrs
	r.Attrs(func(a slog.Attr) bool {
		attrs += attrText(a)
		return true
	})
	_, err := fmt.Fprintf(h.w, "qrand: %s%s\n", plain(r.Message), attrs)
	return err
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.attrs += attrText(a)
	}
	return h
}

// WithGroup ignores groups: nothing here logs in one.
func (h logHandler) WithGroup(string) slog.Handler { return h }

func attrText(a slog.Attr) string {
	value := a.Value.Resolve().String()
	if strings.ContainsAny(value, " \t\n\"") {
		value = fmt.Sprintf("%q", plain(value))
	}
	return " " + a.Key + "=" + value
}
