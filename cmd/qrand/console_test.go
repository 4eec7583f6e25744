package main

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"example.com/qrand"
)

func TestTable(t *testing.T) {
	tab := table{heads: []string{"name", "count", "note"}, right: []bool{false, true, false}}
	green := func(s string) string { return palette(true).green(s) }
	tab.add(cell{text: "ab", style: green}, cell{text: "7"}, cell{text: "x"})
	tab.add(cell{text: "näher"}, cell{text: "1,234,567"}, cell{})
	var b strings.Builder
	if err := tab.write(&b, false); err != nil {
		t.Fatal(err)
	}
	want := "name       count  note\n" +
		"\x1b[32mab   \x1b[0m          7  x\n" +
		"näher  1,234,567  \n"
	if b.String() != want {
		t.Errorf("got\n%q\nwant\n%q", b.String(), want)
	}
}

func TestWrap(t *testing.T) {
	c, _, _ := screen(true, map[string]string{})
	c.width = 18
	text := "one two three four äöüß seven"
	got := c.wrap(text, 4)
	if want := "one two three\n    four äöüß\n    seven"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := c.wrap("five six", 10), "\n        five six"; got != want {
		t.Errorf("beside an indent that is too wide: got %q, want %q", got, want)
	}
	c.outTTY = false
	if got := c.wrap(text, 4); got != text {
		t.Errorf("not on a terminal: got %q", got)
	}
}

// helps are the command lines that print the help of each command.
func helps() (all []string) {
	c, _, _ := screen(false, nil)
	var add func(*cobra.Command)
	add = func(cmd *cobra.Command) {
		all = append(all, strings.TrimPrefix(cmd.CommandPath()+" --help", "qrand "))
		for _, sub := range cmd.Commands() {
			add(sub)
		}
	}
	add(newRoot(c))
	return all
}

// TestHelpWidth: in a terminal of 80 columns, and in a pipe, no line of help is longer, also no
// command.
func TestHelpWidth(t *testing.T) {
	if all := helps(); len(all) < 15 {
		t.Fatalf("there are more commands than %q", all)
	}
	for _, args := range helps() {
		for _, terminal := range []bool{true, false} {
			c, out, _ := screen(terminal, nil)
			if c.width = 80; !terminal {
				c.width = 200 // of the terminal that stderr is
			}
			execute(t.Context(), strings.Fields(args), c)
			for line := range strings.Lines(out.String()) {
				if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > 80 {
					t.Errorf("%s: terminal %t: %q", args, terminal, line)
				}
			}
			if out.Len() < 200 {
				t.Errorf("%s prints %q", args, out)
			}
		}
	}
}

// TestNarrow: in a terminal of 40 columns no line of help, of the demo, of a report or of a table is
// longer, except a command, which somebody may copy, and what has no space to break it at.
func TestNarrow(t *testing.T) {
	isCommand := regexp.MustCompile(`^  (curl|.*qrand |  (--|jq ))`)
	check := func(t *testing.T, text string) {
		for line := range strings.Lines(text) {
			line = strings.TrimRight(line, " \n")
			if utf8.RuneCountInString(line) > 40 && strings.Contains(strings.TrimSpace(line), " ") && !isCommand.MatchString(line) {
				t.Errorf("%q", line)
			}
		}
	}
	noService(t)
	for _, args := range append(helps(), "keygen --list", "doctor") {
		t.Run(args, func(t *testing.T) {
			c, out, _ := screen(true, map[string]string{"NO_COLOR": "1", "LANG": "C"})
			c.width = 40
			execute(t.Context(), strings.Fields(args), c)
			if check(t, out.String()); out.Len() < 200 {
				t.Errorf("it prints %q", out)
			}
		})
	}
	c, out, _ := screen(true, map[string]string{"NO_COLOR": "1"})
	c.width = 40
	sum := summary{Rows: []row{{Phase: "out of supply", Part: "outage", State: qrand.Degraded, Reason: qrand.NoSupply, Reads: 1234567}, {Phase: "out of supply", Part: "recovery", State: qrand.Seeded}}}
	if err := sum.print(c); err != nil {
		t.Fatal(err)
	}
	check(t, out.String())
	if want := "out of supply\n  state Degraded, reason service out of\n  supply (503), reads 1,234,567, failed\n  0, blocks 0\n  state Seeded"; !strings.Contains(out.String(), want) {
		t.Errorf("%q is not in\n%s", want, out)
	}
}

func TestColour(t *testing.T) {
	for _, test := range []struct {
		name     string
		terminal bool
		env      map[string]string
		want     bool
	}{
		{"terminal", true, map[string]string{"TERM": "xterm"}, true},
		{"no terminal", false, map[string]string{"TERM": "xterm"}, false},
		{"NO_COLOR", true, map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, false},
		{"dumb terminal", true, map[string]string{"TERM": "dumb"}, false},
	} {
		c, _, err := screen(test.terminal, test.env)
		c.note("hello")
		if got := strings.Contains(err.String(), "\x1b["); got != test.want {
			t.Errorf("%s: coloured is %t: %q", test.name, got, err)
		}
	}
}

func TestMarks(t *testing.T) {
	for locale, want := range map[string]string{"": "ok  ", "C": "ok  ", "C.UTF-8": "✓", "de_DE.utf8": "✓", "en_US.ISO-8859-1": "ok  "} {
		c, _, _ := screen(true, map[string]string{"LANG": locale})
		if got := c.marks().ok; got != want {
			t.Errorf("LANG=%s: %q, want %q", locale, got, want)
		}
	}
	c, _, _ := screen(true, map[string]string{"LANG": "C.UTF-8", "LC_ALL": "C"})
	if got := c.marks().ok; got != "ok  " {
		t.Errorf("LC_ALL does not come first: %q", got)
	}
}
