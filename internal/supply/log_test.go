package supply

import (
	"strings"
	"testing"
	"time"
)

// TestLog: which events are worth a line, minute by minute. Among the events, a letter is a
// failure for that reason, + an answer, 1 or 2 an answer of that endpoint, and . nothing.
// Among the lines, a letter is a warning, and a capital one that says that lines are held
// back; + is a recovery, and ! one after the service has stopped to flap; > says that
// blocks come from another endpoint; . is no line.
func TestLog(t *testing.T) {
	for _, test := range []struct{ name, events, want string }{
		{"all is well", "+++++", "....."},
		{"one line an outage", "aaaa+aaaa", "a...+A..."},
		{"a line for each reason", "abab+", "ab..+"},
		{"an outage long after", "a+.........a+", "a+.........a+"},
		{"a minute too soon for that", "a+........a+", "a+........A."},
		{"it flaps", "a+a+a+a+b+a+", "a+A.....B..."},
		{"it is calm again", "a+a+..........", "a+A..........!"},
		{"not before it is quiet", "a+a+........a+.........", "a+A...................."},
		{"an outage after all that", "a+a+..........+a", "a+A..........!.A"},
		{"and long after", "a+a+....................a+", "a+A..........!..........a+"},
		{"it moves, and back", "12.1.......1..2", ".>.........>..."}, // the way back is told when ten minutes are over
	} {
		l, ends := logFilter{warned: map[string]bool{}}, []*endpoint{{}, {}}
		l.named = ends[0]
		var got strings.Builder
		for i, event := range test.events {
			now := start.Add(time.Duration(i) * time.Minute)
			line := '.'
			if l.calm(now) {
				line = '!'
			}
			switch event {
			case '.':
			case '+':
				if l.answered(now) {
					line = '+'
				}
			case '1', '2':
				if l.moved(ends[event-'1'], now) {
					line = '>'
				}
			default:
				warn, again := l.failed(string(event), now)
				if again {
					event += 'A' - 'a'
				}
				if warn {
					line = event
				}
			}
			got.WriteRune(line)
		}
		if got.String() != test.want {
			t.Errorf("%s: of %s it tells %s, want %s", test.name, test.events, got.String(), test.want)
		}
	}
}
