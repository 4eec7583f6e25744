package main

import (
	"strings"
	"testing"
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
	c.outTTY = false
	if got := c.wrap(text, 4); got != text {
		t.Errorf("not on a terminal: got %q", got)
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
