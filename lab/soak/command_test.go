package main

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

// quick are the flags of a soak that is over in a second, and says nothing of memory.
var quick = strings.Fields("-d 1s -interval 100ms -readers 9 -rotate 200ms -outage 300ms -reseed 100ms -growth 100 -slack 1000 -goroutines 1000")

// TestCommand: a soak ends with 0 and a verdict; one that was asked for in a way that
// makes no sense with 2, and one that cannot begin with 1, and the flag or the reason.
func TestCommand(t *testing.T) {
	for _, c := range []struct {
		args   []string
		code   int
		stdout string // what is in it
		stderr string
	}{
		{quick, 0, "All entropy in this run was EMULATED", ""},
		{[]string{"-h"}, 0, "", "-outage"},
		{[]string{"-hurry"}, 2, "", "-hurry"},
		{[]string{"-d", "0"}, 2, "", "soak: -d,"},
		{[]string{"1h"}, 2, "", `soak: unexpected argument "1h"`},
		{[]string{"-reseed", "300000h"}, 1, "", "soak: qrand: "}, // ten times that is no time.Duration
	} {
		var stdout, stderr bytes.Buffer
		if code := command(t.Context(), c.args, &stdout, &stderr, false); code != c.code {
			t.Errorf("%q ends with %d, want %d", c.args, code, c.code)
		}
		if !strings.Contains(stdout.String(), c.stdout) || (c.stdout == "") != (stdout.Len() == 0) {
			t.Errorf("%q: no %q in stdout:\n%s", c.args, c.stdout, stdout.String())
		}
		if !strings.Contains(stderr.String(), c.stderr) || (c.stderr == "") != (stderr.Len() == 0) {
			t.Errorf("%q: no %q in stderr:\n%s", c.args, c.stderr, stderr.String())
		}
	}
}

// A leaky writer leaves goroutines behind.
type leaky struct {
	bytes.Buffer
	leak func()
}

func (l *leaky) Write(p []byte) (int, error) {
	l.leak()
	return l.Buffer.Write(p)
}

// TestCommandFails: a soak in which something went wrong ends with 1.
func TestCommandFails(t *testing.T) {
	defer func(saved time.Duration) { closeLimit = saved }(closeLimit)
	closeLimit = 100 * time.Millisecond
	end := make(chan bool)
	defer close(end)
	var stderr bytes.Buffer
	stdout := &leaky{leak: sync.OnceFunc(func() {
		for range 100 { // more than are left from other tests, and may end meanwhile
			go func() { <-end }()
		}
	})}
	if code := command(t.Context(), quick, stdout, &stderr, false); code != 1 || !strings.Contains(stdout.String(), "goroutines are left") {
		t.Errorf("ends with %d, and says\n%s%s", code, stdout.String(), stderr.String())
	}
}
